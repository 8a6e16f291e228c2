"""The file repository: a folder of packages and manifests that devices fetch without credentials.

Only regular files are handed out, and none whose name, or the name of a folder on the way, begins with a
dot. A symbolic link is followed: only who may write into the folder can make one. The server's own state is
never handed out, wherever the folder lies.
"""

import os
import stat
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

from micromdm_py.errors import NotFound
from micromdm_py.storage.files import StoredFile

__all__ = ["FileRepository"]

_HIDDEN = "."


class FileRepository:
    """Implements `storage.files.Files` on a folder."""

    def __init__(self, folder: Path, private: Iterable[Path] = ()) -> None:
        """Take the folder.

        Args:
            folder: has to exist.
            private: the server's files and folders; nothing whose path begins with one of these is handed
                out, `micromdm.lmdb.old` as little as `micromdm.lmdb`.
        """
        self._folder = folder
        self._private = tuple(str(path.resolve()) for path in private)

    def open(self, path: str) -> StoredFile:
        """See `storage.files.Files`."""
        parts = path.split("/")
        if any(not part or part.startswith(_HIDDEN) or "\0" in part for part in parts):
            raise NotFound(f"not found: File {path}")
        try:
            return self._open(self._folder.joinpath(*parts))
        except (
            OSError,
            UnicodeError,
            RuntimeError,
        ) as fault:  # too long, not ours to read, links in a circle
            raise NotFound(f"not found: File {path}") from fault

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
