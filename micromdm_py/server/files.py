"""Files as answers: the leading thread sends a piece whenever the client takes more, so none is tied up."""

from collections.abc import Iterator
from typing import Protocol

__all__ = ["FileAnswer"]

_PIECE_BYTES = 1 << 18


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, b"" at the end."""

    def close(self) -> None:
        """Close the file."""


class FileAnswer:
    """``wsgi.file_wrapper`` (PEP 3333): a file that is the body of an answer, from its current position.

    The exchange hands it to the connection, which reads it piece by piece; iterating yields the same pieces.
    """

    def __init__(self, file: _Readable, _block_bytes: int = 0) -> None:
        """Take the file, positioned where the body begins."""
        self._file = file

    def read(self, most_bytes: int) -> bytes:
        """Read the next piece, b"" at the end."""
        return self._file.read(min(most_bytes, _PIECE_BYTES))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces."""
        while piece := self.read(_PIECE_BYTES):
            yield piece
