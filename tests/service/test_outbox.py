"""Delivery from a real store, step by step: no network, a clock that is moved by hand."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from micromdm_py.errors import StorageUnavailable
from micromdm_py.protocol.delivery import DeliveryResult, Verdict
from micromdm_py.protocol.webhook import wants
from micromdm_py.service.outbox import Delivering
from micromdm_py.storage.base import Outbox, Store
from micromdm_py.storage.records import HeldEvent, ReceiverState, StoredEvent
from tests.fakes.clock import Clock
from tests.fakes.outgoing import NOW, add_event, new_store
from tests.service.test_cleaning import at_once, cleaner_of

URL = "https://r.example.com/hook"
DELIVERED = DeliveryResult(Verdict.DELIVERED)
REFUSED = DeliveryResult(Verdict.REFUSED, "status 500")
UNREACHABLE = DeliveryResult(Verdict.UNREACHABLE, "no answer")


class Receiver:
    """Plays the receiver: notes what comes; `answers` says how each enrollment is treated."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.answers: dict[str, DeliveryResult] = {}
        self.slow: set[str] = set()
        self.release = asyncio.Event()

    async def __call__(self, event: StoredEvent) -> DeliveryResult:
        if event.enrollment_id in self.slow:
            await self.release.wait()
        self.got.append(event.body.decode())
        return self.answers.get(event.enrollment_id, DELIVERED)


class FullDisk:
    """An outbox that cannot write while `full`."""

    def __init__(self, store: Outbox) -> None:
        self._store, self.full = store, False
        self.receiver, self.events_after = store.receiver, store.events_after
        self.receivers, self.event_range = store.receivers, store.event_range
        self.append_event = store.append_event
        self.ask_replay, self.begin_replay = store.ask_replay, store.begin_replay
        self.held_events, self.dead_letters = store.held_events, store.dead_letters
        self.forget_events, self.forget_receivers = store.forget_events, store.forget_receivers

    def settle(self, receiver: str, **what: object) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
        self._store.settle(receiver, **what)  # type: ignore[arg-type]  # passed on as they came


class Bench:
    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.receiver = store, Clock(), Receiver()
        self.outbox: Outbox = store
        store.receiver(URL)
        self.delivering = self.make()

    def make(self, topics: frozenset[str] = frozenset(), url: str = URL, slots: int = 16) -> Delivering:
        return Delivering(
            url,
            "r.example.com",
            store=self.outbox,
            send=self.receiver,
            wants=partial(wants, topics),
            retention=timedelta(days=7),
            slots=slots,
            blocking=at_once,
            now=self.clock,
            draw=lambda: 0.5,
        )

    async def run(self, times: int = 6) -> None:
        """Let everything happen that can happen without time going by."""
        for _ in range(times):
            self.delivering.wake()
            await self.delivering.step()
            for _ in range(40):
                await asyncio.sleep(0)

    async def settle(self) -> ReceiverState:
        self.clock.move(1)
        await self.run()
        return self.store.receiver(URL)

    def add(self, enrollment: str, *bodies: str, topic: str = "mdm.Connect") -> None:
        for body in bodies:
            add_event(self.store, enrollment, body, topic, self.clock())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path)
    yield opened
    opened.close()


def play(store: Store, story: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(Bench(store))

    asyncio.run(main())


def test_events_arrive_and_the_cursor_is_written(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.add("A", "a1", "a2")
        bench.add("B", "b1")
        await bench.run()
        assert sorted(bench.receiver.got) == ["a1", "a2", "b1"]
        state = await bench.settle()
        assert (state.cursor, state.held, state.last_error) == (3, 0, "")
        assert state.last_success_at

    play(store, story)


def test_a_slow_enrollment_does_not_hold_up_another(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.slow = {"A"}
        bench.add("A", "a1", "a2")
        bench.add("B", "b1", "b2")
        await bench.run()
        assert bench.receiver.got == ["b1", "b2"]
        bench.receiver.release.set()
        await bench.run()
        assert bench.receiver.got == ["b1", "b2", "a1", "a2"]

    play(store, story)


def test_no_more_events_are_on_their_way_than_there_are_slots(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.delivering = bench.make(slots=2)
        bench.receiver.slow = {"A", "B", "C"}
        for enrollment in "ABC":
            bench.add(enrollment, enrollment)
        bench.add("D", "d")
        await bench.run()
        assert bench.receiver.got == []
        bench.receiver.release.set()
        await bench.run()
        assert sorted(bench.receiver.got) == ["A", "B", "C", "d"]

    play(store, story)


def test_a_new_delivering_goes_on_where_the_last_one_stopped(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.answers = {"A": REFUSED}
        bench.add("A", "a1", "a2")
        bench.add("B", "b1")
        await bench.run()
        state = await bench.settle()
        assert (state.cursor, state.held, state.last_error) == (3, 2, "status 500")
        bench.delivering = bench.make()
        bench.receiver.answers, bench.receiver.got = {}, []
        await bench.run()
        assert bench.receiver.got == []
        bench.clock.move(2)
        await bench.run()
        assert bench.receiver.got == ["a1", "a2"]
        state = await bench.settle()
        assert (state.cursor, state.held) == (3, 0)

    play(store, story)


def test_a_refused_event_becomes_a_dead_letter_and_later_ones_go_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.answers = {"A": REFUSED}
        bench.add("A", "a1")
        for _ in range(10):
            await bench.run()
            bench.clock.move(400)
        bench.receiver.answers = {}
        bench.add("A", "a2")
        await bench.run()
        assert bench.receiver.got == ["a1"] * 10 + ["a2"]
        state = await bench.settle()
        assert (state.cursor, state.held, state.dead_letters) == (2, 0, 1)
        assert [one.event.body for one in store.dead_letters(URL, 10)] == [b"a1"]

    play(store, story)
    assert "(mdm.Connect) given up after 10 refusals: " in caplog.text


def test_topics_are_filtered_and_server_events_have_to_be_asked_for(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.add("A", "connect")
        bench.add("A", "out", topic="mdm.CheckOut")
        bench.add("S", "quarantined", topic="mdm.server.quarantined")
        await bench.run()
        assert bench.receiver.got == ["connect", "out"]
        assert (await bench.settle()).cursor == 3
        bench.receiver.got = []
        bench.delivering = bench.make(frozenset({"mdm.server.quarantined", "mdm.CheckOut"}))
        bench.add("A", "connect 2")
        bench.add("A", "out 2", topic="mdm.CheckOut")
        bench.add("S", "quarantined 2", topic="mdm.server.quarantined")
        await bench.run()
        assert sorted(bench.receiver.got) == ["out 2", "quarantined 2"]

    play(store, story)


def test_more_events_than_fit_into_memory_all_arrive_in_order(store: Store) -> None:
    async def story(bench: Bench) -> None:
        expected = [f"{enrollment}{number}" for number in range(450) for enrollment in "AB"]
        bench.receiver.slow = {"A"}
        for body in expected:
            bench.add(body[0], body)
        bench.add("C", "c")
        for _ in range(20):
            await bench.run()
            bench.clock.move(1)
        assert "c" in bench.receiver.got
        bench.receiver.release.set()
        for _ in range(40):
            await bench.run(20)
            bench.clock.move(1)
        assert [body for body in bench.receiver.got if body[0] == "A"] == expected[::2]
        assert [body for body in bench.receiver.got if body[0] == "B"] == expected[1::2]
        state = await bench.settle()
        assert (state.cursor, state.held) == (901, 0)

    play(store, story)


def test_a_full_disk_stops_delivery_and_loses_nothing(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.outbox = disk = FullDisk(store)
        bench.delivering = bench.make()
        bench.add("A", "a1")
        await bench.run()
        disk.full = True
        bench.clock.move(1)
        await bench.run()
        bench.add("A", "a2")
        await bench.run()
        assert bench.receiver.got == ["a1"]
        disk.full = False
        await bench.settle()
        assert (await bench.settle()).cursor == 2
        assert bench.receiver.got == ["a1", "a2"]

    play(store, story)


def test_events_older_than_the_retention_time_are_given_up(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.answers = dict.fromkeys("ABCD", UNREACHABLE)
        for enrollment in "ABCD":
            bench.add(enrollment, enrollment)
        await bench.run()
        bench.clock.move(8 * 86_400)
        bench.receiver.answers = {}
        bench.add("E", "e")
        await bench.run()
        await bench.settle()
        assert (await bench.settle()).dead_letters == 4
        assert bench.receiver.got[-1] == "e"

    play(store, story)
    assert caplog.text.count("(mdm.Connect) given up as too old: ") == 4


def test_one_receiver_that_is_down_does_not_concern_another(store: Store) -> None:
    async def story(bench: Bench) -> None:
        other = Receiver()
        down, bench.receiver.answers = bench.receiver, dict.fromkeys("ABCD", UNREACHABLE)
        store.receiver("https://other.example.com")
        for enrollment in "ABCD":
            bench.add(enrollment, enrollment)
        first = bench.delivering
        bench.receiver = other
        bench.delivering = bench.make(url="https://other.example.com")
        await bench.run()
        bench.delivering, second = first, bench.delivering
        await bench.run()
        assert len(down.got) >= 3
        assert sorted(other.got) == list("ABCD")
        bench.delivering = second
        bench.clock.move(1)
        await bench.run()
        assert store.receiver("https://other.example.com").cursor == 4
        assert store.receiver(URL).cursor == 0
        cleaner = cleaner_of(store, bench.clock, URL, "https://other.example.com")
        assert await cleaner.step() == 0
        assert (
            await cleaner_of(
                store, bench.clock, "https://other.example.com", keep=timedelta(seconds=2)
            ).step()
            == 0
        )
        alone = cleaner_of(store, bench.clock, "https://other.example.com")
        assert await alone.step() == 4
        assert store.events_after(0, 10) == []

    play(store, story)


def test_what_is_on_its_way_at_the_end_is_waited_for_and_written_down(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.slow = {"A"}
        bench.add("A", "a1", "a2")
        stop = asyncio.Event()
        running = asyncio.create_task(bench.delivering.run(stop))
        for _ in range(50):
            await asyncio.sleep(0)
        stop.set()
        bench.delivering.wake()
        for _ in range(50):
            await asyncio.sleep(0)
        bench.receiver.release.set()
        await running
        assert bench.receiver.got == ["a1"]
        assert store.receiver(URL).cursor == 1

    play(store, story)


def test_a_fault_in_the_program_is_raised_and_nothing_is_lost(store: Store) -> None:
    async def story(bench: Bench) -> None:
        async def broken(event: StoredEvent) -> DeliveryResult:
            raise LookupError("a fault")

        bench.add("A", "a1")
        good, bench.delivering._send = bench.delivering._send, broken
        with pytest.raises(LookupError):
            await bench.run()
        bench.delivering = bench.make()
        assert bench.delivering._send is good
        await bench.run()
        assert bench.receiver.got == ["a1"]

    play(store, story)


def test_held_events_that_the_store_lost_are_left_out(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.answers = {"A": REFUSED}
        bench.add("A", "a1")
        await bench.run()
        await bench.settle()
        store.settle(URL, at=NOW, release=[1])
        bench.receiver.answers = {}
        bench.add("A", "a2")
        bench.clock.move(5)
        await bench.run()
        assert bench.receiver.got == ["a1", "a2"]

    play(store, story)


def test_held_events_are_read_in_pages(store: Store) -> None:
    events = [
        StoredEvent(number, f"D{number % 7}", "mdm.Connect", NOW, b"%d" % number) for number in range(1, 601)
    ]
    store.receiver(URL)
    store.settle(URL, at=NOW, hold=[HeldEvent(event, 0, NOW) for event in events])

    async def story(bench: Bench) -> None:
        await bench.run(100)
        assert sorted(int(body) for body in bench.receiver.got) == list(range(1, 601))
        assert (await bench.settle()).held == 0

    play(store, story)


def test_replay_sends_again_from_where_it_was_asked_for(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.add("A", "a1", "a2", "a3")
        bench.add("B", "b1")
        await bench.settle()
        assert sorted(bench.receiver.got) == ["a1", "a2", "a3", "b1"]
        bench.receiver.got.clear()
        store.ask_replay(URL, 1)
        state = await bench.settle()
        await bench.settle()
        assert [one for one in bench.receiver.got if one != "b1"] == ["a2", "a3"]
        assert bench.receiver.got.count("b1") == 1
        assert state.replay_after is None
        assert store.receiver(URL).cursor == 4

    play(store, story)


def test_replay_waits_for_what_is_on_its_way(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.slow.add("A")
        bench.add("A", "a1")
        bench.add("A", "a2")
        await bench.run()
        store.ask_replay(URL, 0)
        bench.clock.move(1)
        step = asyncio.ensure_future(bench.delivering.step())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not step.done() and bench.receiver.got == []
        bench.receiver.release.set()
        await step
        await bench.settle()
        assert bench.receiver.got == ["a1", "a1", "a2"]

    play(store, story)


def test_replay_takes_held_events_with_it(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.receiver.answers["A"] = REFUSED
        bench.add("A", "a1", "a2")
        bench.add("B", "b1")
        assert (await bench.settle()).held > 0
        bench.receiver.answers.clear()
        bench.receiver.got.clear()
        store.ask_replay(URL, 0)
        await bench.settle()
        state = await bench.settle()
        assert [one for one in bench.receiver.got if one != "b1"] == ["a1", "a2"]
        assert (state.held, state.cursor, state.dead_letters) == (0, 3, 0)

    play(store, story)
