"""What goes from one store to another: the whole content as records, in the words of the domain."""

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
    """A command with what has become of it.

    Attributes:
        entry: the command as it was queued.
        state: where it is in its life.
        created_at: when it was queued.
        received_at: when its answer came, None when there is none or nobody knows.
        report: the answer as it came, b"" when it is not kept.
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
        due: whether a push is to be made soon.
    """

    token_hex: str = field(repr=False)
    push_magic: str = field(repr=False)
    topic: str
    due: bool = False


@dataclass(frozen=True, slots=True)
class MovedEnrollment:
    """An enrollment with everything that belongs to it.

    Attributes:
        record: what is known; its `target_id` counts for nothing, as each store gives its own. A user
            channel whose device is not known has no kind, and its UserID as its id, too: the store takes it
            for the channel of the first device that comes with this user.
        push: its push data, None when there are none.
        commands: in the order in which they are offered, after those that are done.
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
    """An issued certificate: DER, serial number, common name of its subject, and since when it is valid."""

    certificate: bytes = field(repr=False)
    serial: int
    common_name: str
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class MovedChallenge:
    """A one-time challenge that has not been used. A store keeps no more than its hash and cannot give it."""

    challenge: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MovedDocument:
    """A document of the shelf."""

    kind: str
    name: str
    body: bytes = field(repr=False)


Moved = MovedEnrollment | MovedAuthority | MovedCertificate | MovedChallenge | MovedDocument | PushCertificate
"""One piece of a store's content."""
