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

        One that is asked for the first time is stored; it gets the events that come from then on.
        """
        ...

    def receivers(self) -> list[ReceiverState]:
        """All receivers, by name."""
        ...

    def event_range(self) -> tuple[int, int]:
        """Sequence numbers of the oldest event still kept and of the newest ever stored; (0, 0) before any.

        When none is kept any more, the first number is one above the second.
        """
        ...

    def append_event(self, event: Event, *, at: datetime) -> int:
        """Store an event that belongs to no enrollment; returns its sequence number."""
        ...

    def ask_replay(self, receiver: str, after: int) -> None:
        """Ask for all events after a sequence number to be sent again, as far as kept. Raises: NotFound."""
        ...

    def begin_replay(self, receiver: str) -> None:
        """Do what `ask_replay` asked for: move the cursor back.

        Held events after it that are still in the outbox are released, as they come again in their place.
        """
        ...

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        """Events in order, the first being the one after `sequence`."""
        ...

    def held_events(self, receiver: str, after: int, limit: int) -> list[HeldEvent]:
        """Held events of a receiver in order, those with a sequence number above `after`."""
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
        """Write down the progress of a delivery.

        Args:
            receiver: name of the receiver.
            at: when.
            cursor: where it has come to; it never goes back.
            hold: events to hold, or to hold with a new time and error.
            release: sequence numbers of held events that were delivered.
            dead: events to give up: they become dead letters.
            succeeded: whether anything was delivered since the last call.
            error: text of the last failure, "" for none.
        """
        ...

    def dead_letters(self, receiver: str, limit: int) -> list[HeldEvent]:
        """Events given up for a receiver, oldest first."""
        ...

    def forget_events(self, receivers: Sequence[str], *, before: datetime, limit: int) -> int:
        """Delete up to `limit` of the oldest events, if every receiver is done with them; returns how many.

        The first event that has to stay, or that is not older than `before`, ends it.
        """
        ...

    def forget_receivers(self, keep: Sequence[str]) -> None:
        """Drop the state of receivers that are not configured any more."""
        ...
