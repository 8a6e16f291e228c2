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

        One that supersedes withdraws the open ones of its group (`Superseded`); it looks at all that wait.

        Raises: Conflict when a bare UserID belongs to several devices; MalformedField for the bare Shared
            iPad id.
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

        Applies `lifecycle.after_report` to the oldest unanswered command with that uuid (handed-out ones
        first), keeps the raw report with it, stores the event, and marks the served command as handed out
        (tries + 1).
        What is served: (a) a command handed out and unanswered, oldest first; (b) untouched commands by
        sequence; (c) refused ones, oldest refusal first, but not those refused since the last Idle and none
        after NotNow or an unknown status. Expired commands that come first are withdrawn.

        Raises: IdentityMismatch; Unenroll for a blocked device.
        """
        ...

    def waiting(self, api_id: str) -> list[WaitingCommand]:
        """Commands that will still be offered, in the order they were queued; [] for an unknown id."""
        ...

    def clear(self, api_id: str, *, at: datetime) -> int:
        """Cancel every waiting command; returns how many. An unknown id is 0."""
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
        """Whether a report may be answered with nothing without writing.

        Fits its binding, is an Idle, nothing waits.

        Only notes that the enrollment was seen. Raises: IdentityMismatch, Unenroll.
        """
        ...
