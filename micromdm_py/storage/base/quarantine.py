"""Signed reports that cannot be decoded."""

from datetime import datetime
from typing import Protocol

from micromdm_py.protocol.webhook import Event

__all__ = ["BODIES_REMEMBERED", "QUARANTINE_AT", "QUARANTINE_KEPT", "Quarantine"]

QUARANTINE_AT = 3
"""How often the same identity has to send the same undecodable bytes before they are put aside."""

BODIES_REMEMBERED = 8
"""Undecodable bodies counted at a time for one identity, which may also speak for its user channels."""

QUARANTINE_KEPT = 1000
"""Reports in quarantine at most; the oldest make room."""


class Quarantine(Protocol):
    """Signed reports that cannot be decoded."""

    def note_undecodable(self, fingerprint: bytes, body: bytes, event: Event | None, *, at: datetime) -> bool:
        """Count a report. The third time an identity sends the same bytes, keep them and store the event.

        Args:
            fingerprint: SHA-256 of the certificate that signed it, 32 bytes.
            body: the report as received.
            event: what to store when it goes into quarantine, None for nothing.
            at: when it came.
        Returns: whether these bytes are in quarantine, so that the device may be told to go on.
        """
        ...

    def quarantined(self, limit: int = 100) -> list[tuple[datetime, bytes, bytes]]:
        """The reports kept, newest first, as (when, fingerprint, body)."""
        ...
