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

    def undecodable(self, fingerprint: bytes, body: bytes, event: Event | None, *, at: datetime) -> bool:
        """Count one; the third time the same identity sends the same bytes keep them and store the event.

        Returns: whether the bytes are in quarantine now, so that the device may be told to go on.
        """
        ...

    def quarantined(self, limit: int = 100) -> list[tuple[datetime, bytes, bytes]]:
        """The newest kept reports as (when, fingerprint, body)."""
        ...
