"""The audit log."""

from dataclasses import dataclass
from datetime import datetime

__all__ = ["AuditEntry", "AuditPage"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that an administrator, or a program of theirs, has changed.

    Attributes:
        sequence: its number in the audit log, given by the store; 0 before it is stored.
        at: when.
        who: name of the caller's token, or `api-key`.
        action: the permission it took, `mdm.apple.command.create` for instance.
        target: what was changed: ids or names, "" if that cannot be said.
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
        next: the sequence number below which the next page begins, 0 after the last.
    """

    entries: list[AuditEntry]
    next: int = 0
