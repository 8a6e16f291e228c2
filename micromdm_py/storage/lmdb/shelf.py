"""Named documents: one table, keys that sort by kind and name."""

from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from micromdm_py.storage.base import Documents
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.overlay import MAX_NAME_BYTES, Overlay, missing

__all__ = ["ShelfPart"]

T = TypeVar("T")


class ShelfPart(Part):
    """Implements `storage.base.Shelf`."""

    def document(self, kind: str, name: str) -> bytes:
        """See `storage.base.Shelf`."""
        with self._env.read() as txn:
            body = self._document(txn, kind, name)
        if body is None:
            raise missing(kind, name)
        return body

    def documents(self, kind: str, *, after: str = "", limit: int | None = None) -> list[tuple[str, bytes]]:
        """See `storage.base.Shelf`."""
        begin = after.encode("utf-8", "surrogatepass")[:MAX_NAME_BYTES]
        with self._env.read() as txn:
            # `after` and a zero byte is the first name that may follow it.
            return self._range(txn, kind, b"", begin + b"\0" if begin else b"", limit)

    def _range(
        self, txn: Txn, kind: str, prefix: bytes, begin: bytes = b"", limit: int | None = None
    ) -> list[tuple[str, bytes]]:
        """Documents whose names begin with `prefix`, from `begin` on."""
        head = kind.encode() + b"\0"
        found = rows(txn, self._t.shelf, head + prefix, head + begin)
        return [(key[len(head) :].decode(), body) for key, body in islice(found, limit)]

    def change_documents(self, change: Callable[[Documents], T]) -> T:
        """See `storage.base.Shelf`."""

        def operation(txn: Txn) -> T:
            overlay = Overlay(
                lambda kind, name: self._document(txn, kind, name),
                lambda kind, prefix: self._range(txn, kind, prefix.encode("utf-8", "surrogatepass")),
            )
            result = change(overlay)
            for (kind, name), body in overlay.changes.items():
                if body is None:
                    txn.delete(_key(kind, name), db=self._t.shelf)
                else:
                    self._put_document(txn, kind, name, body)
            return result

        return self._env.write(operation)

    def _put_document(self, txn: Txn, kind: str, name: str, body: bytes) -> None:
        txn.put(_key(kind, name), body, db=self._t.shelf)

    def _document(self, txn: Txn, kind: str, name: str) -> bytes | None:
        raw = name.encode("utf-8", "surrogatepass")
        if not raw or len(raw) > MAX_NAME_BYTES:
            return None
        return txn.get(_key(kind, name), db=self._t.shelf)


def _key(kind: str, name: str) -> bytes:
    return kind.encode() + b"\0" + name.encode("utf-8", "surrogatepass")
