"""Files on disk as the layers above see them."""

from dataclasses import dataclass
from io import FileIO
from typing import Protocol

__all__ = ["Files", "StoredFile"]


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


class Files(Protocol):
    """The file repository: what devices fetch without credentials."""

    def open(self, path: str) -> StoredFile:
        """Open a file.

        Args:
            path: relative to the folder, segments divided by slashes.
        Raises: NotFound, also for everything that is no file or must not be read.
        """
