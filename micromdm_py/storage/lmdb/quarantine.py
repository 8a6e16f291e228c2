"""Signed reports that cannot be decoded."""

import hashlib
from datetime import datetime

from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.base.quarantine import BODIES_REMEMBERED, QUARANTINE_AT, QUARANTINE_KEPT
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.outbox import append_event
from micromdm_py.storage.lmdb.tables import from_ms, ms, u64, unu64
from micromdm_py.storage.lmdb.transactions import Txn

__all__ = ["QuarantinePart"]


class QuarantinePart(Part):
    """Implements `storage.base.Quarantine`."""

    def note_undecodable(self, fingerprint: bytes, body: bytes, event: Event | None, *, at: datetime) -> bool:
        """See `storage.base.Quarantine`."""
        digest = hashlib.sha256(body).digest()

        def operation(txn: Txn) -> bool:
            counts = _counts(txn.get(fingerprint, db=self._t.undecodable) or b"")
            count = counts.pop(digest, 0)
            if count >= QUARANTINE_AT:
                return True
            counts[digest] = count + 1  # last, as the newest
            newest = list(counts.items())[-BODIES_REMEMBERED:]
            row = b"".join(name + u64(times) for name, times in newest)
            txn.put(fingerprint, row, db=self._t.undecodable)
            if count + 1 < QUARANTINE_AT:
                return False
            self._make_room(txn)
            txn.put(u64(ms(at)) + digest[:8] + fingerprint, body, db=self._t.quarantine)
            if event is not None:
                append_event(self._env, txn, "", event, ms(at))
            return True

        return self._env.write(operation)

    def _make_room(self, txn: Txn) -> None:
        while txn.stat(self._t.quarantine)["entries"] >= QUARANTINE_KEPT:
            cursor = txn.cursor(self._t.quarantine)
            cursor.first()
            txn.delete(cursor.key(), db=self._t.quarantine)

    def quarantined(self, limit: int = 100) -> list[tuple[datetime, bytes, bytes]]:
        """See `storage.base.Quarantine`."""
        found: list[tuple[datetime, bytes, bytes]] = []
        with self._env.read() as txn:
            cursor = txn.cursor(self._t.quarantine)
            more = cursor.last()
            while more and len(found) < limit:
                key = cursor.key()
                found.append((from_ms(unu64(key)), key[16:], cursor.value()))
                more = cursor.prev()
        return found


def _counts(row: bytes) -> dict[bytes, int]:
    """How often each body was seen, by its digest, oldest first."""
    return {row[at : at + 32]: unu64(row[at + 32 :]) for at in range(0, len(row), 40)}
