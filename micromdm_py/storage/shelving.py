"""Named documents and the audit log as the services see them; the rules of `storage.base` hold here too."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from micromdm_py.storage.records import AuditEntry

__all__ = ["MAX_AUDIT_LOOKED_AT", "AuditLog", "AuditPage", "Documents", "Shelf"]

MAX_AUDIT_LOOKED_AT = 1000
"""Entries of the audit log looked at for one page at most: it may go back a year."""

T = TypeVar("T")


class Documents(Protocol):
    """The documents of a shelf inside one change: what was put or removed before is seen."""

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


class Shelf(Protocol):
    """Named documents, as administrators and syncs put them: profiles, blueprints, users, tokens.

    A `kind` is a short lower-case word of the program's own (each service documents its kinds); a name is
    1 to 400 bytes of UTF-8. Bodies are the business of the services.
    """

    def document(self, kind: str, name: str) -> bytes:
        """One document. Raises: NotFound."""
        ...

    def documents(self, kind: str, *, after: str = "", limit: int | None = None) -> list[tuple[str, bytes]]:
        """(name, body) of a kind in the order of the names' bytes, from the first after `after`."""
        ...

    def change_documents(self, change: Callable[[Documents], T]) -> T:
        """Read and write documents in one transaction; returns what `change` returns.

        `change` should be quick, as others wait for it, and may not call the store. It may be called again
        when a batch is repeated. When it raises, nothing has changed. Raises: what `change` raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A part of the audit log.

    Attributes:
        entries: newest first.
        next: number that the next page begins below, 0 when there is none.
    """

    entries: list[AuditEntry]
    next: int = 0


class AuditLog(Protocol):
    """What administrators' programs have written."""

    def audited(self, make: Callable[[], AuditEntry]) -> AbstractContextManager[None]:
        """Keep an entry for what this thread does inside.

        It is written in the transaction of the first change made there, or at the end of the block when
        nothing was changed; not when the block raises before that. `make` is called when it is written.
        """
        ...

    def audit_entries(
        self, *, before: int | None = None, limit: int = 100, who: str | None = None
    ) -> AuditPage:
        """Entries from the newest on, those below a sequence number, of one caller if `who` is given.

        At most `MAX_AUDIT_LOOKED_AT` entries are looked at, so a page may hold fewer than `limit` and not be
        the last.
        """
        ...

    def forget_audit(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` entries older than `before`, oldest first; returns how many."""
        ...
