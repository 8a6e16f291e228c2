"""The audit log."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from micromdm_py.storage.records import AuditEntry, AuditPage

__all__ = ["MAX_AUDIT_LOOKED_AT", "AuditLog"]

MAX_AUDIT_LOOKED_AT = 1000
"""Most entries read for one page: the log may go back a year."""


class AuditLog(Protocol):
    """What administrators have changed, and who."""

    def audited(self, make: Callable[[], AuditEntry]) -> AbstractContextManager[None]:
        """Keep an entry about what this thread does inside the block.

        `make` gives the entry when it is written: in the transaction of the first change, or at the end of a
        block without one. If the block raises before that, there is no entry.
        """
        ...

    def audit_entries(
        self, *, before: int | None = None, limit: int = 100, who: str | None = None
    ) -> AuditPage:
        """Entries, newest first: those below the sequence number `before`, and of the caller `who`.

        At most `MAX_AUDIT_LOOKED_AT` entries are read, so a page may hold fewer than `limit` and yet not be
        the last.
        """
        ...

    def forget_audit(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` entries older than `before`, oldest first; returns how many."""
        ...
