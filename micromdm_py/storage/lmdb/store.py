"""The LMDB store: all parts on one environment."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from tempfile import TemporaryFile

from micromdm_py.errors import StorageUnavailable
from micromdm_py.storage.files import StoredFile
from micromdm_py.storage.lmdb.audit import AuditPart
from micromdm_py.storage.lmdb.environment import Environment, Turns
from micromdm_py.storage.lmdb.history import HistoryPart
from micromdm_py.storage.lmdb.outbox import OutboxPart
from micromdm_py.storage.lmdb.quarantine import QuarantinePart
from micromdm_py.storage.lmdb.search import SearchPart
from micromdm_py.storage.lmdb.seen import SeenTimes
from micromdm_py.storage.lmdb.targets import TargetPart
from micromdm_py.storage.lmdb.transfer import TransferPart

__all__ = ["LmdbStore", "open_store"]


class LmdbStore(SearchPart, TargetPart, HistoryPart, TransferPart, QuarantinePart, OutboxPart, AuditPart):
    """Implements `storage.base.Store` on one LMDB environment.

    An environment must not cross a fork: every process opens its own.
    """

    def __init__(self, path: Path, env: Environment, seen: SeenTimes) -> None:
        """Join the parts; to open a store, use `open_store`."""
        super().__init__(env, seen)
        self._path = path

    @contextlib.contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        """See `storage.base.Store`; the lease is a file lock, which dies with its process."""
        handle = os.open(self._path / f"{name}.lease", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)

    def organization(self) -> tuple[str, str]:
        """See `storage.base.Store`."""
        with self._env.read() as txn:
            row = txn.get(b"organization", db=self._t.meta)
        organization, enterprise = json.loads(row or b'["", ""]')
        return organization, enterprise

    def copy_to(self, file: FileIO) -> None:
        """Write a consistent, compacted copy to an empty file while the store is in use.

        Raises: StorageUnavailable.
        """
        self._env.copy_to(file)

    def backup(self, folder: Path) -> StoredFile:
        """A copy as by `copy_to`, in a file without a name, which disappears when it is closed.

        Args:
            folder: where the disk has to have room for it.
        Raises: StorageUnavailable.
        """
        try:
            file = TemporaryFile(buffering=0, dir=folder)
        except OSError as fault:
            raise StorageUnavailable(f"backup: {fault.strerror}") from fault
        try:
            self.copy_to(file)
            file.seek(0)
            return StoredFile(file, os.fstat(file.fileno()).st_size, 0)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """See `storage.base.Store`."""
        self._seen.close()
        self._env.close()


def open_store(path: Path, *, map_size_bytes: int, turns: Turns | None = None) -> LmdbStore:
    """Open the store in a folder, which is made if it is missing.

    Args:
        path: the folder of the environment, `<config-path>/micromdm.lmdb`.
        map_size_bytes: the largest size of the store; its file is sparse.
        turns: how the threads of this process take turns; None when they know nothing of each other.
    Raises: StartupError.
    """
    env = Environment(path, map_size_bytes=map_size_bytes, turns=turns)
    return LmdbStore(path, env, SeenTimes(env))
