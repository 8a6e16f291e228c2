"""The certificate authority's memory, one-time challenges, and signed reports that nobody can read."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime

from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.environment import Txn
from micromdm_py.storage.lmdb.outbox import append_event
from micromdm_py.storage.lmdb.tables import from_ms, ms, u64, unu64

__all__ = ["DepotPart", "QuarantinePart", "identity_row"]

FIRST_SERIAL = 2
QUARANTINE_AT = 3
"""How often the same identity has to send the same undecodable bytes before they are put aside."""
BODIES_REMEMBERED = 8
"""Undecodable bodies of an identity that are counted at a time; its user channels send theirs too."""
QUARANTINE_KEPT = 1000
"""Reports in quarantine at most; the oldest make room."""


class DepotPart(Part):
    """Implements `storage.base.Depot`."""

    def authority(self) -> tuple[bytes, bytes] | None:
        """See `storage.base.Depot`."""
        with self._env.read() as txn:
            row = txn.get(b"authority", db=self._t.meta)
        if row is None:
            return None
        certificate, key = json.loads(row)
        return base64.b64decode(certificate), base64.b64decode(key)

    def create_authority(self, certificate: bytes, key: bytes) -> None:
        """See `storage.base.Depot`."""

        def operation(txn: Txn) -> None:
            if txn.get(b"authority", db=self._t.meta) is None:
                self._keep_authority(txn, certificate, key, FIRST_SERIAL)

        self._env.write(operation)

    def _keep_authority(self, txn: Txn, certificate: bytes, key: bytes, next_serial: int) -> None:
        row = json.dumps([base64.b64encode(certificate).decode(), base64.b64encode(key).decode()])
        txn.put(b"authority", row.encode(), db=self._t.meta)
        txn.put(b"serial", u64(next_serial - 1), db=self._t.meta)

    def issue(self, make: Callable[[int], bytes], common_name: str, *, at: datetime) -> bytes:
        """See `storage.base.Depot`."""
        # The serial number is taken first and by itself: signing inside the transaction would make others
        # wait.
        serial = self._env.write(lambda txn: self._env.next_number(txn, b"serial"))
        certificate = make(serial)
        row = identity_row(certificate, serial, common_name, ms(at))
        self._env.write(lambda txn: txn.put(*row, db=self._t.identity))
        return certificate

    def is_issued(self, fingerprint: bytes) -> bool:
        """See `storage.base.Depot`."""
        with self._env.read() as txn:
            return txn.get(fingerprint, db=self._t.identity) is not None

    def add_challenge(self, challenge: str, *, at: datetime) -> None:
        """See `storage.base.Depot`."""
        self._env.write(lambda txn: self._keep_challenge(txn, challenge, ms(at)))

    def _keep_challenge(self, txn: Txn, challenge: str, at_ms: int) -> None:
        txn.put(hashlib.sha256(challenge.encode()).digest(), u64(at_ms), db=self._t.challenge)

    def take_challenge(self, challenge: str) -> bool:
        """See `storage.base.Depot`."""
        digest = hashlib.sha256(challenge.encode("utf-8", "surrogatepass")).digest()
        return self._env.write(lambda txn: txn.delete(digest, db=self._t.challenge))


class QuarantinePart(Part):
    """Implements `storage.base.Quarantine`."""

    def undecodable(self, fingerprint: bytes, body: bytes, event: Event | None, *, at: datetime) -> bool:
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


def identity_row(certificate: bytes, serial: int, common_name: str, at_ms: int) -> tuple[bytes, bytes]:
    """Key and value under which an issued certificate is kept."""
    row = [serial, common_name, at_ms, base64.b64encode(certificate).decode()]
    return hashlib.sha256(certificate).digest(), json.dumps(row, separators=(",", ":")).encode()


def _counts(row: bytes) -> dict[bytes, int]:
    """How often each body was seen, by its digest, oldest first."""
    return {row[at : at + 32]: unu64(row[at + 32 :]) for at in range(0, len(row), 40)}
