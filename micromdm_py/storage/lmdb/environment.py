"""The LMDB environment: opening, reading, and writing by group commit."""

import contextlib
import errno
import json
import logging
import os
import secrets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import lmdb

from micromdm_py.errors import MdmError, StartupError, StorageUnavailable
from micromdm_py.storage.lmdb.damage import check_complete
from micromdm_py.storage.lmdb.tables import TABLES, u64, unu64
from micromdm_py.storage.lmdb.transactions import Tables, Txn

__all__ = ["Environment", "Turns"]

SCHEMA = 1
MAX_READERS = 4096
MAX_BATCH = 256
"""Most operations in one commit, so that the first of them does not wait for ever."""
_EIO = os.strerror(errno.EIO)

logger = logging.getLogger(__name__)
T = TypeVar("T")

Write = Callable[[Txn], T]


class Pause(Protocol):
    """The wait of a thread that lets others go first, so that they can share its commit."""

    def wait(self) -> bool:
        """Wait; true if `end` was called, false if this thread has to commit by itself."""
        ...

    def end(self) -> None:
        """Let the thread go on."""
        ...


class Turns(Protocol):
    """How threads that write take turns; `micromdm_py.lead` is such a way."""

    def about_to_wait(self, seconds: float) -> None:
        """Tell that this thread is about to wait for the disk, probably for so many seconds."""
        ...

    def pause(self) -> Pause | None:
        """Step aside for threads that may share the commit; None when there are none."""
        ...


class Alone:
    """The turns of threads that know nothing of each other."""

    def about_to_wait(self, seconds: float) -> None:
        """Do nothing."""

    def pause(self) -> None:
        """Never."""


class _Entry(Generic[T]):
    """One operation on its way through a group commit."""

    __slots__ = ("done", "error", "operation", "pause", "result")

    def __init__(self, operation: Write[T], pause: Pause | None) -> None:
        self.operation = operation
        self.pause = pause
        self.done = False
        self.error: BaseException | None = None
        self.result: T | None = None

    def finish(self) -> None:
        """Let the caller have the result."""
        self.done = True
        if self.pause is not None:
            self.pause.end()


class _Companion(threading.local):
    """What the current thread wants written together with its next write."""

    operation: Callable[[Txn], None] | None = None


def _both(operation: Write[T], companion: Callable[[Txn], None]) -> Write[T]:
    def run(txn: Txn) -> T:
        result = operation(txn)
        companion(txn)
        return result

    return run


def _nothing(_txn: Txn) -> None:
    """A write that is there only for its companion."""


class Environment:
    """One open store: short read transactions, and writes that share commits.

    Writing follows the flat-combining pattern: a caller puts its operation on a list, and lets others do the
    same if its `turns` know of any. Whoever holds the leader lock runs everything on the list in one
    transaction, commits once, and lets the others go.

    An operation may raise an `MdmError` only before its first write; it then fails alone. Any other error
    rolls the batch back, and its operations are run again one by one, so that a faulty one cannot spoil its
    neighbours.
    """

    def __init__(self, path: Path, *, map_size_bytes: int, turns: Turns | None = None) -> None:
        """Open the store in a folder, which is made (0700, files 0600) if it is missing.

        Args:
            path: the folder.
            map_size_bytes: the largest size of the store.
            turns: how the threads of this process take turns; None when they know nothing of each other.
        Raises: StartupError when it is not a store of this program, is damaged, is newer than the program, or
            cannot be accessed.
        """
        try:
            path.mkdir(mode=0o700, parents=False, exist_ok=True)
            check_complete(path)
            self._env = lmdb.open(
                str(path),
                map_size=map_size_bytes,
                max_dbs=len(TABLES) + 8,
                max_readers=MAX_READERS,
                max_spare_txns=64,
                mode=0o600,
                readahead=False,
            )
        except (lmdb.Error, OSError) as fault:
            raise StartupError(f"opening store {path}: {fault}") from fault
        try:
            self._env.reader_check()
            self.tables = Tables(self._env)
            self._check_schema(path)
        except (lmdb.Error, struct.error, ValueError) as fault:
            self._env.close()
            raise StartupError(f"opening store {path}: {fault}") from fault
        except StartupError:
            self._env.close()
            raise
        self._turns: Turns = turns or Alone()
        self._sync_s = 0.0  # how long a commit takes, smoothed
        self._mutex = threading.Lock()
        self._leader = threading.Lock()
        self._waiting: list[_Entry[object]] = []
        self._before_commit: list[Callable[[Txn], None]] = []
        self._companion = _Companion()

    def _check_schema(self, path: Path) -> None:
        with self.read() as txn:
            found = txn.get(b"schema", db=self.tables.meta)
            empty = found is None and txn.stat(self.tables.ids)["entries"] == 0
        if found is None:
            if not empty:
                raise StartupError(f"opening store {path}: no schema version: not a store of this program")
            with self._env.begin(write=True) as txn:
                txn.put(b"schema", u64(SCHEMA), db=self.tables.meta, overwrite=False)
                names = json.dumps([secrets.token_hex(12), secrets.token_hex(12)])
                txn.put(b"organization", names.encode(), db=self.tables.meta, overwrite=False)
        elif unu64(found) > SCHEMA:
            raise StartupError(
                f"opening store {path}: schema version {unu64(found)} is newer than this program's {SCHEMA}"
            )

    @contextlib.contextmanager
    def read(self) -> Iterator[Txn]:
        """A snapshot to read from."""
        with self._env.begin() as txn:
            yield cast(Txn, txn)

    def before_commit(self, hook: Callable[[Txn], None]) -> None:
        """Have `hook` run at the end of every batch, inside its transaction."""
        self._before_commit.append(hook)

    @contextlib.contextmanager
    def accompanied(self, companion: Callable[[Txn], None]) -> Iterator[None]:
        """Run `companion` in the transaction of this thread's first write inside the block.

        Without a write it gets a transaction of its own at the end; when the block raises before a write,
        it is dropped.
        """
        self._companion.operation = companion
        try:
            yield
            if self._companion.operation is not None:
                self.write(_nothing)
        finally:
            self._companion.operation = None

    def write(self, operation: Write[T]) -> T:
        """Run an operation in a transaction and return its result once it is on disk.

        Raises: what the operation raises; StorageUnavailable when the disk or the map is full.
        """
        companion = self._companion.operation
        if companion is None:
            return self._write(operation)
        result = self._write(_both(operation, companion))
        self._companion.operation = None
        return result

    def _write(self, operation: Write[T]) -> T:
        entry = _Entry(operation, self._turns.pause())
        with self._mutex:
            self._waiting.append(entry)  # type: ignore[arg-type]  # one list holds results of every type
        if entry.pause is None or not entry.pause.wait():
            self._commit_until(entry)
        if entry.error is not None:
            raise entry.error
        return entry.result  # type: ignore[return-value]  # set when there is no error

    def _commit_until(self, entry: _Entry[T]) -> None:
        """Commit what is on the list until this entry has been committed, here or by another thread."""
        self._turns.about_to_wait(self._sync_s)
        with self._leader:
            while not entry.done:
                with self._mutex:
                    batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                self._run(batch)

    def _run(self, batch: list[_Entry[object]]) -> None:
        """Run a batch in one commit, or one by one when that fails."""
        try:
            self._commit(batch)
        except BaseException as fault:
            if len(batch) == 1:
                batch[0].error = _outward(fault)
                batch[0].finish()
                return
            for entry in batch:
                entry.error = None
                self._run([entry])
        else:
            for entry in batch:
                entry.finish()

    def _commit(self, batch: list[_Entry[object]]) -> None:
        with self._env.begin(write=True) as begun:
            txn = cast(Txn, begun)
            for entry in batch:
                try:
                    entry.result = entry.operation(txn)
                except MdmError as fault:
                    entry.error = fault
            for hook in self._before_commit:
                hook(txn)
            began = time.monotonic()
        self._sync_s += (time.monotonic() - began - self._sync_s) / 8

    def next_number(self, txn: Txn, name: bytes) -> int:
        """Count on: the next value of a counter in `meta`, the first being 1."""
        value = self.number(txn, name) + 1
        txn.put(name, u64(value), db=self.tables.meta)
        return value

    def number(self, txn: Txn, name: bytes) -> int:
        """The current value of a counter, 0 before its first use."""
        found = txn.get(name, db=self.tables.meta)
        return unu64(found) if found else 0

    def copy_to(self, file: FileIO) -> None:
        """Write a consistent, compacted copy to an empty file. Raises: StorageUnavailable."""
        try:
            self._env.copyfd(file.fileno(), compact=True)
        except lmdb.Error as fault:
            raise StorageUnavailable(f"the store cannot be copied: {_reason(fault)}") from fault

    def close(self) -> None:
        """Close the environment; it cannot be used afterwards."""
        with self._leader:
            self._env.close()


def _outward(fault: BaseException) -> BaseException:
    """What a caller sees of a failed write."""
    if isinstance(fault, lmdb.MapFullError):
        logger.error("store is full: raise -store-size-gib")
        return StorageUnavailable("the store has reached its size limit (-store-size-gib)")
    if isinstance(fault, lmdb.BadValsizeError):
        return fault
    if isinstance(fault, (lmdb.Error, OSError)):
        logger.error("store cannot write: %s", fault)
        return StorageUnavailable(f"the store cannot write: {_reason(fault)}")
    return fault


def _reason(fault: Exception) -> str:
    """The part of an LMDB error that says why, without call and path."""
    text = str(fault).rsplit(": ", 1)[-1] or _EIO
    # LMDB says no more than this when only a part of a page could be written.
    return f"{text} (is the disk full?)" if text == _EIO else text
