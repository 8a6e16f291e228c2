"""The queues of commands, one for each enrollment."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from micromdm_py.protocol.report import Report
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.records import (
    CommandRecord,
    Enqueued,
    Identity,
    NewEntry,
    Once,
    Served,
    WaitingCommand,
)

__all__ = ["ONCE_KEPT", "CommandQueue"]

ONCE_KEPT = timedelta(hours=24)
"""How long an idempotency key counts."""


class CommandQueue(Protocol):
    """Per-enrollment FIFO queues and the records of their commands."""

    def enqueue(
        self, api_id: str, entry: NewEntry, *, at: datetime, push: bool = True, once: Once | None = None
    ) -> Enqueued:
        """Append a command to the queue of an enrollment, known or not, and schedule a push for it.

        A command that supersedes withdraws the open ones of its group (`Superseded`); for that it looks at
        everything that waits. If `once` was used within `ONCE_KEPT`, nothing is queued and the result has the
        answer of that time.

        Raises: Conflict for a UserID that several devices have; MalformedField for the bare UserID of Shared
            iPads.
        """
        ...

    def enqueue_all(
        self,
        orders: Sequence[tuple[str, NewEntry]],
        *,
        at: datetime,
        push: bool = True,
        once: Sequence[Once | None] | None = None,
    ) -> list[Enqueued]:
        """Append several commands, each given with its API id, as `enqueue` would: all or none.

        `once` has as many entries as `orders`.
        """
        ...

    def record_report(
        self, report: Report, identity: Identity, event: Event | None, *, at: datetime, request_id: str = ""
    ) -> Served:
        """Take a report and hand out the next command, in one transaction.

        The report: `lifecycle.after_report` is applied to the oldest open command with its uuid, handed-out
        ones first, then refused ones, then untouched ones; if none is open, to the newest with that uuid. The
        first final answer is kept as received. The event is stored.

        The next command is the first of these, and is marked as handed out (tries + 1):

        1. handed out and unanswered, oldest first;
        2. untouched, in the order they were queued;
        3. refused with NotNow, oldest refusal first; but none that was refused since the last Idle, and none
           at all after a report of NotNow or of an unknown status.

        Expired commands that would be next are withdrawn.

        Raises: IdentityMismatch; Unenroll for a blocked device.
        """
        ...

    def waiting(self, api_id: str) -> list[WaitingCommand]:
        """Commands that will still be offered, in the order they were queued; [] for an unknown id."""
        ...

    def clear(self, api_id: str, *, at: datetime) -> int:
        """Cancel every waiting command; returns how many, 0 for an unknown id."""
        ...

    def command(self, api_id: str, command: str) -> CommandRecord:
        """The record of one command by its 24-hex id, or by its uuid (the newest of that uuid).

        Raises: NotFound.
        """
        ...

    def report_of(self, api_id: str, command: str) -> bytes:
        """The raw report kept for a command, b"" when there is none. Raises: NotFound."""
        ...

    def nothing_to_do(self, report: Report, identity: Identity, *, at: datetime) -> bool:
        """Whether a report needs no write and no answer: it is an Idle and nothing waits.

        False also when `record_report` has something to bind or to store. Only notes that the enrollment was
        seen; a crash may lose that. Raises: IdentityMismatch, Unenroll.
        """
        ...
