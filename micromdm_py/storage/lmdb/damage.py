"""Whether the store's file is complete. LMDB does not check, and reading a missing part kills the process.

Source: LMDB 0.9, ``mdb.c``, the structures of pages, nodes and meta pages (data version 1).
"""

import contextlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

import lmdb

from micromdm_py.errors import StartupError

__all__ = ["DAMAGE", "check_complete"]

DAMAGE = (lmdb.Error, struct.error, LookupError, TypeError, ValueError)
"""What reading from a store can raise if bytes of its file have changed."""

_PAGE = struct.Struct("=QHHHH")
"""Page number, padding, flags, then where node pointers and nodes end, or how many pages a value has."""
_NODE = struct.Struct("=HHHH")
_DATABASE = struct.Struct("=IHHQQQQQ")
_LARGE_PAGES = struct.Struct("=I")
_META_AT, _META_DATABASES_AT, _META_TRANSACTION_AT = 16, 40, 144
_BRANCH, _LEAF = 1, 2
_LARGE, _TABLE = 1, 2
_NOTHING = (1 << 64) - 1


def check_complete(path: Path) -> None:
    """Refuse a store whose file has been cut off.

    An empty file belongs to a store that is just being made, unless there was a lease on it.

    A file may be shorter than its number of pages says and yet complete, as pages that were freed need not
    have been written. Only then every page in use is looked for, and the file is extended to its full length.

    Args:
        path: folder of the environment.
    Raises: StartupError, lmdb.Error, OSError.
    """
    file = path / "data.mdb"
    if not file.exists():
        return
    if not file.stat().st_size:
        if any(path.glob("*.lease")):
            raise StartupError(f"opening store {path}: data.mdb is empty; restore a backup")
        return
    with contextlib.closing(lmdb.open(str(path), readonly=True, mode=0o600)) as env, env.begin() as txn:
        page_bytes = env.stat()["psize"]
        whole = (env.info()["last_pgno"] + 1) * page_bytes
        size = file.stat().st_size
        if size >= whole:
            return
        complete = False
        with file.open("rb") as data, contextlib.suppress(struct.error):
            complete = _Pages(data, page_bytes, size // page_bytes).are_there(txn.id())
    if not complete:
        raise StartupError(
            f"opening store {path}: data.mdb is cut off: {size} of {whole} bytes; restore a backup"
        )
    with file.open("r+b") as data:
        os.posix_fallocate(data.fileno(), size, whole - size)  # leaves alone what others write meanwhile


class _Pages:
    """The pages of a file that LMDB has written."""

    def __init__(self, data: BinaryIO, page_bytes: int, count: int) -> None:
        """Look at the first `count` pages, which are complete."""
        self._data, self._page_bytes, self._count = data, page_bytes, count

    def are_there(self, transaction: int) -> bool:
        """Whether the file has every page that a transaction uses or can find in the list of free pages."""
        for number in (0, 1):
            meta = self._page(number)
            if meta is not None and struct.unpack_from("=Q", meta, _META_TRANSACTION_AT)[0] == transaction:
                first = _META_DATABASES_AT
                return all(self._has_table(meta, at) for at in (first, first + _DATABASE.size))
        return False

    def _page(self, number: int) -> bytes | None:
        if number >= self._count:
            return None
        self._data.seek(number * self._page_bytes)
        return self._data.read(self._page_bytes)

    def _has_table(self, row: bytes, at: int) -> bool:
        root = _DATABASE.unpack_from(row, at)[-1]
        return root == _NOTHING or self._has_tree(root)

    def _has_tree(self, number: int) -> bool:
        page = self._page(number)
        if page is None or len(page) < self._page_bytes:
            return False
        own_number, _, flags, lower, _ = _PAGE.unpack_from(page)
        if own_number != number or not flags & (_BRANCH | _LEAF):
            return False
        places = struct.unpack_from(f"={(lower - _PAGE.size) // 2}H", page, _PAGE.size)
        if flags & _BRANCH:
            return all(self._has_tree(_child(page, at)) for at in places)
        return all(self._has_value(page, at) for at in places)

    def _has_value(self, page: bytes, at: int) -> bool:
        _, _, flags, key_bytes = _NODE.unpack_from(page, at)
        value_at = at + _NODE.size + key_bytes
        if flags & _TABLE:
            return self._has_table(page, value_at)
        if not flags & _LARGE:
            return True
        number: int = struct.unpack_from("=Q", page, value_at)[0]
        first = self._page(number)
        return first is not None and number + _LARGE_PAGES.unpack_from(first, 12)[0] <= self._count


def _child(page: bytes, at: int) -> int:
    low, middle, high, _ = _NODE.unpack_from(page, at)
    return int(low | middle << 16 | high << 32)
