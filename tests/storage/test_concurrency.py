"""Threads and processes on one store: nothing is lost, repeated or reordered."""

import itertools
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from micromdm_py.errors import IdentityMismatch, NotFound
from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.store import LmdbStore
from tests.builders import NOW, Device, command, device, event, identity, report
from tests.storage.backends import open_lmdb
from tests.storage.producer import DEVICES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lmdb_path(tmp_path: Path) -> Path:
    """On a disk: what is tested here is what a disk does."""
    return tmp_path / "store"


def producer(path: Path, name: str, count: int, mode: str = "queue") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.producer", str(path), name, str(count), mode],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def together(*jobs: Callable[[], object]) -> None:
    """Run every job in a thread of its own; the first error is raised here."""
    errors: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as fault:
            errors.append(fault)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def fetch_all(phone: Device, done: Callable[[], bool]) -> list[str]:
    """Answer whatever comes until the queue is empty and nobody queues any more; returns what came."""
    seen: list[str] = []
    while True:
        last_round = done()
        answer, uuid = "Idle", ""
        while True:
            came = phone.says(answer, uuid)
            if came is None:
                break
            seen.append(came)
            answer, uuid = "Acknowledged", came
        if last_round:
            return seen


def test_threads_queue_and_fetch_at_once(store: Store) -> None:
    ticks = itertools.count()
    calls: dict[str, list[tuple[int, int, str]]] = {udid: [] for udid in DEVICES}
    running = [True] * 4
    seen: dict[str, list[str]] = {}

    def queue(which: int) -> None:
        try:
            for number in range(60):
                udid, uuid = DEVICES[number % len(DEVICES)], f"{which}-{number}"
                begin = next(ticks)
                store.enqueue(udid, command(uuid), at=NOW)
                calls[udid].append((begin, next(ticks), uuid))
        finally:
            running[which] = False

    def fetch(udid: str) -> None:
        seen[udid] = fetch_all(Device(store, udid), lambda: not any(running))

    queues = [partial(queue, which) for which in range(len(running))]
    together(*queues, *[partial(fetch, udid) for udid in DEVICES])
    for udid in DEVICES:
        assert sorted(seen[udid]) == sorted(uuid for _, _, uuid in calls[udid])
        place = {uuid: number for number, uuid in enumerate(seen[udid])}
        for _, end, earlier in calls[udid]:
            for begin, _, later in calls[udid]:
                assert end > begin or place[earlier] < place[later]


def test_one_device_that_connects_many_times_at_once_gets_one_command(store: Store) -> None:
    phone = Device(store, "UDID-1")
    phone.queue("c1", "c2", "c3")
    got: list[str] = []

    def idle() -> None:
        served = store.record_report(report(phone.ref, "Idle"), phone.who, None, at=NOW)
        got.append(served.command_uuid)

    together(*[idle] * 12)
    assert got == ["c1"] * 12
    assert phone.record("c1").tries == 12


def test_refused_calls_do_not_spoil_their_neighbours(store: Store) -> None:
    Device(store, "UDID-1", identity("A")).enrolls()
    cursor = store.receiver("r").cursor
    refused = itertools.count()

    def good(number: int) -> None:
        ref = device(f"UDID-{number}")
        store.record_report(report(ref, "Idle"), identity("A"), event(f"{number}"), at=NOW)
        store.enqueue(ref.enrollment_id, command("c"), at=NOW)

    def bad() -> None:
        with pytest.raises(IdentityMismatch):
            store.record_report(report(device("UDID-1"), "Idle"), identity("B"), event("bad"), at=NOW)
        next(refused)

    together(*[job for number in range(100, 116) for job in (partial(good, number), bad)])
    assert next(refused) == 16
    bodies = sorted(one.body.decode() for one in store.events_after(cursor, 100))
    assert bodies == sorted(str(number) for number in range(100, 116))
    assert all(len(store.waiting(f"UDID-{number}")) == 1 for number in range(100, 116))


def test_events_are_in_the_order_of_the_answers(store: Store) -> None:
    cursor = store.receiver("r").cursor

    def connect(udid: str) -> None:
        for number in range(40):
            store.record_report(report(device(udid), "Idle"), identity(udid), event(f"{number}"), at=NOW)

    together(*[partial(connect, udid) for udid in DEVICES])
    events = store.events_after(cursor, 1000)
    assert [one.sequence for one in events] == list(range(cursor + 1, cursor + 161))
    for udid in DEVICES:
        assert [int(one.body) for one in events if one.enrollment_id == udid] == list(range(40))


def test_two_processes_queue_while_this_one_fetches(lmdb: LmdbStore, lmdb_path: Path) -> None:
    names = ("left", "right")
    queueing = [producer(lmdb_path, name, 80) for name in names]
    seen: dict[str, list[str]] = {}

    def fetch(udid: str) -> None:
        seen[udid] = fetch_all(Device(lmdb, udid), lambda: all(one.poll() is not None for one in queueing))

    together(*[partial(fetch, udid) for udid in DEVICES])
    assert [one.wait() for one in queueing] == [0, 0]
    for one in queueing:
        one.communicate()
    for place, udid in enumerate(DEVICES):
        for name in names:
            own = [uuid for uuid in seen[udid] if uuid.startswith(name)]
            assert own == [f"{name}-{number}" for number in range(place, 80, len(DEVICES))]
        assert len(seen[udid]) == 40


def test_lease_is_held_across_processes(lmdb: LmdbStore, lmdb_path: Path) -> None:
    other = open_lmdb_in_another_process(lmdb_path)
    assert other.stdin and other.stdout
    try:
        assert other.stdout.readline() == "True\n"
        with lmdb.lease("courier") as held:
            assert held is False
    finally:
        other.kill()
        other.communicate()
    with lmdb.lease("courier") as held:
        assert held is True


def open_lmdb_in_another_process(path: Path) -> subprocess.Popen[str]:
    code = (
        "import sys, pathlib\n"
        "from tests.storage.backends import open_lmdb\n"
        f"with open_lmdb(pathlib.Path({str(path)!r})).lease('courier') as held:\n"
        "    print(held, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_what_was_acknowledged_survives_kill_9(lmdb_path: Path, aged: Path) -> None:
    draw = random.Random(9)
    told: list[tuple[str, str, str]] = []
    lmdb_path.mkdir()
    (lmdb_path / "data.mdb").write_bytes((aged / "data.mdb").read_bytes())
    for number in range(20):
        child = producer(lmdb_path, f"round{number}", 10_000, "live")
        assert child.stdout
        for _ in range(draw.randrange(1, 120)):
            told.append(parted(child.stdout.readline()))
        child.kill()
        told += [parted(line) for line in child.communicate()[0].splitlines(True) if line.endswith("\n")]
    check_promises(lmdb_path, told)


def test_check_after_kill_9_finds_what_is_lost_or_in_the_wrong_order(
    lmdb: LmdbStore, lmdb_path: Path
) -> None:
    told = []
    for uuid in ("c1", "c2"):
        lmdb.enqueue("UDID-0", command(uuid), at=NOW)
        told.append(("queued", "UDID-0", uuid))
    lmdb.close()
    with pytest.raises(NotFound):
        check_promises(lmdb_path, [*told, ("queued", "UDID-0", "c3")])
    for wrong in (
        [*reversed(told)],
        [*told, ("sent", "UDID-0", "c1")],
        [*told, ("answered", "UDID-0", "c1")],
    ):
        with pytest.raises(AssertionError):
            check_promises(lmdb_path, wrong)
    check_promises(lmdb_path, told)


def parted(line: str) -> tuple[str, str, str]:
    what, udid, uuid = line.split()
    return what, udid, uuid


def check_promises(path: Path, told: list[tuple[str, str, str]]) -> None:
    """What was said to be done is done, in order; what nobody heard of may be there at a child's end only."""
    store = open_lmdb(path)
    try:
        for udid in DEVICES:
            check_device(store, udid, told)
    finally:
        store.close()


def check_device(store: Store, udid: str, told: list[tuple[str, str, str]]) -> None:
    queued = [uuid for what, whose, uuid in told if (what, whose) == ("queued", udid)]
    answered = {uuid for what, whose, uuid in told if (what, whose) == ("answered", udid)}
    sent = {uuid for what, whose, uuid in told if (what, whose) == ("sent", udid)}
    records = [store.command(udid, uuid) for uuid in queued]
    ids = [one.command_id for one in records]
    assert ids == sorted(ids)
    # A command queued just before a kill, which nobody heard of, may be sent and answered in a later round.
    assert all(store.command(udid, uuid).tries for uuid in sent)
    assert all(store.command(udid, uuid).has_report for uuid in answered)
    done = {one.command_uuid for one in records if one.has_report}
    waiting = [one.command_uuid for one in store.waiting(udid)]
    assert [uuid for uuid in waiting if uuid in set(queued)] == [uuid for uuid in queued if uuid not in done]
    unheard = [uuid for uuid in waiting if uuid not in set(queued)]
    assert len(unheard) <= 20
    seen = fetch_all(Device(store, udid, identity(udid)), lambda: True)
    assert seen == waiting
