"""The certificate authority's memory, one-time challenges and quarantine, in dicts."""

import hashlib
from collections.abc import Callable
from datetime import datetime

from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.memory.state import Part

__all__ = ["DepotPart", "QuarantinePart"]

FIRST_SERIAL = 2
QUARANTINE_AT = 3
REMEMBERED_PER_IDENTITY = 8
"""Different undecodable reports that are counted for one identity; the oldest count makes room."""
QUARANTINE_KEPT = 1000


class DepotPart(Part):
    """Implements `storage.base.Depot`."""

    def authority(self) -> tuple[bytes, bytes] | None:
        """See `storage.base.Depot`."""
        return self._s.authority

    def create_authority(self, certificate: bytes, key: bytes) -> None:
        """See `storage.base.Depot`."""
        with self._s.lock:
            if self._s.authority is None:
                self._s.authority = certificate, key
                self._s.serial = FIRST_SERIAL - 1

    def issue(self, make: Callable[[int], bytes], common_name: str, *, at: datetime) -> bytes:
        """See `storage.base.Depot`."""
        with self._s.lock:
            self._s.serial += 1
            serial = self._s.serial
        certificate = make(serial)
        with self._s.lock:
            fingerprint = hashlib.sha256(certificate).digest()
            self._s.issued[fingerprint] = serial, common_name, at, certificate
        return certificate

    def is_issued(self, fingerprint: bytes) -> bool:
        """See `storage.base.Depot`."""
        return fingerprint in self._s.issued

    def add_challenge(self, challenge: str, *, at: datetime) -> None:
        """See `storage.base.Depot`."""
        with self._s.lock:
            self._s.challenges.add(challenge)

    def take_challenge(self, challenge: str) -> bool:
        """See `storage.base.Depot`."""
        with self._s.lock:
            found = challenge in self._s.challenges
            self._s.challenges.discard(challenge)
            return found


class QuarantinePart(Part):
    """Implements `storage.base.Quarantine`."""

    def undecodable(self, fingerprint: bytes, body: bytes, event: Event | None, *, at: datetime) -> bool:
        """See `storage.base.Quarantine`."""
        digest = hashlib.sha256(body).digest()
        with self._s.lock:
            counts = self._s.undecodable.setdefault(fingerprint, {})
            count = counts.pop(digest, 0) + 1
            counts[digest] = count
            if len(counts) > REMEMBERED_PER_IDENTITY:
                del counts[next(iter(counts))]
            if count == QUARANTINE_AT:
                self._s.quarantine = [*self._s.quarantine, (at, fingerprint, body)][-QUARANTINE_KEPT:]
                self._append("", event, at)
            return count >= QUARANTINE_AT

    def quarantined(self, limit: int = 100) -> list[tuple[datetime, bytes, bytes]]:
        """See `storage.base.Quarantine`."""
        with self._s.lock:
            return self._s.quarantine[::-1][:limit]
