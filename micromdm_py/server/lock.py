"""One server per store: a lock that dies with its owner."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from micromdm_py.errors import StartupError, StoreInUse

__all__ = ["FileLock", "lock_store"]

_PAUSE_S = 0.05


class FileLock:
    """A POSIX record lock on a file.

    It belongs to the process, is not inherited by its children, and is released when the process ends for
    whatever reason. The file stays; it holds the process id of the last owner, for people to read.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened yet."""
        self._path = path
        self._fd: int | None = None

    def acquire(self, wait_s: float) -> bool:
        """Take the lock, trying for ``wait_s`` seconds.

        Returns: False when another process still holds it.
        Raises: OSError when the file cannot be opened.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up_at = time.monotonic() + wait_s
        while True:
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= give_up_at:
                    os.close(fd)
                    return False
                time.sleep(_PAUSE_S)
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        self._fd = fd
        return True

    def owner(self) -> str:
        """Return the process id that the owner wrote, "" if there is none."""
        try:
            return self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            return ""

    def release(self) -> None:
        """Give the lock back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def lock_store(config_path: Path, wait_s: float = 1.0) -> FileLock:
    """Make this process the only server on the store in ``config_path``.

    Raises: StoreInUse when another server still holds the lock after ``wait_s`` seconds; StartupError when
        the folder cannot be written.
    """
    lock = FileLock(config_path / "server.lock")
    try:
        taken = lock.acquire(wait_s)
    except OSError as fault:
        reason = (fault.strerror or "").lower()
        raise StartupError(f"opening store {config_path}: server.lock: {reason}") from fault
    if not taken:
        owner = lock.owner()
        by = f" by process {owner}" if owner else ""
        raise StoreInUse(f"opening store {config_path}: in use{by}: timeout")
    return lock
