"""Named documents."""

from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["Documents", "Shelf"]

T = TypeVar("T")


class Documents(Protocol):
    """The documents of a shelf inside one change, which sees what it has put and removed so far."""

    def get(self, kind: str, name: str) -> bytes | None:
        """A document, None when there is none."""
        ...

    def scan(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """(name, body) of a kind whose names begin with a text, in the order of the names' bytes."""
        ...

    def put(self, kind: str, name: str, body: bytes) -> None:
        """Keep a document, replacing the one of that name. Raises: MalformedField for the name."""
        ...

    def remove(self, kind: str, name: str) -> None:
        """Delete a document. Raises: NotFound."""
        ...

    def discard(self, kind: str, name: str) -> None:
        """Delete a document if there is one."""
        ...


class Shelf(Protocol):
    """Named documents: profiles, blueprints, users, tokens, devices known from Apple.

    A `kind` is a short lower-case word chosen by the program; each service documents its own. A name has 1 to
    400 bytes of UTF-8. What is in a body concerns the services alone.
    """

    def document(self, kind: str, name: str) -> bytes:
        """One document. Raises: NotFound."""
        ...

    def documents(self, kind: str, *, after: str = "", limit: int | None = None) -> list[tuple[str, bytes]]:
        """(name, body) of a kind in the order of the names' bytes, those after the name `after`."""
        ...

    def change_documents(self, change: Callable[[Documents], T]) -> T:
        """Read and write documents in one transaction; returns what `change` returns.

        `change` should be quick, as others wait for it. Raises: what `change` raises.
        """
        ...
