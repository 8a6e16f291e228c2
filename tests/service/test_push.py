"""Pushes that are due and on request: a store, a clock moved by hand, an APNs that is a function."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from micromdm_py.errors import Busy, Conflict, NotConfigured, NotFound, TokenDead, UpstreamFailed
from micromdm_py.protocol.apns import Fate, PushReply, PushRequest
from micromdm_py.service.push import MAX_SILENT, PushNow
from micromdm_py.service.pushing import Pushing, PushLimits
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import PushCertificate
from tests.fakes.clock import Clock
from tests.fakes.outgoing import NOW, TOPIC, enroll, new_store, queue

T = TypeVar("T")
CERTIFICATE = PushCertificate(TOPIC, b"certificate", b"key", NOW)
OTHER = PushCertificate(TOPIC, b"another certificate", b"key", NOW)
ACCEPTED = PushReply(Fate.ACCEPTED, "id-1")
DEAD = PushReply(Fate.DEAD, "id-2", "Unregistered")
DOWN = PushReply(Fate.DOWN, "", "ServiceUnavailable")
LATER = PushReply(Fate.LATER, "", "TooManyRequests", 120.0)
LOCKED_OUT = PushReply(Fate.LOCKED_OUT, "", "BadCertificate")


async def at_once(call: Callable[[], T]) -> T:
    return call()


class Apns:
    """Answers by push magic, else with `usual`; `sent` is (magic, certificate)."""

    def __init__(self) -> None:
        self.usual = ACCEPTED
        self.answers: dict[str, PushReply] = {}
        self.sent: list[tuple[str, bytes]] = []
        self.hold: asyncio.Event | None = None

    def __call__(self, certificate: PushCertificate, request: PushRequest) -> PushReply:
        magic = request.body.decode().removeprefix('{"mdm":"magic ').removesuffix('"}')
        self.sent.append((magic, certificate.certificate))
        return self.answers.get(magic, self.usual)

    async def later(self, certificate: PushCertificate, request: PushRequest) -> PushReply:
        reply = self(certificate, request)
        if self.hold:
            await self.hold.wait()
        return reply

    @property
    def names(self) -> list[str]:
        return [magic for magic, _ in self.sent]


class Bench:
    def __init__(self, store: Store, limits: PushLimits | None = None) -> None:
        self.store, self.clock, self.apns = store, Clock(), Apns()
        self.pushing = Pushing(
            store,
            self.apns.later,
            blocking=at_once,
            now=self.clock,
            draw=lambda: 0.5,
            limits=limits,
        )

    async def run(self, times: int = 5) -> float:
        pause = 0.0
        for _ in range(times):
            pause = await self.pushing.step()
            for _ in range(20):
                await asyncio.sleep(0)
        return pause

    def ask(self, *enrollments: str) -> None:
        for enrollment in enrollments:
            enroll(self.store, enrollment)
            queue(self.store, enrollment, "uuid", self.clock())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path)
    yield opened
    opened.close()


def play(store: Store, story: Callable[[Bench], Awaitable[None]], limits: PushLimits | None = None) -> None:
    async def main() -> None:
        await story(Bench(store, limits))

    asyncio.run(main())


def test_a_queued_command_is_pushed_once_and_marked(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.ask("A", "B")
        for number in range(5):
            queue(store, "A", f"more {number}", bench.clock())
        await bench.run()
        assert sorted(bench.apns.names) == ["A", "B"]
        assert store.command("A", "uuid").sent_at == bench.clock()
        assert store.due_pushes(at=bench.clock() + timedelta(minutes=11), limit=9)[0] == []

    play(store, story)


def test_a_step_says_when_the_next_push_is_due(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.ask("A")
        assert await bench.run() == 5.0
        store.schedule_push("A", at=bench.clock() + timedelta(seconds=2))
        assert await bench.run(1) == 2.0
        bench.clock.move(2)
        await bench.run(1)
        assert bench.apns.names == ["A", "A"]

    play(store, story)


def test_a_silent_device_is_pushed_to_again_at_growing_intervals_and_not_for_ever(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.ask("A")
        await bench.run()
        waits = []
        for _ in range(MAX_SILENT):
            last = bench.clock()
            _, due_at = store.due_pushes(at=last, limit=9)
            assert due_at is not None
            waits.append((due_at - last).total_seconds())
            bench.clock.move(waits[-1])
            await bench.run()
        assert waits[:4] == [pytest.approx(0.9 * 900 * 3**number) for number in range(4)]
        assert max(waits) <= 86_400
        assert bench.apns.names == ["A"] * (MAX_SILENT + 1)
        assert store.due_pushes(at=bench.clock() + timedelta(days=9), limit=9) == ([], None)

    play(store, story)


def test_without_a_certificate_pushes_wait_for_one(store: Store) -> None:
    async def story(bench: Bench) -> None:
        bench.ask("A")
        assert await bench.run() >= 1
        assert bench.apns.sent == []
        store.store_push_certificate(CERTIFICATE)
        await bench.run()
        assert bench.apns.names == ["A"]

    play(store, story)


def test_a_new_certificate_is_used_at_once(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.ask("A")
        await bench.run()
        store.store_push_certificate(OTHER)
        bench.ask("B")
        await bench.run()
        assert [certificate for _, certificate in bench.apns.sent] == [b"certificate", b"another certificate"]

    play(store, story)


def test_each_device_is_pushed_with_the_certificate_of_its_topic(store: Store) -> None:
    other = "com.apple.mgmt.External.other"
    store.store_push_certificate(replace(CERTIFICATE, topic=other, certificate=b"the other one"))
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        for name, topic in (("A", other), ("B", CERTIFICATE.topic)):
            enroll(store, name, topic=topic)
            queue(store, name, "uuid", bench.clock())
            await bench.run()
        assert [used for _, used in bench.apns.sent] == [b"the other one", CERTIFICATE.certificate]

    play(store, story)


def test_a_device_of_another_topic_is_pushed_with_the_newest_certificate(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        enroll(store, "A", topic="com.apple.mgmt.External.other")
        queue(store, "A", "uuid", bench.clock())
        await bench.run()
        assert bench.apns.names == ["A"]

    play(store, story)


def test_a_dead_token_is_not_pushed_to_before_the_next_token_update(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.apns.usual = DEAD
        bench.ask("A")
        await bench.run()
        assert store.push_target("A").dead_reason == "Unregistered"
        bench.apns.usual = ACCEPTED
        queue(store, "A", "next", bench.clock())
        bench.clock.move(86_400)
        await bench.run()
        assert bench.apns.names == ["A"]
        enroll(store, "A", b"\xbb" * 32)
        await bench.run()
        assert bench.apns.names == ["A", "A"]

    play(store, story)


def test_an_invalid_token_is_noted_without_a_call(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        enroll(store, "A", b"fakeToken")
        queue(store, "A", "uuid", bench.clock())
        await bench.run()
        assert bench.apns.sent == []
        assert store.due_pushes(at=bench.clock() + timedelta(days=1), limit=9) == ([], None)
        assert store.push_target("A").dead_at is None

    play(store, story)


def test_a_push_that_failed_is_tried_again_later_and_later(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.apns.usual = DOWN
        bench.ask("A")
        waits = []
        for _ in range(15):
            await bench.run()
            _, next_at = store.due_pushes(at=bench.clock(), limit=9)
            assert next_at
            waits.append((next_at - bench.clock()).total_seconds())
            bench.clock.now = next_at
        assert waits == sorted(waits)
        assert waits[0] < 2
        assert 600 < waits[-1] <= 900
        assert len(bench.apns.sent) == 15
        bench.apns.usual = ACCEPTED
        await bench.run()
        assert store.command("A", "uuid").sent_at == bench.clock()

    play(store, story)


def test_retry_after_is_honoured_and_concerns_one_device(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.apns.answers = dict.fromkeys("ABC", LATER)
        bench.ask("A", "B", "C", "D")
        await bench.run()
        assert sorted(bench.apns.names) == list("ABCD")
        _, next_at = store.due_pushes(at=bench.clock(), limit=9)
        assert next_at
        assert next_at - bench.clock() >= timedelta(seconds=120)

    play(store, story)


def test_an_outage_does_not_end_in_a_storm(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)
    limits = PushLimits(at_once=4)

    async def story(bench: Bench) -> None:
        bench.apns.usual = DOWN
        bench.ask(*(f"D{number}" for number in range(200)))
        await bench.run(20)
        assert len(bench.apns.sent) <= 8
        for _ in range(60):
            bench.clock.move(1)
            await bench.run(3)
        assert len(bench.apns.sent) <= 20
        bench.apns.usual = ACCEPTED
        bench.clock.move(300)
        await bench.run(80)
        bench.clock.move(900)
        await bench.run(80)
        assert set(bench.apns.names) == {f"D{number}" for number in range(200)}
        assert store.due_pushes(at=bench.clock(), limit=9)[0] == []

    play(store, story, limits)


def test_a_refused_certificate_stops_all_pushes_until_there_is_another(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)
    limits = PushLimits(at_once=1)

    async def story(bench: Bench) -> None:
        bench.apns.usual = LOCKED_OUT
        bench.ask("A", "B", "C")
        await bench.run()
        assert len(bench.apns.sent) == 1
        bench.apns.usual = ACCEPTED
        store.store_push_certificate(OTHER)
        await bench.run(10)
        assert len(bench.apns.sent) == 3
        bench.clock.move(10)
        await bench.run(10)
        assert sorted(set(bench.apns.names)) == ["A", "B", "C"]

    play(store, story, limits)


def test_another_certificate_ends_the_wait_for_an_apns_that_serves_nobody(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.apns.usual = DOWN
        bench.ask("A", "B", "C")
        await bench.run()
        bench.apns.usual = ACCEPTED
        bench.ask("D")
        await bench.run()
        assert "D" not in bench.apns.names
        store.store_push_certificate(OTHER)
        await bench.run()
        assert bench.apns.names[-1] == "D"

    play(store, story)


def test_no_more_than_so_many_at_once_and_in_a_second(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.apns.hold = asyncio.Event()
        bench.ask(*(f"D{number}" for number in range(20)))
        await bench.run()
        assert len(bench.apns.sent) == 5
        bench.apns.hold.set()
        await bench.run()
        assert len(bench.apns.sent) == 8
        for _ in range(3):
            bench.clock.move(1)
            await bench.run()
        assert sorted(bench.apns.names) == sorted(f"D{number}" for number in range(20))

    play(store, story, PushLimits(at_once=5, per_second=8))


def test_a_command_queued_while_its_push_is_on_the_way_gets_another(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.apns.hold = asyncio.Event()
        bench.ask("A")
        await bench.run()
        bench.clock.move(0.1)
        queue(store, "A", "second", bench.clock())
        await bench.run()
        assert bench.apns.names == ["A"]
        bench.apns.hold.set()
        await bench.run()
        assert bench.apns.names == ["A", "A"]
        assert store.command("A", "second").sent_at

    play(store, story)


def test_running_until_it_is_stopped(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)

    async def story(bench: Bench) -> None:
        bench.ask("A")
        stop = asyncio.Event()
        running = asyncio.create_task(bench.pushing.run(stop))
        while store.command("A", "uuid").sent_at is None:
            await asyncio.sleep(0)
        stop.set()
        bench.pushing.wake()
        await running

    play(store, story)


class Now:
    """A push on request and what is behind it."""

    def __init__(self, store: Store, slots: int = 2) -> None:
        self.store, self.apns, self.clock = store, Apns(), Clock()
        self.push = PushNow(store, self.apns, slots, now=self.clock, draw=lambda: 0.5)


def test_a_push_on_request_gives_the_id_of_apns(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)
    now = Now(store)
    enroll(store, "A")
    queue(store, "A", "uuid", now.clock())
    assert now.push("A") == "id-1"
    assert store.command("A", "uuid").sent_at == now.clock()
    assert store.due_pushes(at=now.clock(), limit=9)[0] == []


def test_a_refusal_is_handed_on_and_the_token_remembered(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)
    now = Now(store)
    enroll(store, "A")
    now.apns.usual = DEAD
    with pytest.raises(UpstreamFailed, match="Unregistered"):
        now.push("A")
    with pytest.raises(TokenDead, match="since 2026-11-23T08:00:00Z: Unregistered"):
        now.push("A")
    assert len(now.apns.sent) == 1


def test_a_failed_push_on_request_does_not_lose_the_one_that_was_due(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)
    now = Now(store)
    enroll(store, "A")
    queue(store, "A", "uuid", now.clock())
    now.apns.usual = DOWN
    with pytest.raises(UpstreamFailed, match="ServiceUnavailable"):
        now.push("A")
    assert store.due_pushes(at=now.clock(), limit=9)[1]


def test_errors_of_a_push_on_request(store: Store) -> None:
    now = Now(store)
    with pytest.raises(NotFound, match=r"^retrieving PushInfo by UDID: not found: PushInfo udid NOPE$"):
        now.push("NOPE")
    enroll(store, "A")
    with pytest.raises(NotConfigured):
        now.push("A")
    store.store_push_certificate(CERTIFICATE)
    enroll(store, "A", b"fakeToken")
    with pytest.raises(Conflict, match=r"^invalid push token$"):
        now.push("A")
    assert now.apns.sent == []


def test_too_many_pushes_on_request_at_once_are_sent_away(store: Store) -> None:
    store.store_push_certificate(CERTIFICATE)
    enroll(store, "A")
    inside, leave = threading.Event(), threading.Event()

    def slow(certificate: PushCertificate, request: PushRequest) -> PushReply:
        inside.set()
        leave.wait(20)
        return ACCEPTED

    push = PushNow(store, slow, 1, now=Clock(), draw=lambda: 0.5)
    first = threading.Thread(target=push, args=("A",))
    first.start()
    assert inside.wait(20)
    with pytest.raises(Busy):
        push("A")
    leave.set()
    first.join(20)
    assert push("A") == "id-1"
