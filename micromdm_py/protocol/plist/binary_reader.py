"""Reading binary property lists (`bplist00`).

Objects refer to each other by number, so a small file can describe an endless or enormous tree: objects may
contain themselves, be used many times, or overlap. Reading is therefore limited in depth, in the number of
values (each reference takes at least a byte) and in the bytes of all strings and data (the size of the file).
"""

import struct
from datetime import datetime, timedelta

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.plist.limits import (
    DISTINCT_LEVELS,
    HIGHEST_INTEGER,
    LOWEST_INTEGER,
    MAX_DEPTH,
    MAX_NODES,
    Value,
)

__all__ = ["MAGIC", "read_binary"]

MAGIC = b"bplist00"

_TRAILER = struct.Struct(">6xBBQQQ")
_EPOCH = datetime(2001, 1, 1)
_SPARE_NODES = 1024  # for the rare writer that stores equal containers as one object


def read_binary(data: bytes, *, distinct: bool = False) -> Value:
    """Read a document that begins with `MAGIC`; `distinct` as in `loads`.

    Raises: MalformedRequest.
    """
    try:
        return _Reader(data, distinct).top()
    except (ValueError, OverflowError, struct.error) as fault:
        raise MalformedRequest(f"not a property list: {fault}") from None


class _Reader:
    """Reads one document; reports errors as ValueError."""

    def __init__(self, data: bytes, distinct: bool) -> None:
        self._distinct = distinct
        if len(data) < len(MAGIC) + _TRAILER.size:
            raise ValueError("it is incomplete")
        self._data = data
        found = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
        self._offset_size, self._ref_size, self._count, self._top, self._table = found
        if not (1 <= self._offset_size <= 8 and 1 <= self._ref_size <= 8):
            raise ValueError("its trailer is wrong")
        if self._table + self._count * self._offset_size > len(data) - _TRAILER.size:
            raise ValueError("its offset table is incomplete")
        self._nodes = min(MAX_NODES, len(data) + _SPARE_NODES)
        self._bytes = len(data)
        self._scalars: dict[int, Value] = {}

    def top(self) -> Value:
        return self._object(self._top, 1)

    def _object(self, number: int, depth: int) -> Value:
        self._nodes -= 1
        if self._nodes < 0 or depth > MAX_DEPTH + 1:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} or repeats itself")
        if number >= self._count:
            raise ValueError("a reference to an object that does not exist")
        entry = self._table + number * self._offset_size
        at = int.from_bytes(self._data[entry : entry + self._offset_size], "big")
        if at in self._scalars:
            return self._scalars[at]
        if at >= self._table:
            raise ValueError("an object outside the object table")
        kind, low = self._data[at] >> 4, self._data[at] & 0x0F
        if kind in (0xA, 0xD):
            if depth > MAX_DEPTH:
                raise ValueError(f"it is nested deeper than {MAX_DEPTH} or repeats itself")
            size, at = self._size(low, at + 1)
            return self._array(at, size, depth) if kind == 0xA else self._dictionary(at, size, depth)
        value = self._scalars[at] = self._scalar(kind, low, at + 1)
        return value

    def _array(self, at: int, size: int, depth: int) -> list[Value]:
        return [self._object(number, depth + 1) for number in self._references(at, size)]

    def _dictionary(self, at: int, size: int, depth: int) -> dict[str, Value]:
        numbers = self._references(at, 2 * size)
        found: dict[str, Value] = {}
        for key, value in zip(numbers[:size], numbers[size:], strict=True):
            name = self._object(key, depth + 1)
            if not isinstance(name, str):
                raise ValueError("a key that is not a string")
            if self._distinct and name in found and depth <= DISTINCT_LEVELS:
                raise ValueError("a key that occurs twice")
            found[name] = self._object(value, depth + 1)
        return found

    def _references(self, at: int, count: int) -> list[int]:
        if count > self._nodes:
            raise ValueError("more values than the file has room for")
        width = self._ref_size
        raw = self._take(at, count * width)
        return [int.from_bytes(raw[i : i + width], "big") for i in range(0, len(raw), width)]

    def _scalar(self, kind: int, low: int, at: int) -> Value:
        if kind == 0x0 and low in (0x8, 0x9):
            return low == 0x9
        if kind == 0x1:
            return self._integer(low, at)
        if kind == 0x2 and low in (2, 3):
            return struct.unpack(">f" if low == 2 else ">d", self._take(at, 1 << low))[0]
        if (kind, low) == (0x3, 3):
            return _EPOCH + timedelta(seconds=struct.unpack(">d", self._take(at, 8))[0])
        if kind in (0x4, 0x5, 0x6):
            size, at = self._size(low, at)
            raw = self._take(at, size * 2 if kind == 0x6 else size)
            self._bytes -= len(raw)
            if self._bytes < 0:
                raise ValueError("its objects overlap")
            return raw if kind == 0x4 else raw.decode("ascii" if kind == 0x5 else "utf-16be")
        raise ValueError("an object of unknown type")

    def _integer(self, low: int, at: int) -> int:
        if low > 4:
            raise ValueError("integer beyond 64 bits")
        value = int.from_bytes(self._take(at, 1 << low), "big", signed=low >= 3)
        if not LOWEST_INTEGER <= value <= HIGHEST_INTEGER:
            raise ValueError("integer beyond 64 bits")
        return value

    def _size(self, low: int, at: int) -> tuple[int, int]:
        """The size of an object, and where its content begins; a large size is an integer of its own."""
        if low != 0xF:
            return low, at
        marker = self._take(at, 1)[0]
        if marker >> 4 != 0x1 or marker & 0x0F > 3:
            raise ValueError("an object of unknown size")
        width = 1 << (marker & 0x0F)
        return int.from_bytes(self._take(at + 1, width), "big"), at + 1 + width

    def _take(self, at: int, size: int) -> bytes:
        raw = self._data[at : at + size]
        if len(raw) != size:
            raise ValueError("it is incomplete")
        return raw
