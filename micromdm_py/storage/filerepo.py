"""The file repository: a folder of packages and manifests that devices fetch without credentials.

Only regular files are handed out, and none whose own name or a folder's name on the way to it begins with a
dot. Symbolic links are followed: only those who may write to the folder can make one. The server's own state
is never handed out nor replaced, wherever the folder is.

An upload is written to a file whose name begins with a dot, and gets its own name when it is complete. Its
writer holds a lock on it: one without a lock was left by a process that was killed.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from tempfile import mkstemp

from micromdm_py.errors import Conflict, NotFound, StorageUnavailable
from micromdm_py.storage.files import Draft, StoredFile

__all__ = ["FileRepository"]

_HIDDEN = "."
_DRAFT = ".upload-"
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class _DraftFile:
    """Implements `storage.files.Draft`."""

    file: FileIO
    path: Path

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        with _on_disk():
            while rest:
                rest = rest[self.file.write(rest) :]


class FileRepository:
    """Implements `storage.files.Files` on a folder."""

    def __init__(
        self,
        folder: Path,
        private: Iterable[Path] = (),
        before_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve a folder.

        Args:
            folder: has to exist.
            private: the server's files and folders. Nothing whose path begins with one of these is handed out
                or replaced: with `micromdm.lmdb` neither is `micromdm.lmdb.old`.
            before_wait: called by a thread that is about to wait for the disk.
        """
        self._folder, self._before_wait = folder, before_wait
        self._private = tuple(str(path.resolve()) for path in private)

    def open(self, path: str) -> StoredFile:
        """See `storage.files.Files`."""
        parts = path.split("/")
        if any(not part or part.startswith(_HIDDEN) or "\0" in part for part in parts):
            raise NotFound(f"not found: File {path}")
        try:
            return self._open(self._folder.joinpath(*parts))
        except (OSError, UnicodeError, RuntimeError) as fault:  # too long, not readable, links in a circle
            raise NotFound(f"not found: File {path}") from fault

    def names(self, ending: str) -> list[str]:
        """See `storage.files.Files`."""
        with _on_disk(), os.scandir(self._folder) as entries:
            found = [entry.name for entry in entries if entry.name.endswith(ending) and entry.is_file()]
        return sorted(name for name in found if not name.startswith(_HIDDEN) and name.isprintable())

    @contextlib.contextmanager
    def draft(self) -> Iterator[Draft]:
        """See `storage.files.Files`."""
        with _on_disk():
            handle, name = mkstemp(prefix=_DRAFT, dir=self._folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        path = Path(name)
        with FileIO(handle, "r+") as file:
            try:
                yield _DraftFile(file, path)
            finally:
                path.unlink(missing_ok=True)

    def keep(self, drafts: Sequence[tuple[str, Draft]]) -> None:
        """See `storage.files.Files`."""
        self._before_wait()
        folder = self._folder.resolve()
        for name, draft in drafts:
            if (folder / name).is_dir() or str(folder / name).startswith(self._private):
                raise Conflict(f"{name}: the name is taken by something that is not a package")
            with _on_disk():
                os.fchmod(draft.file.fileno(), _MODE)
                os.fsync(draft.file.fileno())
        with _on_disk():
            for name, draft in drafts:
                assert isinstance(draft, _DraftFile)  # noqa: S101 - they come from `draft`
                draft.path.rename(folder / name)
            _sync_folder(folder)

    def sweep(self) -> None:
        """Remove what was left by processes that were killed while they received files."""
        for path in self._folder.glob(f"{_DRAFT}*"):
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    def _open(self, path: Path) -> StoredFile:
        real = path.resolve(strict=True)
        if str(real).startswith(self._private):
            raise PermissionError("belongs to the server")
        # O_NONBLOCK: a pipe without a writer must not hold up a thread.
        file = FileIO(os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            file.close()
            raise FileNotFoundError("not a regular file")
        return StoredFile(file, about.st_size, about.st_mtime_ns)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _on_disk() -> Iterator[None]:
    """Turn an error of the disk into ours."""
    try:
        yield
    except OSError as fault:
        raise StorageUnavailable(f"file repository: {fault.strerror}") from fault
