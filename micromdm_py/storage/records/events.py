"""Webhook events, and where their receivers stand."""

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["HeldEvent", "ReceiverState", "StoredEvent"]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A webhook event in the outbox.

    Attributes:
        sequence: its number among all events.
        enrollment_id: the enrollment among whose events it keeps its place, "" for events of the server.
        event_topic: its `mdm.*` name.
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
    """An event that a receiver has refused, or that waits behind one of the same enrollment that it refused.

    Attributes:
        event: the event.
        tries: how often the receiver refused it; 0 if it waits behind another.
        due_at: when to try next.
        error: short text of the last refusal.
    """

    event: StoredEvent
    tries: int
    due_at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """Where a webhook receiver stands.

    Attributes:
        receiver: stable name of the receiver: its URL without the topic filter.
        cursor: every event up to this number is delivered, held, given up or not wanted.
        held: how many events are held.
        dead_letters: how many events were given up.
        last_success_at, last_error_at: None for never.
        last_error: text of the last failure.
        replay_after: number of the event after which everything is to be sent again, None for no such wish.
    """

    receiver: str
    cursor: int
    held: int = 0
    dead_letters: int = 0
    last_success_at: datetime | None = None
    last_error_at: datetime | None = None
    last_error: str = ""
    replay_after: int | None = None
