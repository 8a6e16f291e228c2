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
        command_uuid: free text; the same one twice is two commands.
        request_type: its kind.
        payload: the property list for the device, byte for byte.
        origin: who caused it (`from` of the record, one of `protocol.lifecycle.ORIGINS`).
        group: label that it shares with others, "" for its request type.
        supersede: replaces what is open of the same group for the same enrollment.
        expires_at: from then on it is withdrawn rather than handed out; None for never.
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
    """An idempotency key of a caller: the same key within 24 h brings the first answer again.

    Attributes:
        digest: SHA-256 over route and key.
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
        push_wanted: a push was scheduled with it; false also when one was due already.
        answer: the earlier answer of the same idempotency key, None when this is the first.
    """

    enrollment_id: str
    command_id: str
    push_wanted: bool
    answer: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Served:
    """What a connect brings.

    Attributes:
        payload: the next command, byte for byte as queued; b"" when there is none.
        command_uuid: its id, "" when there is none.
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
    """A line of a command's timeline.

    Attributes:
        at: when.
        name: `accepted`, `stored`, `pushed`, `push failed`, `connected`, `handed out`, `answered` or
            `withdrawn`.
        detail: APNs' id or reason, the status that the device sent, the state after a withdrawal.
        request_id: id of the request in which it happened, "" for none.
    """

    at: datetime
    name: str
    detail: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """The record of a command, kept after the command is done.

    Attributes:
        command_id: 24 hex digits: 4 bytes seconds, 8 bytes sequence number.
        command_uuid, request_type, origin: as queued.
        state: where it is in its life.
        tries: how often it was handed to the device.
        created_at, updated_at: always there.
        tried_at: last hand-out. sent_at: first push accepted by APNs. received_at: first answer.
        canceled_at: cancelled or withdrawn.
        has_report: whether the raw answer is kept.
        group: label that it shares with others, its request type by default.
        expires_at: when it is withdrawn, None for never.
        info: what is known of its origin.
        timeline: what happened to it, in order; of very many steps those in the middle are left out.
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
    """Which records of an enrollment to list: those that fit everything that is given.

    Attributes:
        states, request_types, origins, groups: any of; empty for all.
        since, until: when the command was created, both included.
        cursor: `next` of the page before, "" for the newest ones.
        limit: how many records at most.
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
            raise MalformedField("cursor", "is not one of this program")
        return int(self.cursor, 16)

    def fits(self, record: CommandRecord) -> bool:
        """Whether a record is one of those wanted."""
        created_at = record.created_at
        return self.names(record.state, record.request_type, record.origin, record.group) and (
            (self.since is None or created_at >= self.since)
            and (self.until is None or created_at <= self.until)
        )

    def names(self, state: CommandState, request_type: str, origin: str, group: str) -> bool:
        """Whether it wants these, whatever the time."""
        return (
            (not self.states or state in self.states)
            and (not self.request_types or request_type in self.request_types)
            and (not self.origins or origin in self.origins)
            and (not self.groups or group in self.groups)
        )


@dataclass(frozen=True, slots=True)
class CommandPage:
    """Records, newest first; `next` is the cursor of the following page, "" at the end.

    A page may hold fewer records than wanted, or none, and not be the last.
    """

    records: list[CommandRecord]
    next: str = ""
