"""What the certificate authority remembers: its key, the certificates it has issued, one-time challenges."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

__all__ = ["FIRST_SERIAL", "Depot"]

FIRST_SERIAL = 2
"""Serial number of the first certificate that a new authority issues; 1 is its own."""


class Depot(Protocol):
    """What the certificate authority remembers."""

    def authority(self) -> tuple[bytes, bytes] | None:
        """The CA as (certificate in DER, private key in PKCS#8 DER); None before one is stored."""
        ...

    def create_authority(self, certificate: bytes, key: bytes) -> None:
        """Keep a new CA unless there is one already.

        Args:
            certificate: DER.
            key: DER, PKCS#8.
        """
        ...

    def issue(self, make: Callable[[int], bytes], common_name: str, *, at: datetime) -> bytes:
        """Take the next serial number, have `make` build the certificate (DER) with it, keep and return that.

        Two transactions, with one call of `make` between them: signing takes long. So a serial number may be
        left out; none is ever given twice.

        Args:
            make: builds the certificate with a serial number.
            common_name: of its subject.
            at: when it is issued.
        """
        ...

    def is_issued(self, fingerprint: bytes) -> bool:
        """Whether a certificate with this SHA-256 (32 bytes) was issued or accepted here."""
        ...

    def add_challenge(self, challenge: str, *, at: datetime) -> None:
        """Keep a one-time challenge (only its hash)."""
        ...

    def take_challenge(self, challenge: str) -> bool:
        """Use up a one-time challenge; false when it is unknown or used."""
        ...
