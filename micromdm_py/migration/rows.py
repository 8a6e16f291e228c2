"""Rows of a database that is being made, on their way to their buckets."""

from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["Rows"]


class Rows:
    """Rows by bucket and key. Values wait in a file, as they may be more than fits in memory."""

    def __init__(self, spool: BinaryIO) -> None:
        """Use an empty file that can seek."""
        self._spool = spool
        self._at: dict[str, dict[bytes, tuple[int, int]]] = {}

    @property
    def buckets(self) -> set[str]:
        """Names of the buckets that have a row."""
        return set(self._at)

    def has(self, bucket: str, key: str) -> bool:
        """Whether there is such a row."""
        return key.encode() in self._at.get(bucket, {})

    def put(self, bucket: str, key: str | bytes, value: bytes) -> None:
        """Add a row, in place of the one with the same key; not once `of` has been used."""
        raw = key if isinstance(key, bytes) else key.encode()
        self._at.setdefault(bucket, {})[raw] = self._spool.tell(), len(value)
        self._spool.write(value)

    def of(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a bucket in the order of their keys."""
        for key, (at, size) in sorted(self._at.get(bucket, {}).items()):
            self._spool.seek(at)
            yield key, self._spool.read(size)
