"""Pushes, and what is needed to make them."""

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["DuePush", "PushCertificate", "PushOutcome", "PushTarget"]


@dataclass(frozen=True, slots=True)
class PushTarget:
    """What a push to one enrollment needs.

    Attributes:
        enrollment_id: the enrollment.
        token_hex: push token as lower-case hex.
        push_magic, topic: from its last TokenUpdate.
        dead_at, dead_reason: since when and why APNs refuses the token; None and "" while it is good.
        attempts: failed tries since the push was asked for.
        due_at: when a push is to be made, None when none is scheduled.
        last: what became of the last push; None before the first.
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
    """A push that is due; `sequence` is the newest command queued when it was read."""

    target: PushTarget
    sequence: int


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The result of one push.

    Attributes:
        at: when APNs answered or the try failed.
        accepted: APNs took it.
        apns_id: APNs' id of the push, "" when there was no answer.
        reason: APNs' reason or the fault, "" when accepted.
        dead: the token is refused for good.
        retry_at: when to try again; None for never.
        again_at: when to push again if commands wait and the device stays silent; None for never.
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
    """A push certificate with its key, both PEM.

    Attributes:
        topic: `com.apple.mgmt.…` from the subject's UID.
        certificate, key: PEM bytes.
        stored_at: when it was uploaded.
    """

    topic: str
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    stored_at: datetime
