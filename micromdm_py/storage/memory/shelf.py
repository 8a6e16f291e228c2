"""Named documents, in a dict."""

from collections.abc import Callable
from typing import TypeVar

from micromdm_py.storage.base import Documents
from micromdm_py.storage.memory.state import Part
from micromdm_py.storage.overlay import Overlay, missing

__all__ = ["ShelfPart"]

T = TypeVar("T")


class ShelfPart(Part):
    """Implements `storage.base.Shelf`."""

    def document(self, kind: str, name: str) -> bytes:
        """See `storage.base.Shelf`."""
        body = self._document(kind, name)
        if body is None:
            raise missing(kind, name)
        return body

    def documents(self, kind: str, *, after: str = "", limit: int | None = None) -> list[tuple[str, bytes]]:
        """See `storage.base.Shelf`."""
        with self._s.lock:
            found = [(name, body) for (its, name), body in self._s.documents.items() if its == kind]
        found.sort(key=lambda one: one[0].encode())
        return [one for one in found if one[0].encode() > after.encode("utf-8", "surrogatepass")][:limit]

    def change_documents(self, change: Callable[[Documents], T]) -> T:
        """See `storage.base.Shelf`."""
        with self._s.lock:
            overlay = Overlay(self._document, self._scan)
            result = change(overlay)
            for key, body in overlay.changes.items():
                if body is None:
                    self._s.documents.pop(key, None)
                else:
                    self._s.documents[key] = body
        return result

    def _scan(self, kind: str, prefix: str) -> list[tuple[str, bytes]]:
        return [
            (name, body)
            for (its, name), body in self._s.documents.items()
            if its == kind and name.startswith(prefix)
        ]

    def _document(self, kind: str, name: str) -> bytes | None:
        return self._s.documents.get((kind, name))
