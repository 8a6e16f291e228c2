"""Writing a bbolt database from rows in order, for the way back to MicroMDM.

Pages are filled from the front and written once; the branches above them follow, then the meta pages. The
file is what bbolt itself could have written after one transaction: no free pages, small buckets inline.

Source: bbolt's node.go and db.go (format version 2).
"""

import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.bolt import (
    BRANCH,
    BUCKET,
    ELEMENT_BYTES,
    FREELIST,
    LEAF,
    MAGIC,
    META,
    PAGE_HEADER,
    VERSION,
    Meta,
)

__all__ = ["BoltWriter"]

MAX_KEY_BYTES, MAX_VALUE_BYTES = 32768, (1 << 31) - 2
_FIRST_FREE = 3
"""Behind the two meta pages and the list of free pages, which is empty."""
_LEAF_ELEMENT = struct.Struct("<IIII")
_BRANCH_ELEMENT = struct.Struct("<IIQ")
_BUCKET = struct.Struct("<QQ")

Row = tuple[bytes, bytes]


class BoltWriter:
    """One new database."""

    def __init__(self, file: BinaryIO, page_size: int = 4096) -> None:
        """Write into an empty file that can seek."""
        self._file, self._page_size = file, page_size
        self._next = _FIRST_FREE
        self._buckets: dict[bytes, bytes] = {}
        file.seek(_FIRST_FREE * page_size)

    def bucket(self, name: bytes, rows: Iterable[Row]) -> int:
        """Write a bucket; returns how many rows it has.

        Args:
            name: not one of an earlier bucket.
            rows: (key, value) in the order of the keys, each key once and not empty.
        Raises: BadDatabase for rows that such a file cannot hold.
        """
        count = 0
        leaves: list[tuple[bytes, int]] = []
        page: list[Row] = []
        size, last = PAGE_HEADER.size, b""
        for key, value in rows:
            if not last < key or len(key) > MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
                raise BadDatabase(f"bucket {name!r} cannot hold the key {key[:64]!r} here")
            needs = ELEMENT_BYTES + len(key) + len(value)
            if page and size + needs > self._page_size:
                leaves.append((page[0][0], self._write(_leaf(page), LEAF, len(page))))
                page, size = [], PAGE_HEADER.size
            page.append((key, value))
            size, last, count = size + needs, key, count + 1
        if not leaves and size <= self._page_size // 4:
            inline = PAGE_HEADER.pack(0, LEAF, len(page), 0) + _leaf(page)
            self._buckets[name] = _BUCKET.pack(0, 0) + inline
        else:
            leaves.append((page[0][0], self._write(_leaf(page), LEAF, len(page))))
            self._buckets[name] = _BUCKET.pack(self._root(leaves), 0)
        return count

    def finish(self) -> None:
        """Write the tree of the buckets and the meta pages; the file is complete then."""
        rows, leaves = sorted(self._buckets.items()), []
        for part in _parts([(key, len(key) + len(value)) for key, value in rows], self._page_size):
            page, rows = rows[: len(part)], rows[len(part) :]
            first = page[0][0] if page else b""
            leaves.append((first, self._write(_leaf(page, BUCKET), LEAF, len(page))))
        root = self._root(leaves)
        self._file.seek(0)
        for number in (0, 1):
            meta = Meta(MAGIC, VERSION, self._page_size, 0, root, 0, 2, self._next, number)
            self._put(number, META, 0, meta.encode())
        self._put(2, FREELIST, 0, b"")
        self._file.flush()

    def _root(self, children: list[tuple[bytes, int]]) -> int:
        """Put branches above pages until one page is above all; returns that page."""
        while len(children) > 1:
            above = []
            at = 0
            for part in _parts([(key, len(key)) for key, _ in children], self._page_size, least=2):
                page, at = children[at : at + len(part)], at + len(part)
                above.append((page[0][0], self._write(_branch(page), BRANCH, len(page))))
            children = above
        return children[0][1]

    def _write(self, body: bytes, flags: int, count: int) -> int:
        """Append a page, of several page sizes if need be; returns its number."""
        number = self._next
        self._next += self._put(number, flags, count, body)
        return number

    def _put(self, number: int, flags: int, count: int, body: bytes) -> int:
        pages = -(-(PAGE_HEADER.size + len(body)) // self._page_size)
        page = PAGE_HEADER.pack(number, flags, count, pages - 1) + body
        self._file.write(page.ljust(pages * self._page_size, b"\0"))
        return pages


def _parts(sizes: list[tuple[bytes, int]], page_size: int, least: int = 1) -> list[list[tuple[bytes, int]]]:
    """Divide entries into pages in their order, each with at least `least` (bbolt wants two in a branch)."""
    parts: list[list[tuple[bytes, int]]] = [[]]
    filled = PAGE_HEADER.size
    for entry in sizes:
        needs = ELEMENT_BYTES + entry[1]
        if len(parts[-1]) >= least and filled + needs > page_size:
            parts.append([])
            filled = PAGE_HEADER.size
        parts[-1].append(entry)
        filled += needs
    if len(parts) > 1 and len(parts[-1]) < least:
        parts[-2].extend(parts.pop())
    return parts


def _leaf(rows: Sequence[Row], flags: int = 0) -> bytes:
    """Elements, then keys and values; a position counts from its own element."""
    head, data = bytearray(), bytearray()
    for at, (key, value) in enumerate(rows):
        position = (len(rows) - at) * ELEMENT_BYTES + len(data)
        head += _LEAF_ELEMENT.pack(flags, position, len(key), len(value))
        data += key + value
    return bytes(head + data)


def _branch(children: Sequence[tuple[bytes, int]]) -> bytes:
    head, data = bytearray(), bytearray()
    for at, (key, number) in enumerate(children):
        position = (len(children) - at) * ELEMENT_BYTES + len(data)
        head += _BRANCH_ELEMENT.pack(position, len(key), number)
        data += key
    return bytes(head + data)
