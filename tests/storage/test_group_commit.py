"""Writes that share a commit: they succeed together, and fail alone."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from micromdm_py.errors import NotFound, StorageUnavailable
from micromdm_py.storage.lmdb.environment import MAX_BATCH, Alone, Environment
from micromdm_py.storage.lmdb.transactions import Txn

MAP_BYTES = 1 << 20


class Meeting(Alone):
    """Tells when a write has been queued."""

    def __init__(self) -> None:
        self.queued = threading.Semaphore(0)

    def about_to_wait(self, seconds: float) -> None:
        self.queued.release()


class Company:
    """Offers each write but the last the company of the next one."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.stepped_aside = threading.Semaphore(0)

    def about_to_wait(self, seconds: float) -> None:
        pass

    def pause(self) -> "Aside | None":
        self.left -= 1
        return Aside(self) if self.left else None


class Aside:
    """A pause that only a commit ends."""

    def __init__(self, company: Company) -> None:
        self.company, self.over = company, threading.Event()

    def wait(self) -> bool:
        self.company.stepped_aside.release()
        return self.over.wait()

    def end(self) -> None:
        self.over.set()


class Bench:
    """An environment whose writes can be made to meet in one commit."""

    def __init__(self, path: Path) -> None:
        self.turns = Meeting()
        self.env = Environment(path, map_size_bytes=MAP_BYTES, turns=self.turns)
        self.commits: dict[bytes, list[int]] = {}

    def put(self, key: bytes, size: int = 1, error: Exception | None = None) -> Callable[[Txn], bytes]:
        """An operation that writes a row and then perhaps fails."""

        def operation(txn: Txn) -> bytes:
            self.commits.setdefault(key, []).append(self.env.next_number(txn, b"operations"))
            if isinstance(error, NotFound):
                raise error
            txn.put(key, bytes(size), db=self.env.tables.challenge)
            if error is not None:
                raise error
            return key

        return operation

    def together(self, *operations: Callable[[Txn], bytes]) -> list[bytes | type[BaseException]]:
        """Run operations in one batch, in this order; returns what each brings or raises."""
        gate, results = threading.Event(), dict[int, bytes | type[BaseException]]()

        def write(place: int, operation: Callable[[Txn], bytes]) -> None:
            try:
                results[place] = self.env.write(operation)
            except BaseException as fault:
                results[place] = type(fault)

        def first(txn: Txn) -> bytes:
            gate.wait()
            return b""

        threads = []
        for place, operation in enumerate((first, *operations)):
            threads.append(threading.Thread(target=write, args=(place, operation)))
            threads[-1].start()
            self.turns.queued.acquire()
        gate.set()
        for thread in threads:
            thread.join()
        return [results[place] for place in range(1, len(threads))]

    def has(self, *keys: bytes) -> list[bool]:
        with self.env.read() as txn:
            return [txn.get(key, db=self.env.tables.challenge) is not None for key in keys]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "store")
    yield bench
    bench.env.close()


def test_every_write_of_a_batch_is_there_in_the_order_of_coming(bench: Bench) -> None:
    keys = [b"%d" % number for number in range(20)]
    assert bench.together(*[bench.put(key) for key in keys]) == keys
    assert all(bench.has(*keys))
    order = sorted(keys, key=lambda key: bench.commits[key][-1])
    assert order == keys


def test_faulty_write_fails_alone_and_leaves_nothing(bench: Bench) -> None:
    writes = (bench.put(b"a"), bench.put(b"b", error=ValueError("fault")), bench.put(b"c"))
    assert bench.together(*writes) == [b"a", ValueError, b"c"]
    assert bench.has(b"a", b"b", b"c") == [True, False, True]


def test_write_without_room_fails_alone(bench: Bench) -> None:
    writes = (bench.put(b"a"), bench.put(b"b", size=MAP_BYTES), bench.put(b"c"))
    assert bench.together(*writes) == [b"a", StorageUnavailable, b"c"]
    assert bench.has(b"a", b"b", b"c") == [True, False, True]


def test_write_that_the_store_refuses_keeps_the_batch_whole(bench: Bench) -> None:
    writes = (bench.put(b"a"), bench.put(b"b", error=NotFound("nobody")), bench.put(b"c"))
    assert bench.together(*writes) == [b"a", NotFound, b"c"]
    assert bench.has(b"a", b"b", b"c") == [True, False, True]
    assert [len(times) for times in bench.commits.values()] == [1, 1, 1]


def test_counter_gives_no_number_twice_when_a_batch_is_run_again(bench: Bench) -> None:
    keys = [b"%d" % number for number in range(10)]
    faulty = bench.put(b"faulty", error=RuntimeError("fault"))
    bench.together(*[bench.put(key) for key in keys[:5]], faulty, *[bench.put(key) for key in keys[5:]])
    given = [bench.commits[key][-1] for key in keys]
    assert given == sorted(set(given))


def test_hook_runs_inside_each_commit(bench: Bench) -> None:
    def hook(txn: Txn) -> None:
        bench.put(b"hook")(txn)

    bench.env.before_commit(hook)
    bench.env.write(bench.put(b"a"))
    assert bench.has(b"a", b"hook") == [True, True]


def test_more_writes_than_one_commit_takes_are_all_made(bench: Bench) -> None:
    keys = [b"%d" % number for number in range(MAX_BATCH + 10)]
    assert bench.together(*[bench.put(key) for key in keys]) == keys
    assert all(bench.has(*keys))


def test_last_of_those_that_step_aside_commits_for_all(tmp_path: Path) -> None:
    company = Company(4)
    env = Environment(tmp_path / "store", map_size_bytes=MAP_BYTES, turns=company)
    transactions: list[int] = []

    def operation(txn: Txn) -> int:
        transactions.append(id(txn))
        return env.next_number(txn, b"operations")

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(env.write(operation))) for _ in range(3)]
    for thread in threads:
        thread.start()
        company.stepped_aside.acquire()
    assert transactions == []
    assert env.write(operation) == 4
    for thread in threads:
        thread.join()
    env.close()
    assert sorted(results) == [1, 2, 3]
    assert len(transactions) == 4 and len(set(transactions)) == 1


def test_those_that_stepped_aside_hear_of_a_fault(tmp_path: Path) -> None:
    company = Company(2)
    env = Environment(tmp_path / "store", map_size_bytes=MAP_BYTES, turns=company)
    faults: list[BaseException] = []

    def faulty(txn: Txn) -> None:
        raise ValueError("fault")

    def write() -> None:
        try:
            env.write(faulty)
        except ValueError as fault:
            faults.append(fault)

    thread = threading.Thread(target=write)
    thread.start()
    company.stepped_aside.acquire()
    assert env.write(lambda txn: env.next_number(txn, b"operations")) == 1
    thread.join()
    env.close()
    assert len(faults) == 1
