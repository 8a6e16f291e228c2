"""Command records as administrators look at them: what a store offers, and the values it takes and gives."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from micromdm_py.errors import Conflict, MalformedField, NotFound
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.records import CommandRecord, EnrollmentRecord

__all__ = ["CommandFilter", "CommandHistory", "CommandPage", "choose_target", "plain_imei", "read_cursor"]


_CURSOR = re.compile("[0-9a-f]{16}")


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


class CommandHistory(Protocol):
    """The records of commands, those in the queue and those that are done."""

    def find_target(self, name: str, *, user: bool) -> EnrollmentRecord:
        """The device (or with `user` the user channel) that a name means.

        Names of both are the 24-hex target id and the enrollment id; of devices also serial number and IMEI;
        of user channels also UserID and short name.
        Raises: NotFound; Conflict naming the choices when a name fits several.
        """
        ...

    def commands(self, api_id: str, wanted: CommandFilter) -> CommandPage:
        """A page of the records of one enrollment.

        Costs what is looked at, which is limited; not what there ever was. A filter for open states looks at
        open commands only. Raises: NotFound; Conflict; MalformedField: cursor.
        """
        ...

    def command_bodies(self, command_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """(payload, raw report) of records that were just read; b"" for what is not (any more) there."""
        ...

    def cancel(self, api_id: str, command: str, *, at: datetime, request_id: str = "") -> CommandRecord:
        """Withdraw one open command; `command` as in `CommandQueue.command`.

        Raises: NotFound; Conflict; CommandDone when it is in a final state.
        """
        ...

    def expire_commands(self, *, at: datetime, limit: int) -> int:
        """Withdraw up to `limit` open commands that have expired (`ProtectionCanceled`); returns how many."""
        ...

    def forget_commands(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` commands that were done before a time, oldest first; returns how many."""
        ...


def plain_imei(text: str) -> str:
    """An IMEI without the spaces that devices send."""
    return text.replace(" ", "")


def choose_target(name: str, records: Iterable[EnrollmentRecord], *, user: bool) -> EnrollmentRecord:
    """The record that a name means, among those that may be meant: see `CommandHistory.find_target`."""
    of_kind = [record for record in records if name and record.is_user_channel is user]
    for fits in _USER_NAMES if user else _DEVICE_NAMES:
        found = [record for record in of_kind if fits(record, name)]
        if len(found) > 1:
            choices = ", ".join(sorted(record.enrollment_id for record in found))
            raise Conflict(f"{name} has several enrollments: {choices}")
        if found:
            return found[0]
    raise NotFound(f"not found: enrollment {name}")


_Fits = Callable[[EnrollmentRecord, str], bool]
_IDS: tuple[_Fits, ...] = (
    lambda record, name: record.target_id == name.lower(),
    lambda record, name: record.enrollment_id == name,
)
_DEVICE_NAMES: tuple[_Fits, ...] = (
    *_IDS,
    lambda record, name: record.serial_number == name,
    lambda record, name: plain_imei(record.facts.get("imei", "")) == plain_imei(name),
)
_USER_NAMES: tuple[_Fits, ...] = (
    *_IDS,
    lambda record, name: record.user_id == name,
    lambda record, name: record.user_short_name == name,
)


def read_cursor(text: str) -> int | None:
    """The sequence number in a cursor, None for "". Raises: MalformedField."""
    if not text:
        return None
    if not _CURSOR.fullmatch(text):
        raise MalformedField("cursor", "is not one of this program")
    return int(text, 16)
