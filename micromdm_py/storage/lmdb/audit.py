"""The audit log: a table with numbers of its own, so that an entry costs one append."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from micromdm_py.storage.base.audit import MAX_AUDIT_LOOKED_AT
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.tables import from_ms, ms, u64, unu64
from micromdm_py.storage.lmdb.transactions import Txn
from micromdm_py.storage.records import AuditEntry, AuditPage

__all__ = ["AuditPart"]


class AuditPart(Part):
    """Implements `storage.base.AuditLog`."""

    def audited(self, make: Callable[[], AuditEntry]) -> AbstractContextManager[None]:
        """See `storage.base.AuditLog`."""
        return self._env.accompanied(lambda txn: self._append_entry(txn, make()))

    def _append_entry(self, txn: Txn, entry: AuditEntry) -> None:
        cursor = txn.cursor(self._t.audit)
        sequence = unu64(cursor.key()) + 1 if cursor.last() else 1
        fields = [entry.who, entry.action, entry.target, entry.detail, entry.request, entry.request_id]
        row = u64(ms(entry.at)) + json.dumps(fields, separators=(",", ":")).encode()
        txn.put(u64(sequence), row, append=True, db=self._t.audit)

    def audit_entries(
        self, *, before: int | None = None, limit: int = 100, who: str | None = None
    ) -> AuditPage:
        """See `storage.base.AuditLog`."""
        found: list[AuditEntry] = []
        looked_at = last = 0
        with self._env.read() as txn:
            cursor = txn.cursor(self._t.audit)
            more = cursor.last() if before is None or not cursor.set_range(u64(before)) else cursor.prev()
            while more:
                if len(found) == limit or looked_at == MAX_AUDIT_LOOKED_AT:
                    return AuditPage(found, last)
                looked_at, last, row = looked_at + 1, unu64(cursor.key()), cursor.value()
                fields: list[str] = json.loads(row[8:])
                if who is None or fields[0] == who:
                    found.append(AuditEntry(last, from_ms(unu64(row)), *fields))
                more = cursor.prev()
        return AuditPage(found)

    def forget_audit(self, *, before: datetime, limit: int) -> int:
        """See `storage.base.AuditLog`."""

        def operation(txn: Txn) -> int:
            cursor = txn.cursor(self._t.audit)
            old: list[bytes] = []
            more = cursor.first()
            while more and len(old) < limit and unu64(cursor.value()) < ms(before):
                old.append(cursor.key())
                more = cursor.next()
            if more is False and old:
                old.pop()  # the newest stays, as the next number is taken from it
            for key in old:
                txn.delete(key, db=self._t.audit)
            return len(old)

        return self._env.write(operation)
