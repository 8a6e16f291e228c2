"""The audit log, in a list."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from micromdm_py.storage.base.audit import MAX_AUDIT_LOOKED_AT
from micromdm_py.storage.memory.state import Part
from micromdm_py.storage.records import AuditEntry, AuditPage

__all__ = ["AuditPart"]


class AuditPart(Part):
    """Implements `storage.base.AuditLog`."""

    @contextlib.contextmanager
    def audited(self, make: Callable[[], AuditEntry]) -> Iterator[None]:
        """See `storage.base.AuditLog`; the entry is always written at the end."""
        yield
        with self._s.lock:
            self._s.audit_sequence += 1
            self._s.audit.append(replace(make(), sequence=self._s.audit_sequence))

    def audit_entries(
        self, *, before: int | None = None, limit: int = 100, who: str | None = None
    ) -> AuditPage:
        """See `storage.base.AuditLog`."""
        with self._s.lock:
            older = [one for one in reversed(self._s.audit) if before is None or one.sequence < before]
        found: list[AuditEntry] = []
        for number, entry in enumerate(older):
            if len(found) == limit or number == MAX_AUDIT_LOOKED_AT:
                return AuditPage(found, older[number - 1].sequence)
            if who is None or entry.who == who:
                found.append(entry)
        return AuditPage(found)

    def forget_audit(self, *, before: datetime, limit: int) -> int:
        """See `storage.base.AuditLog`."""
        with self._s.lock:
            old = [entry for entry in self._s.audit[:-1] if entry.at < before][:limit]
            self._s.audit = [entry for entry in self._s.audit if entry not in old]
            return len(old)
