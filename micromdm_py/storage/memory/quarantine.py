"""Signed reports that cannot be decoded, in dicts."""

import hashlib
from datetime import datetime

from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.base.quarantine import BODIES_REMEMBERED, QUARANTINE_AT, QUARANTINE_KEPT
from micromdm_py.storage.memory.state import Part

__all__ = ["QuarantinePart"]


class QuarantinePart(Part):
    """Implements `storage.base.Quarantine`."""

    def note_undecodable(self, fingerprint: bytes, body: bytes, event: Event | None, *, at: datetime) -> bool:
        """See `storage.base.Quarantine`."""
        digest = hashlib.sha256(body).digest()
        with self._s.lock:
            counts = self._s.undecodable.setdefault(fingerprint, {})
            count = counts.pop(digest, 0) + 1
            counts[digest] = count
            if len(counts) > BODIES_REMEMBERED:
                del counts[next(iter(counts))]
            if count == QUARANTINE_AT:
                self._s.quarantine = [*self._s.quarantine, (at, fingerprint, body)][-QUARANTINE_KEPT:]
                self._append("", event, at)
            return count >= QUARANTINE_AT

    def quarantined(self, limit: int = 100) -> list[tuple[datetime, bytes, bytes]]:
        """See `storage.base.Quarantine`."""
        with self._s.lock:
            return self._s.quarantine[::-1][:limit]
