"""Files as answers: sent by the thread that leads whenever the client takes more, held by no thread."""

from collections.abc import Iterator
from typing import Protocol

__all__ = ["FileAnswer"]

_PIECE_BYTES = 1 << 18


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""

    def close(self) -> None:
        """Let the file go."""


class FileAnswer:
    """``wsgi.file_wrapper`` (PEP 3333): a file whose rest is the body of an answer.

    The exchange hands it over to the connection, which reads it piece by piece; whoever iterates over it
    instead gets the same pieces.
    """

    def __init__(self, file: _Readable, _block_bytes: int = 0) -> None:
        """Take the file, at the position where the body begins."""
        self._file = file

    def read(self, most_bytes: int) -> bytes:
        """Read the next piece, none at the end."""
        return self._file.read(min(most_bytes, _PIECE_BYTES))

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces."""
        while piece := self.read(_PIECE_BYTES):
            yield piece
