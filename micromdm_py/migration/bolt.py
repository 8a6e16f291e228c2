"""Reading a bbolt database, the file MicroMDM keeps everything in.

A file is a row of pages. Two meta pages name the root of a tree of buckets; a bucket is a tree of its own, or
lies inline in the row that names it. Only what the newer sound meta page leads to is read: freed pages hold
old data. Nothing in the file is trusted: every page is read at most once, and must be the page asked for.

Source: bbolt's page.go, bucket.go and db.go (format version 2, little-endian).
"""

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from micromdm_py.errors import BadDatabase

__all__ = [
    "BRANCH",
    "BUCKET",
    "ELEMENT_BYTES",
    "FREELIST",
    "LEAF",
    "MAGIC",
    "META",
    "PAGE_HEADER",
    "VERSION",
    "BoltFile",
    "Bucket",
    "Element",
    "Meta",
    "fnv1a",
]

MAGIC, VERSION = 0xED0CDAED, 2
BRANCH, LEAF, META, FREELIST = 1, 2, 4, 16
"""Flags of pages."""
BUCKET = 1
"""Flag of a leaf element whose value is a bucket."""
PAGE_SIZES = tuple(1 << power for power in range(9, 17))
ELEMENT_BYTES = 16

PAGE_HEADER = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct("<IIIIQQQQQ")
_CHECKSUM = struct.Struct("<Q")
_ELEMENT = struct.Struct("<IIII")  # leaf: flags, position, key size, value size
_BRANCH_PAGE = struct.Struct("<Q")
_BUCKET = struct.Struct("<QQ")  # root page, sequence


def fnv1a(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


class Meta(NamedTuple):
    """A meta page; see `BoltFile`."""

    magic: int
    version: int
    page_size: int
    flags: int
    root: int
    sequence: int
    freelist: int
    high_water: int
    txid: int

    @classmethod
    def decode(cls, page: bytes) -> "Meta | None":
        """Read a meta page from its first bytes; None when it is none or damaged."""
        start, end = PAGE_HEADER.size, PAGE_HEADER.size + _META.size
        if len(page) < end + _CHECKSUM.size:
            return None
        found = cls(*_META.unpack_from(page, start))
        sound = found.magic == MAGIC and found.version == VERSION and found.page_size in PAGE_SIZES
        return found if sound and _CHECKSUM.unpack_from(page, end)[0] == fnv1a(page[start:end]) else None

    def encode(self) -> bytes:
        """The bytes behind the page header, with their checksum."""
        body = _META.pack(*self)
        return body + _CHECKSUM.pack(fnv1a(body))


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is.

    Attributes:
        root: page of its tree, 0 for an inline bucket.
        inline: the leaf page of an inline bucket.
    """

    root: int
    inline: bytes = b""


class Element(NamedTuple):
    """A row of a bucket: the value is bytes, or a bucket."""

    key: bytes
    value: "bytes | Bucket"


class BoltFile:
    """An open database, for reading.

    The file is read with pread and not mapped, as a file that is cut off while it is mapped ends the process.

    Attributes:
        page_size: bytes of a page.
        note: what had to be made up for ("" normally): a damaged meta page means the state before the last
            transaction.
    """

    def __init__(self, path: Path) -> None:
        """Open a database and take the lock that readers share with each other, not with a running server.

        Raises: BadDatabase when it cannot be read, is no bbolt database, or is in use.
        """
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as fault:
            raise BadDatabase(f"open {path}: {_reason(fault)}") from fault
        try:
            self._size = self._lock()
            self._meta, self.note = self._choose_meta()
            self.page_size = self._meta.page_size
            if self._meta.high_water * self.page_size > self._size:
                raise self._bad(
                    f"is cut off: {self._size} bytes of {self._meta.high_water * self.page_size} are there"
                )
            self._seen = bytearray(self._meta.high_water)
            self._pages_read = 0
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> "BoltFile":
        """The database itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file, which gives up its lock."""
        os.close(self._file)

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """The buckets at the top, in the order of their names; once for each open file.

        Raises: BadDatabase, as does every method that reads.
        """
        for key, value in self.rows(Bucket(self._meta.root)):
            if not isinstance(value, Bucket):
                raise self._bad("has a value where only buckets may be")
            yield key, value

    def rows(self, bucket: Bucket) -> Iterator[Element]:
        """The rows of a bucket in the order of their keys; once for each bucket and open file."""
        if bucket.inline:
            yield from self._leaf(bucket.inline, "inline bucket")
            return
        waiting, last = [bucket.root], None
        while waiting:
            number = waiting.pop()
            page, kind = self._page(number)
            if kind == BRANCH:
                waiting.extend(reversed(self._children(page, f"page {number}")))
                continue
            for element in self._leaf(page, f"page {number}"):
                if last is not None and element.key <= last:
                    raise self._bad(f"has keys out of order in page {number}")
                last = element.key
                yield element

    @property
    def pages(self) -> tuple[int, int]:
        """How many pages have been read, and how many there are, more or less."""
        return self._pages_read, self._meta.high_water

    # --- opening ---

    def _lock(self) -> int:
        """Take the shared lock; returns the size of the file."""
        about = os.fstat(self._file)
        if not stat.S_ISREG(about.st_mode):
            raise self._bad("is not a file")
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise self._bad(
                "is in use by a running server: stop that server, or import from its URL "
                "(-from https://… -api-key …), which takes a copy from /boltbackup"
            ) from fault
        except OSError as fault:
            raise self._bad(f"cannot be locked: {_reason(fault)}") from fault
        return about.st_size

    def _choose_meta(self) -> tuple[Meta, str]:
        """The newer sound meta page and, when the other one is damaged, a line about it."""
        first = Meta.decode(self._read(0, 128))
        sizes = [first.page_size] if first else list(PAGE_SIZES)
        second = None
        for size in sizes:
            found = Meta.decode(self._read(size, 128))
            if found and found.page_size == size and (second is None or found.txid > second.txid):
                second = found
        if first and second:
            return max(first, second, key=lambda meta: meta.txid), ""
        chosen = first or second
        if chosen is None:
            raise self._bad("is empty" if not self._size else "is not a bbolt database, or is damaged")
        which = "second" if first else "first"
        return chosen, f"the {which} meta page is damaged: the last transaction may be missing"

    # --- pages ---

    def _bad(self, what: str) -> BadDatabase:
        return BadDatabase(f"{self._path} {what}")

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError as fault:
            raise self._bad(f"cannot be read: {_reason(fault)}") from fault

    def _page(self, number: int) -> tuple[bytes, int]:
        """A page with what hangs over into the pages behind it, and whether it is a branch or a leaf."""
        meta = self._meta
        if not 2 <= number < meta.high_water:
            raise self._bad(f"names page {number}, which does not exist")
        page = self._read(number * meta.page_size, meta.page_size)
        if len(page) < meta.page_size:
            raise self._bad(f"is cut off at page {number}")
        found, flags, _, overflow = PAGE_HEADER.unpack_from(page)
        if found != number or flags not in (BRANCH, LEAF):
            raise self._bad(f"is damaged: page {number} is not what it should be")
        end = number + 1 + overflow
        if end > meta.high_water:
            raise self._bad(f"is damaged: page {number} reaches beyond the end")
        if any(self._seen[number:end]):
            raise self._bad(f"is damaged: page {number} is used twice")
        self._seen[number:end] = b"\1" * (end - number)
        self._pages_read += end - number
        if overflow:
            page += self._read((number + 1) * meta.page_size, overflow * meta.page_size)
            if len(page) < (1 + overflow) * meta.page_size:
                raise self._bad(f"is cut off at page {number}")
        return page, flags

    def _children(self, page: bytes, name: str) -> list[int]:
        count = PAGE_HEADER.unpack_from(page)[2]
        if PAGE_HEADER.size + count * ELEMENT_BYTES > len(page):
            raise self._bad(f"is damaged: {name} has more entries than room")
        first = PAGE_HEADER.size + 8  # an element is position, key size, page
        return [_BRANCH_PAGE.unpack_from(page, first + at * ELEMENT_BYTES)[0] for at in range(count)]

    def _leaf(self, page: bytes, name: str) -> Iterator[Element]:
        _, _, count, _ = PAGE_HEADER.unpack_from(page)
        room = len(page) - PAGE_HEADER.size - count * ELEMENT_BYTES
        for at in range(PAGE_HEADER.size, PAGE_HEADER.size + count * ELEMENT_BYTES, ELEMENT_BYTES):
            if room < 0:
                break
            flags, position, key_bytes, value_bytes = _ELEMENT.unpack_from(page, at)
            start, middle = at + position, at + position + key_bytes
            end = middle + value_bytes
            room -= end - start  # the rows together, so that many cannot claim the same bytes
            if end > len(page) or room < 0:
                break
            key, value = page[start:middle], page[middle:end]
            yield Element(key, self._bucket(value, name) if flags & BUCKET else value)
        else:
            if room >= 0:
                return
        raise self._bad(f"is damaged: {name} has more entries than room")

    def _bucket(self, value: bytes, name: str) -> Bucket:
        """The bucket a value describes."""
        if len(value) < _BUCKET.size:
            raise self._bad(f"is damaged: {name} names a bucket in too few bytes")
        root, _ = _BUCKET.unpack_from(value)
        inline = value[_BUCKET.size :]
        if root:
            return Bucket(root)
        if len(inline) < PAGE_HEADER.size or PAGE_HEADER.unpack_from(inline)[1] != LEAF:
            raise self._bad(f"is damaged: {name} has an inline bucket that is not a leaf")
        return Bucket(0, inline)


def _reason(fault: OSError | ValueError) -> str:
    return (getattr(fault, "strerror", None) or str(fault)).lower()
