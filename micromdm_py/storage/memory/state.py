"""What the memory store holds, and what all its parts share: ids, bindings, events."""

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from micromdm_py.errors import Conflict, IdentityMismatch, MalformedField, NotFound
from micromdm_py.protocol.checkin import TokenUpdate
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID, EnrollmentKind, EnrollmentRef
from micromdm_py.protocol.ids import check_present
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.records import (
    Answer,
    AuditEntry,
    CommandRecord,
    EnrollmentRecord,
    HeldEvent,
    Identity,
    NewEntry,
    PushCertificate,
    PushOutcome,
    PushTarget,
    ReceiverState,
    StoredEvent,
)
from micromdm_py.storage.timeline import WITHDRAWN, Entry, append, steps

__all__ = ["Binding", "Channel", "Part", "Push", "Queued", "Receiver", "State"]


@dataclass(slots=True)
class Queued:
    """One command.

    `refusal` is the number of its last NotNow among all refusals, `done_at` when it left the queue for good,
    `entries` as in `storage.timeline`; the rest is as in `CommandRecord`.
    """

    sequence: int
    entry: NewEntry
    created_at: datetime
    updated_at: datetime
    state: CommandState = CommandState.PENDING
    refusal: int = 0
    tries: int = 0
    tried_at: datetime | None = None
    sent_at: datetime | None = None
    received_at: datetime | None = None
    canceled_at: datetime | None = None
    done_at: datetime | None = None
    report: bytes | None = None
    entries: list[Entry] = field(default_factory=list)

    def note(self, letter: str, at: datetime, detail: str = "", request_id: str = "") -> None:
        """Add to the timeline."""
        after_ms = (at - self.created_at) // timedelta(milliseconds=1)
        append(self.entries, (after_ms, letter, detail, request_id))

    def withdraw(self, state: CommandState, at: datetime, request_id: str = "") -> None:
        """Give it a final state that is not the device's answer."""
        self.state = state
        self.canceled_at = self.updated_at = self.done_at = at
        self.note(WITHDRAWN, at, state, request_id)

    @property
    def group(self) -> str:
        """Its group, the request type by default."""
        return self.entry.group or self.entry.request_type

    def has_expired(self, at: datetime) -> bool:
        """Whether it may no longer be handed out."""
        return self.entry.expires_at is not None and self.entry.expires_at <= at

    @property
    def command_id(self) -> str:
        """24 hex digits: seconds since 1970, then the sequence number."""
        return f"{int(self.created_at.timestamp()):08x}{self.sequence:016x}"

    @property
    def record(self) -> CommandRecord:
        """The record as services see it."""
        return CommandRecord(
            self.command_id,
            self.entry.command_uuid,
            self.entry.request_type,
            self.state,
            self.entry.origin,
            self.tries,
            self.created_at,
            self.updated_at,
            self.tried_at,
            self.sent_at,
            self.received_at,
            self.canceled_at,
            self.report is not None,
            self.group,
            self.entry.expires_at,
            self.entry.info,
            steps(self.created_at, self.entries),
        )


@dataclass(slots=True)
class Push:
    """Push data of an enrollment and when a push is due (None: none is scheduled)."""

    token_hex: str
    push_magic: str
    topic: str
    due_at: datetime | None = None
    dead_at: datetime | None = None
    dead_reason: str = ""
    attempts: int = 0
    last: PushOutcome | None = None
    silent: int = 0
    again_at: datetime | None = None

    def renewed(self, message: TokenUpdate) -> "Push":
        """What a TokenUpdate makes of it."""
        return replace(
            self,
            token_hex=message.token.hex(),
            push_magic=message.push_magic,
            topic=message.topic,
            dead_at=None,
            dead_reason="",
            attempts=0,
        )

    def target(self, enrollment_id: str) -> PushTarget:
        """The push data as services see it."""
        return PushTarget(
            enrollment_id,
            self.token_hex,
            self.push_magic,
            self.topic,
            self.dead_at,
            self.dead_reason,
            self.attempts,
            None if self.dead_at else self.due_at,
            self.last,
            self.silent,
        )


@dataclass(slots=True)
class Channel:
    """One enrollment with everything that belongs to it.

    `record` is what services see. `fresh` is true from Authenticate to the first TokenUpdate. `idle_mark` is
    the number of the last refusal before the last Idle.
    """

    record: EnrollmentRecord
    commands: dict[int, Queued] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    push: Push | None = None
    checked_out: bool = False
    fresh: bool = False
    idle_mark: int = 0

    @property
    def open_commands(self) -> list[Queued]:
        """What is still offered, by sequence."""
        return [one for one in self.commands.values() if one.state in OPEN_STATES]

    @property
    def line(self) -> list[Queued]:
        """What is still offered, in the order of offering."""
        order = (CommandState.AWAITING, CommandState.PENDING, CommandState.TRIED)

        def place(one: Queued) -> tuple[int, int, int]:
            refusal = one.refusal if one.state is CommandState.TRIED else 0
            return order.index(one.state), refusal, one.sequence

        return sorted(self.open_commands, key=place)

    def withdraw(self, state: CommandState, at: datetime, group: str | None = None) -> int:
        """Give the open commands (of a group) a final state; returns how many there were."""
        withdrawn = [one for one in self.open_commands if group in (None, one.group)]
        for one in withdrawn:
            one.withdraw(state, at)
        return len(withdrawn)


@dataclass(slots=True)
class Receiver:
    """A webhook receiver with the events it has refused."""

    state: ReceiverState
    held: dict[int, HeldEvent] = field(default_factory=dict)
    dead: dict[int, HeldEvent] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """Everything; each method holds `lock` from its first read to its last write."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    sequence: int = 0
    refusals: int = 0
    event_sequence: int = 0
    serial: int = 0
    channels: dict[str, Channel] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    audit_sequence: int = 0
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    once: dict[bytes, tuple[datetime, bytes]] = field(default_factory=dict)
    events: dict[int, StoredEvent] = field(default_factory=dict)
    receivers: dict[str, Receiver] = field(default_factory=dict)
    push_certificates: dict[str, PushCertificate] = field(default_factory=dict)
    push_topic: str = ""
    authority: tuple[bytes, bytes] | None = None
    issued: dict[bytes, tuple[int, str, datetime, bytes]] = field(default_factory=dict)
    challenges: set[str] = field(default_factory=set)
    undecodable: dict[bytes, dict[bytes, int]] = field(default_factory=dict)
    quarantine: list[tuple[datetime, bytes, bytes]] = field(default_factory=list)
    leases: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Binding:
    """Ids to bind to a certificate, and whether one of them was bound to another before."""

    ids: list[tuple[str, EnrollmentKind]] = field(default_factory=list)
    rebound: bool = False


class Part:
    """Base class of the store's parts."""

    def __init__(self, state: State) -> None:
        """Work on a state that the other parts share."""
        self._s = state

    # --- ids ---

    def _mention(
        self, enrollment_id: str, kind: EnrollmentKind | None, device_id: str, at: datetime
    ) -> Channel:
        """The channel with this id, made when it is new."""
        channel = self._s.channels.get(enrollment_id)
        if channel is None:
            target_id = f"{int(at.timestamp()):08x}{len(self._s.channels) + 1:016x}"
            channel = Channel(EnrollmentRecord(enrollment_id, target_id, kind, device_id))
            self._s.channels[enrollment_id] = channel
        return channel

    def _resolve(self, api_id: str) -> tuple[str, Channel | None]:
        """The enrollment id that an API id means, and its channel if there is one."""
        named = self._s.channels.get(check_present("udid", api_id))
        if named is not None and (named.record.kind or named.record.blocked or named.open_commands):
            return api_id, named
        if api_id == SHARED_IPAD_USER_ID:
            raise MalformedField("udid", "every Shared iPad has this UserID; say UDID:UserShortName")
        users = [one for one in self._s.channels.values() if _is_channel_of(one.record, api_id)]
        if len(users) > 1:
            names = ", ".join(sorted(one.record.enrollment_id for one in users))
            raise Conflict(f"user {api_id} has several channels: {names}")
        return (users[0].record.enrollment_id, users[0]) if users else (api_id, named)

    def _addressed(self, api_id: str) -> str:
        """The enrollment id of `_resolve`, for a command.

        Raises: Conflict for the UserID of a channel if commands were queued under that UserID before the
            channel was known: it is not clear whom a further one is for.
        """
        enrollment_id, channel = self._resolve(api_id)
        if channel is not None and channel.record.kind is None:
            users = [one.record for one in self._s.channels.values() if _is_channel_of(one.record, api_id)]
            if users:
                names = ", ".join(sorted(one.enrollment_id for one in users))
                raise Conflict(f"{api_id} has never enrolled, but is also the user of {names}")
        return enrollment_id

    def _known(self, api_id: str) -> Channel:
        """The channel of `_resolve`, for an id that has to exist. Raises: NotFound, Conflict."""
        channel = self._resolve(api_id)[1]
        if channel is None:
            raise NotFound(f"not found: enrollment {api_id}")
        return channel

    # --- binding ---

    def _check_binding(
        self, ref: EnrollmentRef, identity: Identity, *, authenticate: bool = False
    ) -> Binding:
        """Check that a certificate may act for every id that a message names; changes nothing.

        Raises: IdentityMismatch.
        """
        binding, rule = Binding(), identity.rule
        for name, kind in ref.bound_ids:
            channel = self._s.channels.get(name)
            bound = channel.record.fingerprint if channel else b""
            if bound and bound == identity.fingerprint:
                continue
            if channel and channel.record.kind not in (None, kind):
                raise IdentityMismatch(f"{name} is known as another kind of enrollment")
            if channel and bound:
                if not authenticate and rule.warn_only:
                    continue
                if not authenticate:
                    raise IdentityMismatch(f"{name} is bound to another certificate")
                if not rule.allow_rebind and not channel.checked_out:
                    raise IdentityMismatch(
                        f"{name} is bound to another certificate and may not be bound again"
                    )
            if rule.exclusive and self._bound_elsewhere(ref, identity.fingerprint):
                raise IdentityMismatch(f"the certificate of {name} is bound to another enrollment")
            binding.ids.append((name, kind))
            binding.rebound |= bool(bound)
        return binding

    def _bound_elsewhere(self, ref: EnrollmentRef, fingerprint: bytes) -> bool:
        own = {name for name, _ in ref.bound_ids}
        return any(
            one.record.fingerprint == fingerprint and name not in own
            for name, one in self._s.channels.items()
        )

    # --- events ---

    def _append(self, enrollment_id: str, event: Event | None, at: datetime) -> None:
        if event is not None:
            self._s.event_sequence += 1
            sequence = self._s.event_sequence
            self._s.events[sequence] = StoredEvent(sequence, enrollment_id, event.event_topic, at, event.body)


def _is_channel_of(record: EnrollmentRecord, user_id: str) -> bool:
    return (
        record.kind is not None
        and record.kind.is_user_channel
        and record.kind is not EnrollmentKind.SHARED_IPAD
        and record.user_id == user_id
    )
