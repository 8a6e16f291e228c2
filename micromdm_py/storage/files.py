"""Files on disk as the layers above see them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

__all__ = ["Draft", "Files", "StoredFile"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is open for reading; whoever has it closes it.

    Attributes:
        file: at the beginning.
        size: bytes.
        changed_ns: time of its last change, nanoseconds since 1970.
    """

    file: FileIO
    size: int
    changed_ns: int


class Draft(Protocol):
    """A file that is being written and that nobody can fetch yet."""

    @property
    def file(self) -> FileIO:
        """The file, open for reading too."""

    def write(self, data: bytes) -> None:
        """Write on. Raises: StorageUnavailable."""


class Files(Protocol):
    """The file repository: what devices fetch without credentials."""

    def open(self, path: str) -> StoredFile:
        """Open a file.

        Args:
            path: relative to the folder, segments divided by slashes.
        Raises: NotFound, also for everything that is no file or must not be read.
        """

    def names(self, ending: str) -> list[str]:
        """Names of the files in the folder itself that end so, sorted. Raises: StorageUnavailable."""

    def draft(self) -> AbstractContextManager[Draft]:
        """A new file, which is gone at the end of the block, or with the process, unless it was kept.

        Raises: StorageUnavailable.
        """

    def keep(self, drafts: Sequence[tuple[str, Draft]]) -> None:
        """Put drafts in their places, one after the other; on disk when this returns.

        Args:
            drafts: name in the folder, in which it replaces a file that is there, and draft.
        Raises: Conflict when a name cannot be had; StorageUnavailable.
        """
