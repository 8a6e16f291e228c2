"""The audit log."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from micromdm_py.storage.records import AuditEntry, AuditPage

__all__ = ["MAX_AUDIT_LOOKED_AT", "AuditLog"]

MAX_AUDIT_LOOKED_AT = 1000
"""Entries of the audit log looked at for one page at most: it may go back a year."""


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
