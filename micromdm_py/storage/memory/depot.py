"""What the certificate authority remembers: its key, issued certificates, challenges, in dicts."""

import hashlib
from collections.abc import Callable
from datetime import datetime

from micromdm_py.storage.base.depot import FIRST_SERIAL
from micromdm_py.storage.memory.state import Part

__all__ = ["DepotPart"]


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
