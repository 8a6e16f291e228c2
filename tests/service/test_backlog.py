"""The rules of delivery without a network: order, independence, tries, what is written down."""

from datetime import timedelta

from micromdm_py.protocol.delivery import DeliveryResult, Verdict
from micromdm_py.service import backlog as rules
from micromdm_py.service.backlog import Backlog, Delivery, Progress
from micromdm_py.storage.records import HeldEvent, StoredEvent
from tests.fakes.clock import Clock

DELIVERED = DeliveryResult(Verdict.DELIVERED)
REFUSED = DeliveryResult(Verdict.REFUSED, "status 500")
UNREACHABLE = DeliveryResult(Verdict.UNREACHABLE, "no answer")


class Bench:
    """A backlog with the store's side of it: an outbox, a cursor, held and dead events."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.events: list[StoredEvent] = []
        self.cursor = 0
        self.held: dict[int, HeldEvent] = {}
        self.dead: dict[int, HeldEvent] = {}
        self.delivered: list[int] = []
        self.restart()

    def restart(self) -> None:
        self.backlog = Backlog(self.cursor, lambda topic: topic != "unwanted", lambda: 0.5)
        self.backlog.restore((self.held[key] for key in sorted(self.held)), self.clock())

    def add(self, *enrollments: str, topic: str = "mdm.Connect", size: int = 10) -> None:
        for enrollment in enrollments:
            number = len(self.events) + 1
            self.events.append(StoredEvent(number, enrollment, topic, self.clock(), b"x" * size))
        self.read()

    def read(self) -> None:
        while room := self.backlog.room():
            page = self.events[self.backlog.read_to : self.backlog.read_to + room]
            if not page:
                return
            self.backlog.add(page)

    def take(self) -> Delivery | None:
        return self.backlog.take(self.clock())

    def finish(self, delivery: Delivery, result: DeliveryResult) -> None:
        if result is DELIVERED:
            self.delivered.append(delivery.sequence)
        self.backlog.finish(delivery, self.events[delivery.sequence - 1], result, self.clock())

    def send(self, result: DeliveryResult, limit: int = 10_000) -> list[int]:
        """Send what may be sent, one by one; returns the sequences."""
        sent: list[int] = []
        while len(sent) < limit and (delivery := self.take()):
            self.finish(delivery, result)
            sent.append(delivery.sequence)
            self.read()
        return sent

    def settle(self, works: bool = True) -> None:
        progress = self.backlog.progress(self.clock())
        if works:
            self.write(progress)

    def write(self, progress: Progress) -> None:
        assert progress.cursor >= self.cursor
        kept = [one.event.sequence for one in (*progress.hold, *progress.dead)]
        assert len({*kept, *progress.release}) == len(kept) + len(progress.release)
        self.cursor = progress.cursor
        self.held.update({one.event.sequence: one for one in progress.hold})
        for sequence in [*progress.release, *(one.event.sequence for one in progress.dead)]:
            self.held.pop(sequence, None)
        self.dead.update({one.event.sequence: one for one in progress.dead})
        self.backlog.written(progress)
        self.read()

    def wait(self) -> float:
        """Move to the next time at which something may happen; returns the seconds."""
        at = self.backlog.next_at()
        assert at
        wait = (at - self.clock()).total_seconds()
        self.clock.move(max(wait, 0.0))
        return wait


def test_events_of_an_enrollment_go_one_at_a_time_and_others_do_not_wait() -> None:
    bench = Bench()
    bench.add("A", "A", "B")
    first, other = bench.take(), bench.take()
    assert first and other
    assert (first.sequence, other.sequence, bench.take()) == (1, 3, None)
    bench.finish(first, DELIVERED)
    assert bench.send(DELIVERED) == [2]


def test_the_cursor_stops_before_the_first_event_that_is_not_done() -> None:
    bench = Bench()
    bench.add("A", "B", "C")
    first = bench.take()
    assert first
    assert bench.send(DELIVERED) == [2, 3]
    bench.settle()
    assert bench.cursor == 0
    bench.finish(first, DELIVERED)
    assert bench.backlog.unsettled == 1
    bench.settle()
    assert bench.cursor == 3
    assert not bench.backlog.changed


def test_unwanted_events_are_passed_over() -> None:
    bench = Bench()
    bench.add("A", "A", topic="unwanted")
    assert bench.take() is None
    bench.settle()
    assert bench.cursor == 2


def test_a_refused_event_is_tried_ten_times_within_fifteen_minutes_and_then_buried() -> None:
    bench = Bench()
    bench.add("A", "A", "B")
    began = bench.clock()
    assert bench.send(REFUSED, limit=1) == [1]
    assert bench.send(DELIVERED) == [3]
    for _ in range(9):
        bench.settle()
        assert (bench.cursor, sorted(bench.held)) == (3, [1, 2])
        bench.wait()
        assert bench.send(REFUSED, limit=1) == [1]
    bench.settle()
    assert (bench.dead[1].tries, bench.dead[1].error, list(bench.held)) == (10, "status 500", [2])
    assert bench.clock() - began < timedelta(minutes=15)
    assert bench.send(DELIVERED) == [2]
    bench.settle()
    assert (bench.cursor, bench.held) == (3, {})


def test_tries_outlive_a_restart() -> None:
    bench = Bench()
    bench.add("A", "A")
    for _ in range(9):
        bench.send(REFUSED)
        bench.settle()
        bench.restart()
        bench.read()
        bench.wait()
    assert bench.send(REFUSED, limit=1) == [1]
    bench.settle()
    assert bench.dead[1].tries == 10


def test_a_clock_that_was_ahead_delays_nothing_for_long() -> None:
    bench = Bench()
    bench.clock.move(365 * 86_400)
    bench.add("A")
    bench.send(REFUSED)
    bench.settle()
    bench.clock.move(-365 * 86_400)
    bench.restart()
    bench.clock.move(901)
    assert bench.send(DELIVERED) == [1]


def test_one_enrollment_without_an_answer_holds_up_itself_only() -> None:
    bench = Bench()
    bench.add("A", "A")
    tries = 0
    for _ in range(300):
        bench.add("B", "C")
        while delivery := bench.take():
            bad = delivery.enrollment_id == "A"
            tries += bad
            bench.finish(delivery, UNREACHABLE if bad else DELIVERED)
        bench.settle()
    assert len(bench.delivered) == 600
    assert tries == 2  # once, and once more when the others had got through
    assert bench.cursor > 500
    assert sorted(bench.held) == [1, 2]


def test_the_wait_of_an_enrollment_that_alone_gets_no_answer_grows_to_fifteen_minutes() -> None:
    bench = Bench()
    bench.add("A")
    bench.send(UNREACHABLE)
    bench.add("B")
    assert bench.send(DELIVERED, limit=1) == [2]
    waits = []
    for _ in range(30):
        assert bench.send(UNREACHABLE) == [1]
        waits.append(bench.wait())
    assert waits == sorted(waits)
    assert waits[0] < 5
    assert 600 < waits[-1] <= 900


def test_three_enrollments_without_an_answer_close_the_way_for_all_but_single_tries() -> None:
    bench = Bench()
    bench.add("A", "B", "C", "D", "E")
    assert bench.send(UNREACHABLE) == [1, 2, 3]
    assert bench.take() is None
    assert bench.wait() <= 1.25
    assert bench.send(UNREACHABLE) == [4]
    assert bench.wait() <= 2
    bench.settle()
    assert (bench.cursor, bench.held) == (0, {})
    probe = bench.take()
    assert probe
    assert probe.sequence == 5
    assert bench.take() is None
    bench.finish(probe, DELIVERED)
    assert bench.send(DELIVERED) == [1, 2, 3, 4]
    bench.settle()
    assert bench.cursor == 5


def test_a_receiver_that_answers_nobody_is_asked_every_minute_at_least() -> None:
    bench = Bench()
    bench.add("A", "B", "C", "D")
    bench.send(UNREACHABLE)
    for _ in range(50):
        assert bench.wait() <= 60
        bench.send(UNREACHABLE)
    bench.settle()
    assert bench.cursor == 0
    bench.wait()
    assert sorted(bench.send(DELIVERED)) == [1, 2, 3, 4]


def test_an_outage_of_two_seconds_is_over_within_three() -> None:
    bench = Bench()
    began = bench.clock()
    bench.add(*(f"D{number}" for number in range(40)))
    while not bench.delivered:
        down = bench.clock() - began < timedelta(seconds=2)
        bench.send(UNREACHABLE if down else DELIVERED)
        if not bench.delivered:
            bench.wait()
    assert bench.clock() - began <= timedelta(seconds=3)
    assert sorted(bench.delivered) == list(range(1, 41))


def test_retry_after_is_honoured() -> None:
    bench = Bench()
    bench.add("A")
    bench.send(DeliveryResult(Verdict.UNREACHABLE, "status 429", 30.0))
    assert bench.wait() >= 30


def test_a_slow_enrollment_with_many_events_does_not_fill_the_memory() -> None:
    bench = Bench()
    bench.add(*["A"] * (rules.MAX_EVENTS + 50), "B")
    slow = bench.take()
    assert slow
    assert (slow.sequence, bench.take()) == (1, None)
    bench.clock.move(1)
    bench.settle()
    assert bench.send(DELIVERED) == [len(bench.events)]
    bench.finish(slow, DELIVERED)
    assert bench.send(DELIVERED) == list(range(2, len(bench.events)))
    bench.settle()
    assert (bench.cursor, bench.held) == (len(bench.events), {})


def test_large_events_are_read_in_small_pages() -> None:
    bench = Bench()
    bench.add(*["A", "B"] * 300, size=1 << 20)
    assert bench.backlog.read_to < 150
    assert bench.backlog.room() == 0
    while bench.send(DELIVERED):
        bench.settle()
        bench.read()
    assert bench.cursor == 600


def test_an_event_that_is_gone_from_the_store_is_left_out() -> None:
    bench = Bench()
    bench.add("A", "A", "B", "C")
    gone = bench.take()
    assert gone
    bench.backlog.skip(gone)
    following = bench.take()
    assert following
    assert following.sequence == 2
    bench.finish(following, UNREACHABLE)
    bench.send(UNREACHABLE)
    bench.wait()
    probe = bench.take()
    assert probe
    assert bench.take() is None
    bench.backlog.skip(probe)
    assert bench.take()


def test_what_could_not_be_written_stays_pending() -> None:
    bench = Bench()
    bench.add("A", "B", "C")
    bench.send(REFUSED, limit=1)
    bench.settle(works=False)
    assert bench.send(DELIVERED) == [2, 3]
    assert bench.backlog.changed
    bench.settle()
    assert (bench.cursor, list(bench.held)) == (3, [1])


def test_what_happens_while_something_is_written_is_written_next() -> None:
    bench = Bench()
    bench.add("A", "B")
    bench.send(REFUSED, limit=1)
    progress = bench.backlog.progress(bench.clock())
    bench.wait()
    bench.send(REFUSED)
    bench.write(progress)
    assert bench.held[1].tries == 1
    assert bench.backlog.changed
    bench.settle()
    assert (bench.held[1].tries, bench.cursor) == (2, 2)
    progress = bench.backlog.progress(bench.clock())
    bench.add("C")
    bench.send(DELIVERED, limit=1)
    bench.write(progress)
    assert bench.backlog.changed


def test_events_held_behind_another_have_no_tries() -> None:
    bench = Bench()
    bench.add("A", "A", "B")
    bench.send(REFUSED, limit=1)
    bench.send(DELIVERED)
    bench.settle()
    assert [(key, held.tries) for key, held in sorted(bench.held.items())] == [(1, 1), (2, 0)]


def test_events_too_old_are_given_up_when_nobody_took_them() -> None:
    bench = Bench()
    bench.add("A", "B", "C", "D")
    bench.send(UNREACHABLE)
    bench.clock.move(86_400)
    bench.add("E")
    before = bench.clock() - timedelta(hours=1)
    assert bench.backlog.expire(before, [], bench.clock()) == 4
    bench.settle()
    assert (bench.cursor, sorted(bench.dead)) == (4, [1, 2, 3, 4])
    bench.clock.move(60)
    assert bench.send(DELIVERED) == [5]


def test_held_events_expire_with_those_behind_them() -> None:
    bench = Bench()
    bench.add("A")
    bench.send(REFUSED)
    bench.settle()
    bench.add("A", "A")
    bench.clock.move(30)
    before = bench.clock() - timedelta(seconds=10)
    assert bench.backlog.expire(before, list(bench.held.values()), bench.clock()) == 3
    bench.settle()
    assert (sorted(bench.dead), bench.held, bench.cursor) == ([1, 2, 3], {}, 3)
    assert bench.backlog.empty


def test_events_that_were_never_tried_do_not_expire() -> None:
    bench = Bench()
    bench.add("A")
    bench.clock.move(86_400)
    assert bench.backlog.expire(bench.clock(), [], bench.clock()) == 0
    assert bench.send(DELIVERED) == [1]


def test_an_event_behind_one_given_up_for_its_tries_does_not_expire_untried() -> None:
    bench = Bench()
    bench.add("A", "A")
    while not bench.dead:
        bench.send(REFUSED, limit=1)
        bench.settle()
        if not bench.dead:
            bench.wait()
    bench.clock.move(86_400)
    assert bench.backlog.expire(bench.clock(), list(bench.held.values()), bench.clock()) == 0
    assert bench.send(DELIVERED) == [2]
