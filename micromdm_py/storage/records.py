"""Records that go in and out of a store: frozen values in the words of the domain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.storage.command_records import (
    CommandRecord,
    Enqueued,
    NewEntry,
    Once,
    Served,
    Step,
    WaitingCommand,
)

__all__ = [
    "SEARCHED",
    "UNBOUND",
    "Answer",
    "AuditEntry",
    "BindingRule",
    "CommandRecord",
    "DeviceFilter",
    "DevicePage",
    "DeviceSearch",
    "DuePush",
    "Enqueued",
    "EnrollmentRecord",
    "Fleet",
    "HeldEvent",
    "Identity",
    "NewEntry",
    "Once",
    "PushCertificate",
    "PushOutcome",
    "PushTarget",
    "ReceiverState",
    "Served",
    "Step",
    "StoredEvent",
    "WaitingCommand",
]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A write that an administrator's program made.

    Attributes:
        sequence: its place in the audit log, given by the store; 0 before it is stored.
        at: when.
        who: name of the caller's token, or `api-key`.
        action: the permission that was used, `mdm.apple.command.create`.
        target: what it was done to: an id or a name, "" when there is no single one.
        detail: more about it, a request type for instance; never a secret.
        request: method and path.
        request_id: id of the request, as in the log.
    """

    sequence: int
    at: datetime
    who: str
    action: str
    target: str
    detail: str
    request: str
    request_id: str


@dataclass(frozen=True, slots=True)
class BindingRule:
    """How strictly a certificate is tied to an enrollment.

    Attributes:
        allow_rebind: Authenticate may tie an enrollment to another certificate than before.
        exclusive: a certificate tied to one enrollment is refused for another.
        warn_only: a certificate that differs from the bound one is accepted; the binding stays.
    """

    allow_rebind: bool = True
    exclusive: bool = False
    warn_only: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified certificate behind a device message.

    Attributes:
        fingerprint: SHA-256 of the certificate's DER, 32 bytes; b"" when nobody has shown one.
        rule: how it is tied to enrollments.
    """

    fingerprint: bytes
    rule: BindingRule


UNBOUND = Identity(b"", BindingRule(warn_only=True))
"""Stands for an administrator who vouches for a device: nothing is bound, and what is bound stays so."""


@dataclass(frozen=True, slots=True)
class EnrollmentRecord:
    """What is known of one enrollment.

    Attributes:
        enrollment_id: its id; key of its queue.
        target_id: 24 hex digits, fixed for the enrollment's life.
        kind: what the channel is; None for an id that has only ever been queued to.
        device_id: id of the device a user channel belongs to; its own id for a device.
        udid, user_id, user_short_name, user_long_name: as sent, "" when absent.
        facts: what Authenticate told (`serial_number`, `os_version`, `model`, …).
        enrolled: true from the first TokenUpdate after an Authenticate until CheckOut.
        listed: whether a device record exists (Authenticate has made one and nobody has removed it).
        blocked: connects are refused.
        awaiting_configuration: the device waits for DeviceConfigured.
        dep_profile_status: "", "empty", "assigned", "pushed" or "removed".
        unlock_token, bootstrap_token: secrets kept for the device, b"" when none.
        fingerprint: SHA-256 of the bound certificate, b"" when none.
        last_seen_at, authenticated_at, token_update_at: None when it never happened.
    """

    enrollment_id: str
    target_id: str
    kind: EnrollmentKind | None
    device_id: str
    udid: str = ""
    user_id: str = ""
    user_short_name: str = ""
    user_long_name: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    enrolled: bool = False
    listed: bool = False
    blocked: bool = False
    awaiting_configuration: bool = False
    dep_profile_status: str = ""
    unlock_token: bytes = field(default=b"", repr=False)
    bootstrap_token: bytes = field(default=b"", repr=False)
    fingerprint: bytes = b""
    last_seen_at: datetime | None = None
    authenticated_at: datetime | None = None
    token_update_at: datetime | None = None

    @property
    def is_user_channel(self) -> bool:
        """Whether it is a user's and not a device's; an id that has only been queued to tells by its form."""
        return self.kind.is_user_channel if self.kind else ":" in self.enrollment_id

    @property
    def serial_number(self) -> str:
        """Serial number as Authenticate told it, "" when unknown."""
        return self.facts.get("serial_number", "")


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices to list: a device matches when it is in every list that is not empty.

    Attributes:
        serials, udids: exact values, any of.
        offset: how many matching devices to leave out.
        limit: how many to return at most; None for all.
    """

    serials: tuple[str, ...] = ()
    udids: tuple[str, ...] = ()
    offset: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceSearch:
    """Which devices to look for: those that fit everything that is given.

    Attributes:
        starts: the beginning of facts, without regard to letter case, by their names in `SEARCHED`. The
            first of them in that order decides the order of what is found; without any it is the order in
            which the devices were first heard of.
        enrolled, blocked: true or false; None for either.
        seen_before, seen_after: time of last contact.
        cursor: `next` of the page before, "" for the first page.
        limit: how many devices at most.
    """

    starts: Mapping[str, str] = field(default_factory=dict)
    enrolled: bool | None = None
    blocked: bool | None = None
    seen_before: datetime | None = None
    seen_after: datetime | None = None
    cursor: str = ""
    limit: int = 100

    def fits(self, record: EnrollmentRecord) -> bool:
        """Whether a device is one of those wanted."""
        seen = record.last_seen_at
        return (
            record.listed
            and self.enrolled in (None, record.enrolled)
            and self.blocked in (None, record.blocked)
            and (self.seen_before is None or seen is None or seen < self.seen_before)
            and (self.seen_after is None or (seen is not None and seen >= self.seen_after))
            and all(
                folded(record.facts.get(name, "")).startswith(folded(start))
                for name, start in self.starts.items()
            )
        )


SEARCHED = ("serial_number", "device_name", "model", "model_name", "product_name", "os_version")
"""Facts that devices can be searched by; each has an index."""


def folded(text: str) -> str:
    """A fact or a part of one as searches compare it."""
    return text.casefold()


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A page of a search; `next` is the cursor of the following one, "" at the end.

    A page may hold fewer devices than wanted, or none, and not be the last.
    """

    devices: list[EnrollmentRecord]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Figures of all device records.

    Attributes:
        devices: how many there are.
        enrolled, blocked: how many of them are.
        seen: how many have been in contact since the time asked for.
        waiting: how many have commands waiting.
        unreachable: how many have a push token that APNs refuses.
    """

    devices: int = 0
    enrolled: int = 0
    blocked: int = 0
    seen: int = 0
    waiting: int = 0
    unreachable: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer of its kind, kept with the enrollment: the raw report, and when it came."""

    request_type: str
    at: datetime
    report: bytes = field(repr=False)


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
