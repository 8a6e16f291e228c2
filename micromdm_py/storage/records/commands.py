"""Commands on their way into a store and out of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.lifecycle import CommandState

__all__ = [
    "CommandFilter",
    "CommandPage",
    "CommandRecord",
    "Enqueued",
    "NewEntry",
    "Once",
    "Served",
    "Step",
    "WaitingCommand",
]

_CURSOR = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A command to be queued.

    Attributes:
        command_uuid: free text; two commands may have the same one.
        request_type: its kind, `InstallProfile` for instance.
        payload: the property list that the device gets, byte for byte.
        origin: who caused it (`from` of the record, one of `protocol.lifecycle.ORIGINS`).
        group: label of commands that belong together, "" for the request type.
        supersede: withdraws the open commands of its group for the same enrollment.
        expires_at: when it is withdrawn unless it has been answered; None for never.
        info: what is known of its origin: `build`, `blueprint`, a profile's identifier.
        request_id: id of the request that brought it, "" for none.
    """

    command_uuid: str
    request_type: str
    payload: bytes = field(repr=False)
    origin: str = "unknown"
    group: str = ""
    supersede: bool = False
    expires_at: datetime | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key of a caller: within `ONCE_KEPT` the same key gets the first answer again.

    Attributes:
        digest: SHA-256 of route, enrollment, caller and key, 32 bytes.
        answer: the answer to keep.
    """

    digest: bytes
    answer: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A queued command.

    Attributes:
        enrollment_id: the queue it is in.
        command_id: 24 hex digits, sortable by creation; "" when `answer` is an earlier one.
        push_wanted: a push was scheduled with it; false also if one was due already.
        answer: the answer that the same idempotency key got before, None if it is new.
    """

    enrollment_id: str
    command_id: str
    push_wanted: bool
    answer: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Served:
    """What a connect hands out.

    Attributes:
        payload: the next command, byte for byte as queued; b"" when there is none.
        command_uuid: its uuid, "" when there is none.
    """

    payload: bytes = field(default=b"", repr=False)
    command_uuid: str = ""


@dataclass(frozen=True, slots=True)
class WaitingCommand:
    """A command in a queue as the API lists it."""

    command_uuid: str
    payload: bytes = field(repr=False)
    state: CommandState


@dataclass(frozen=True, slots=True)
class Step:
    """One step in a command's timeline.

    Attributes:
        at: when.
        name: `accepted`, `stored`, `pushed`, `push failed`, `connected`, `handed out`, `answered` or
            `withdrawn`.
        detail: APNs' id or reason, the status that the device sent, the state after a withdrawal.
        request_id: id of the request in which it happened, "" if it was in none.
    """

    at: datetime
    name: str
    detail: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """The record of a command, which is kept after the command is done.

    Attributes:
        command_id: 24 hex digits: 4 bytes seconds, 8 bytes sequence number.
        command_uuid, request_type, origin: as queued.
        state: where it is in its life.
        tries: how often it was handed to the device.
        created_at, updated_at: when it was queued, when the record last changed.
        tried_at: when it was last handed out.
        sent_at: when APNs first accepted a push for it.
        received_at: when the first answer came.
        canceled_at: when it was cancelled or withdrawn.
        has_report: whether the final answer is kept.
        group: label of commands that belong together, the request type by default.
        expires_at: when it is withdrawn, None for never.
        info: what is known of its origin.
        timeline: what happened to it, in order; of a great many steps the middle ones are left out.
    """

    command_id: str
    command_uuid: str
    request_type: str
    state: CommandState
    origin: str
    tries: int
    created_at: datetime
    updated_at: datetime
    tried_at: datetime | None = None
    sent_at: datetime | None = None
    received_at: datetime | None = None
    canceled_at: datetime | None = None
    has_report: bool = False
    group: str = ""
    expires_at: datetime | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    timeline: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Which records of an enrollment to list: those that match everything given.

    Attributes:
        states, request_types, origins, groups: any of these; empty for all.
        since, until: when the command was created, both times included.
        cursor: `next` of the page before, "" for the newest.
        limit: most records of the page.
    """

    states: frozenset[CommandState] = frozenset()
    request_types: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    cursor: str = ""
    limit: int = 100

    def page_start(self) -> int | None:
        """The sequence number below which the page begins, None for the newest. Raises: MalformedField."""
        if not self.cursor:
            return None
        if not _CURSOR.fullmatch(self.cursor):
            raise MalformedField("cursor", "must be the `next` of an earlier page")
        return int(self.cursor, 16)

    def fits(self, record: CommandRecord) -> bool:
        """Whether a record is wanted."""
        created_at = record.created_at
        return self.names(record.state, record.request_type, record.origin, record.group) and (
            (self.since is None or created_at >= self.since)
            and (self.until is None or created_at <= self.until)
        )

    def names(self, state: CommandState, request_type: str, origin: str, group: str) -> bool:
        """Whether a record with these is wanted, whatever its time."""
        return (
            (not self.states or state in self.states)
            and (not self.request_types or request_type in self.request_types)
            and (not self.origins or origin in self.origins)
            and (not self.groups or group in self.groups)
        )


@dataclass(frozen=True, slots=True)
class CommandPage:
    """Records, newest first; `next` is the cursor of the following page, "" after the last.

    A page may hold fewer records than the limit, or none, and yet not be the last.
    """

    records: list[CommandRecord]
    next: str = ""
