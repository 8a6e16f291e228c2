"""The content of a store, as it goes from one store to another."""

from dataclasses import dataclass, field
from datetime import datetime

from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.records import EnrollmentRecord, NewEntry, PushCertificate

__all__ = [
    "Moved",
    "MovedAuthority",
    "MovedCertificate",
    "MovedChallenge",
    "MovedCommand",
    "MovedDocument",
    "MovedEnrollment",
    "MovedPush",
]


@dataclass(frozen=True, slots=True)
class MovedCommand:
    """A command and what has become of it.

    Attributes:
        entry: the command as it was queued.
        state: where it is in its life.
        created_at: when it was queued.
        received_at: when its answer came, None when there is none or the time is not known.
        report: the answer as received, b"" when it is not kept.
    """

    entry: NewEntry
    state: CommandState
    created_at: datetime
    received_at: datetime | None = None
    report: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class MovedPush:
    """Push data of an enrollment.

    Attributes:
        token_hex, push_magic, topic: from its last TokenUpdate.
        due: whether a push is scheduled.
    """

    token_hex: str = field(repr=False)
    push_magic: str = field(repr=False)
    topic: str
    due: bool = False


@dataclass(frozen=True, slots=True)
class MovedEnrollment:
    """An enrollment with everything that belongs to it.

    Attributes:
        record: what is known; its `target_id` is ignored, as each store gives its own. A user channel whose
            device is not known has no kind, and its UserID as its id: the store takes it for the channel of
            the first device that comes with this user.
        push: its push data, None for none.
        commands: first those that are done, then the others in the order in which they are offered.
    """

    record: EnrollmentRecord
    push: MovedPush | None = None
    commands: tuple[MovedCommand, ...] = ()


@dataclass(frozen=True, slots=True)
class MovedAuthority:
    """The certificate authority.

    Attributes:
        certificate: DER.
        key: DER, PKCS#8.
        next_serial: serial number of the next certificate it issues.
    """

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    next_serial: int


@dataclass(frozen=True, slots=True)
class MovedCertificate:
    """An issued certificate in DER, its serial number, its subject's common name, and when it was issued."""

    certificate: bytes = field(repr=False)
    serial: int
    common_name: str
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class MovedChallenge:
    """A one-time challenge that is still good. A store keeps only its hash, and so never gives it away."""

    challenge: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MovedDocument:
    """A document of the shelf."""

    kind: str
    name: str
    body: bytes = field(repr=False)


Moved = MovedEnrollment | MovedAuthority | MovedCertificate | MovedChallenge | MovedDocument | PushCertificate
"""One piece of a store's content."""
