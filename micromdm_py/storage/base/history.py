"""Command records as administrators look at them, and their end: cancelling, expiry and retention."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from micromdm_py.storage.records import CommandFilter, CommandPage, CommandRecord, EnrollmentRecord

__all__ = ["CommandHistory"]


class CommandHistory(Protocol):
    """The records of commands, those in the queue and those that are done."""

    def find_target(self, name: str, *, user: bool) -> EnrollmentRecord:
        """The device (or with `user` the user channel) that a name means; `storage.targets` helps to choose.

        Both have their target id and enrollment id for names, devices also their serial number and IMEI, user
        channels also UserID and short name.

        Raises: NotFound; Conflict naming the choices when a name fits several.
        """
        ...

    def commands(self, api_id: str, wanted: CommandFilter) -> CommandPage:
        """A page of the records of one enrollment, newest first.

        How many records are read for it is limited, however many there are. A filter that wants open states
        alone reads open commands alone. Raises: NotFound; Conflict; MalformedField: cursor.
        """
        ...

    def command_bodies(self, command_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """(payload, raw report) of records that were just read; b"" for what is not there, or no longer."""
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
        """Delete up to `limit` commands that were done before a time, in that order; returns how many."""
        ...
