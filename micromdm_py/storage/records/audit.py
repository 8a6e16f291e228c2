"""The audit log."""

from dataclasses import dataclass
from datetime import datetime

__all__ = ["AuditEntry", "AuditPage"]


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
class AuditPage:
    """A part of the audit log.

    Attributes:
        entries: newest first.
        next: number that the next page begins below, 0 when there is none.
    """

    entries: list[AuditEntry]
    next: int = 0
