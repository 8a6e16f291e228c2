"""Delivery under any mix of new events, results, writes, failed writes and restarts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from micromdm_py.protocol.delivery import DeliveryResult
from micromdm_py.service.backlog import Delivery, Progress
from tests.service.test_backlog import DELIVERED, REFUSED, UNREACHABLE, Bench


def alone(*names: str) -> st.SearchStrategy[tuple[str, None]]:
    return st.tuples(st.sampled_from(names), st.none())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from("ABCD"), min_size=1, max_size=9)),
        st.tuples(st.just("take"), st.sampled_from([DELIVERED, REFUSED, UNREACHABLE, None])),
        st.tuples(st.just("finish"), st.sampled_from([DELIVERED, REFUSED, UNREACHABLE])),
        alone("settle", "begin_writing"),
        alone("restart", "end_writing"),
        alone("fail", "wait", "many"),
    ),
    min_size=4,
    max_size=80,
)


class Play:
    """Acts out one list of steps."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.flying: list[Delivery] = []
        self.writing: Progress | None = None

    def act(self, action: str, what: object) -> None:
        if isinstance(what, list):
            self.bench.add(*what)
        elif action == "take":
            self.take(what)
        elif action == "finish" and self.flying and isinstance(what, DeliveryResult):
            self.bench.finish(self.flying.pop(0), what)
        elif action in ("settle", "fail") and not self.writing:
            self.bench.settle(works=action == "settle")
        elif action == "wait":
            self.bench.clock.move(1.5)
        elif action in ("many", "restart", "begin_writing", "end_writing"):
            getattr(self, action)()

    def take(self, result: object) -> None:
        delivery = self.bench.take()
        if delivery and isinstance(result, DeliveryResult):
            self.bench.finish(delivery, result)
        elif delivery:
            self.flying.append(delivery)

    def begin_writing(self) -> None:
        self.end_writing()
        self.writing = self.bench.backlog.progress(self.bench.clock())

    def end_writing(self) -> None:
        if self.writing:
            self.bench.write(self.writing)
        self.writing = None

    def many(self) -> None:
        self.bench.add(*"ABCD" * 150)
        self.bench.send(DELIVERED, limit=290)

    def restart(self) -> None:
        self.flying.clear()
        self.writing = None
        self.bench.restart()
        self.bench.read()

    def end(self) -> None:
        self.end_writing()
        for delivery in self.flying:
            self.bench.finish(delivery, DELIVERED)
        for _ in range(40):
            self.bench.send(DELIVERED)
            self.bench.settle()
            self.bench.clock.move(900)


@settings(max_examples=400)
@given(STEPS)
def test_every_event_arrives_in_order_whatever_happens(steps: list[tuple[str, object]]) -> None:
    play = Play()
    for action, what in steps:
        play.act(action, what)
    play.end()
    bench = play.bench
    assert (bench.cursor, bench.held, bench.backlog.empty) == (len(bench.events), {}, True)
    assert set(bench.delivered) | set(bench.dead) == set(range(1, len(bench.events) + 1))
    for enrollment in "ABCD":
        expected = 0
        for sequence in (s for s in bench.delivered if bench.events[s - 1].enrollment_id == enrollment):
            # At least once: after a restart some come again, but none is left out and none overtakes another.
            between = range(expected + 1, sequence)
            assert all(s in bench.dead or bench.events[s - 1].enrollment_id != enrollment for s in between)
            expected = max(expected, sequence)
