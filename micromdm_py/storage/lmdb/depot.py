"""What the certificate authority remembers: its key, issued certificates, challenges."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime

from micromdm_py.storage.base.depot import FIRST_SERIAL
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.tables import ms, u64
from micromdm_py.storage.lmdb.transactions import Txn

__all__ = ["DepotPart", "identity_row"]


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
        # Not in one transaction: others would wait for the signing.
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


def identity_row(certificate: bytes, serial: int, common_name: str, at_ms: int) -> tuple[bytes, bytes]:
    """Key and value under which an issued certificate is kept."""
    row = [serial, common_name, at_ms, base64.b64encode(certificate).decode()]
    return hashlib.sha256(certificate).digest(), json.dumps(row, separators=(",", ":")).encode()
