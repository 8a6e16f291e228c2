"""Transactions, cursors and tables: what the store uses of the lmdb package, with types."""

from collections.abc import Iterator
from typing import Any, Protocol

import lmdb

from micromdm_py.storage.lmdb.tables import TABLES

__all__ = ["Cursor", "Table", "Tables", "Txn", "rows"]

Table = Any
"""Handle of a table; the binding keeps its type private."""


class Cursor(Protocol):
    """What we use of a cursor."""

    def set_range(self, key: bytes) -> bool:
        """Go to the first key at or after this one; false when there is none."""
        ...

    def first(self) -> bool:
        """Go to the first key; false when there is none."""
        ...

    def last(self) -> bool:
        """Go to the last key; false when there is none."""
        ...

    def next(self) -> bool:
        """Go to the next key; false at the end."""
        ...

    def prev(self) -> bool:
        """Go to the key before; false at the beginning."""
        ...

    def key(self) -> bytes:
        """The key here."""
        ...

    def value(self) -> bytes:
        """The value here."""
        ...


class Txn(Protocol):
    """What we use of a transaction, with the types it has when buffers are off."""

    def get(self, key: bytes, *, db: Table) -> bytes | None:
        """The value of a key, None when there is none."""
        ...

    def put(
        self, key: bytes, value: bytes, *, overwrite: bool = True, append: bool = False, db: Table
    ) -> bool:
        """Write a value; false when it was there and may not be overwritten."""
        ...

    def delete(self, key: bytes, *, db: Table) -> bool:
        """Delete a key; false when there is none."""
        ...

    def cursor(self, db: Table) -> Cursor:
        """A new cursor."""
        ...

    def stat(self, db: Table) -> dict[str, int]:
        """Figures of a table, `entries` among them."""
        ...


class Tables:
    """Handles of all tables, one attribute each."""

    def __init__(self, env: lmdb.Environment) -> None:
        """Open (and on first use make) every table."""
        self._handles = {name: env.open_db(name.encode()) for name in TABLES}

    def __getattr__(self, name: str) -> Table:
        """The handle of a table; kept as an attribute, so that it is looked up once."""
        handle = self.__dict__.get("_handles", {}).get(name)
        if handle is None:
            raise AttributeError(name)
        setattr(self, name, handle)
        return handle


def rows(txn: Txn, table: Table, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table in the order of the keys.

    Nothing may be written to the table before the iteration has ended.

    Args:
        txn: the transaction to read in.
        table: the table.
        prefix: how the keys have to begin.
        start: the first key to look at; not before the first one with the prefix.
    """
    cursor = txn.cursor(table)
    begin = max(prefix, start)
    more = cursor.set_range(begin) if begin else cursor.first()
    while more and (key := cursor.key()).startswith(prefix):
        yield key, cursor.value()
        more = cursor.next()
