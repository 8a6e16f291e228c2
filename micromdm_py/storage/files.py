"""The file repository as the services see it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

__all__ = ["Draft", "Files", "StoredFile"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is open for reading; whoever gets it has to close it.

    Attributes:
        file: the open file, at its beginning.
        size: bytes.
        changed_ns: time of its last change, nanoseconds since 1970.
    """

    file: FileIO
    size: int
    changed_ns: int


class Draft(Protocol):
    """A file that is being written, and that nobody can fetch yet."""

    @property
    def file(self) -> FileIO:
        """The file, open for reading and writing."""

    def write(self, data: bytes) -> None:
        """Append bytes. Raises: StorageUnavailable."""


class Files(Protocol):
    """The file repository: what devices fetch without credentials."""

    def open(self, path: str) -> StoredFile:
        """Open a file.

        Args:
            path: relative to the folder, segments divided by slashes.
        Raises: NotFound, also for anything that is not a regular file or may not be read.
        """

    def names(self, ending: str) -> list[str]:
        """Names of files in the folder itself that end with a text, sorted. Raises: StorageUnavailable."""

    def draft(self) -> AbstractContextManager[Draft]:
        """A new file, which is gone at the end of the block or of the process unless it was kept.

        Raises: StorageUnavailable.
        """

    def keep(self, drafts: Sequence[tuple[str, Draft]]) -> None:
        """Move drafts to their places, one after the other; they are on disk when this returns.

        Args:
            drafts: name in the folder, and draft. A file of that name is replaced.
        Raises: Conflict for a name that cannot be used; StorageUnavailable.
        """
