"""Pushes, and what is needed to make them."""

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["DuePush", "PushCertificate", "PushOutcome", "PushTarget"]


@dataclass(frozen=True, slots=True)
class PushTarget:
    """What a push to one enrollment needs.

    Attributes:
        enrollment_id: the enrollment.
        token_hex: push token in lower-case hex.
        push_magic, topic: from its last TokenUpdate.
        dead_at, dead_reason: since when and why APNs refuses the token for good; None and "" if it does not.
        attempts: tries that failed since a push was last accepted.
        due_at: when the next push is to be made, None when none is scheduled.
        last: result of the last push, None before the first.
        silent: accepted pushes since the device was last seen.
    """

    enrollment_id: str
    token_hex: str = field(repr=False)
    push_magic: str = field(repr=False)
    topic: str
    dead_at: datetime | None = None
    dead_reason: str = ""
    attempts: int = 0
    due_at: datetime | None = None
    last: "PushOutcome | None" = None
    silent: int = 0


@dataclass(frozen=True, slots=True)
class DuePush:
    """A push that is due; `sequence` is the number of the newest command in the store when it was read."""

    target: PushTarget
    sequence: int


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The result of one push.

    Attributes:
        at: when APNs answered or the try failed.
        accepted: whether APNs accepted it.
        apns_id: APNs' id of the push, "" if there was no answer.
        reason: APNs' reason, or what went wrong; "" when accepted.
        dead: whether APNs refuses the token for good.
        retry_at: when to try again; None for never.
        again_at: when to push again if commands still wait and the device stays silent; None for never.
    """

    at: datetime
    accepted: bool
    apns_id: str = ""
    reason: str = ""
    dead: bool = False
    retry_at: datetime | None = None
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PushCertificate:
    """A push certificate with its key.

    Attributes:
        topic: `com.apple.mgmt.…`, the UID of its subject.
        certificate, key: PEM bytes.
        stored_at: when it was uploaded.
    """

    topic: str
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    stored_at: datetime
