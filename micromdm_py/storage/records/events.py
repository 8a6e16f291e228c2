"""Webhook events, and where their receivers stand."""

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["HeldEvent", "ReceiverState", "StoredEvent"]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A webhook event in the outbox.

    Attributes:
        sequence: its place among all events.
        enrollment_id: whose order it belongs to, "" for events of the server.
        event_topic: its ``mdm.*`` name.
        created_at: when it was stored.
        body: the JSON document.
    """

    sequence: int
    enrollment_id: str
    event_topic: str
    created_at: datetime
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that a receiver has refused, or that waits behind such a one of the same enrollment.

    Attributes:
        event: the event.
        tries: how often the receiver refused it (0: waits behind another).
        due_at: when to try next.
        error: the last refusal, short text.
    """

    event: StoredEvent
    tries: int
    due_at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """Where a webhook receiver stands.

    Attributes:
        receiver: stable name of the receiver (its URL without the filter).
        cursor: every event up to this sequence is delivered, held, dead or not wanted.
        held: how many events are held.
        dead_letters: how many events were given up.
        last_success_at, last_error_at: None when never.
        last_error: text of the last failure.
        replay_after: a sequence from which everything shall be sent again, None when nobody asked for it.
    """

    receiver: str
    cursor: int
    held: int = 0
    dead_letters: int = 0
    last_success_at: datetime | None = None
    last_error_at: datetime | None = None
    last_error: str = ""
    replay_after: int | None = None
