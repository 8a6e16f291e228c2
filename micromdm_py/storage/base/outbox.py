"""Webhook events on their way, and where each receiver stands."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.records import HeldEvent, ReceiverState, StoredEvent

__all__ = ["Outbox"]


class Outbox(Protocol):
    """Webhook events on their way, and where each receiver stands."""

    def receiver(self, receiver: str) -> ReceiverState:
        """State of a receiver.

        A new one begins behind the newest event that existed when it was first asked for.
        """
        ...

    def receivers(self) -> list[ReceiverState]:
        """Every receiver there is, by name."""
        ...

    def event_range(self) -> tuple[int, int]:
        """Sequences of the oldest event that is kept and of the newest there ever was, (0, 0) for none.

        The first is beyond the second when none is kept any more.
        """
        ...

    def append_event(self, event: Event, *, at: datetime) -> int:
        """Store an event that belongs to no enrollment; returns its sequence."""
        ...

    def ask_replay(self, receiver: str, after: int) -> None:
        """Have everything after a sequence sent again, as far as it is kept. Raises: NotFound."""
        ...

    def begin_replay(self, receiver: str) -> None:
        """Do what `ask_replay` asked for.

        The cursor goes back, and what is held behind it and still kept as an event is let go, since it comes
        again in its place.
        """
        ...

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        """Events in order, from the first after `sequence`."""
        ...

    def held_events(self, receiver: str, after: int, limit: int) -> list[HeldEvent]:
        """Held events of a receiver by sequence, from the first after `after`."""
        ...

    def settle(
        self,
        receiver: str,
        *,
        at: datetime,
        cursor: int | None = None,
        hold: Iterable[HeldEvent] = (),
        release: Iterable[int] = (),
        dead: Iterable[HeldEvent] = (),
        succeeded: bool = False,
        error: str = "",
    ) -> None:
        """Write down progress: move the cursor, hold or re-schedule, release (delivered), or bury events."""
        ...

    def dead_letters(self, receiver: str, limit: int) -> list[HeldEvent]:
        """Events given up for a receiver, oldest first."""
        ...

    def forget_events(self, receivers: Sequence[str], *, before: datetime, limit: int) -> int:
        """Delete up to `limit` events from the first on that every receiver is done with and that are older.

        The first one that has to stay ends it, whatever the clock said when later ones came.
        """
        ...

    def forget_receivers(self, keep: Sequence[str]) -> None:
        """Drop the state of receivers that are not configured any more."""
        ...
