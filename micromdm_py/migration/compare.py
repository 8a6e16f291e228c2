"""Two servers side by side: what they know of enrollments, keys and documents, in few words."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from micromdm_py.protocol.lifecycle import OPEN_STATES
from micromdm_py.storage.records import PushCertificate
from micromdm_py.storage.transfer import (
    Moved,
    MovedAuthority,
    MovedCertificate,
    MovedDocument,
    MovedEnrollment,
)

__all__ = ["Known", "Summary", "differences", "summarize"]

COMPARED_KINDS = ("profile", "blueprint", "user", "dep-token", "dep-key", "dep-autoassigner")
_TIME_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Known:
    """What counts about one enrollment.

    Attributes:
        kind: of the enrollment, "" for an id that only has a queue.
        topic: of its push data, "" without any.
        fingerprint: of its certificate, b"" while none is bound.
        waiting: how many commands wait.
        blocked: whether it is refused.
        gone: the device has checked out, or never finished enrolling.
        seen: whether it has come since it has been in the store.
    """

    kind: str
    topic: str
    fingerprint: bytes
    waiting: int
    blocked: bool
    gone: bool
    seen: bool


@dataclass(slots=True)
class Summary:
    """A server.

    Attributes:
        enrollments: by id.
        authority: SHA-256 of the SCEP authority, "" without one.
        next_serial: of the authority.
        issued: SHA-256 of each certificate it knows.
        topics: of push certificates.
        documents: names by kind, of those kinds that both servers have.
    """

    enrollments: dict[str, Known] = field(default_factory=dict)
    authority: str = ""
    next_serial: int = 0
    issued: set[bytes] = field(default_factory=set)
    topics: set[str] = field(default_factory=set)
    documents: dict[str, set[str]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many commands wait in all queues together."""
        return sum(one.waiting for one in self.enrollments.values())

    @property
    def seen(self) -> int:
        """How many enrollments have come."""
        return sum(one.seen for one in self.enrollments.values())

    @property
    def awaited(self) -> list[str]:
        """Ids of enrollments that are to come and have not yet."""
        found = self.enrollments.items()
        return [name for name, one in found if one.topic and not (one.seen or one.blocked or one.gone)]


def summarize(content: Iterable[Moved]) -> Summary:
    """Read a server's content to its end."""
    found = Summary()
    for one in content:
        if isinstance(one, MovedEnrollment):
            found.enrollments[one.record.enrollment_id] = _known(one)
        elif isinstance(one, MovedAuthority):
            found.authority = hashlib.sha256(one.certificate).hexdigest()
            found.next_serial = one.next_serial
        elif isinstance(one, MovedCertificate):
            found.issued.add(hashlib.sha256(one.certificate).digest())
        elif isinstance(one, PushCertificate):
            found.topics.add(one.topic)
        elif isinstance(one, MovedDocument) and one.kind in COMPARED_KINDS:
            found.documents.setdefault(one.kind, set()).add(one.name)
    return found


def _known(one: MovedEnrollment) -> Known:
    record = one.record
    waiting = Counter(command.state in OPEN_STATES for command in one.commands)[True]
    topic = one.push.topic if one.push else ""
    seen = record.last_seen_at is not None and record.last_seen_at > _since(record.target_id)
    gone = record.listed and not record.enrolled
    return Known(str(record.kind or ""), topic, record.fingerprint, waiting, record.blocked, gone, seen)


def _since(target_id: str) -> datetime:
    """Since when an enrollment has been in its store; what has no store yet has been seen by nobody."""
    if not target_id:
        return datetime.max.replace(tzinfo=UTC)
    return datetime.fromtimestamp(int(target_id[:_TIME_DIGITS], 16), UTC)


def differences(old: Summary, new: Summary) -> Iterator[str]:
    """What the new server lacks or has otherwise, a line each.

    Queues of enrollments that have come to the new server are left out: they are served, and so change.
    """
    for name, was in old.enrollments.items():
        yield from (f"{name}: {line}" for line in _changes(was, new.enrollments.get(name)))
    if old.authority and old.authority != new.authority:
        yield "the SCEP authority is another one: devices could not renew their certificates"
    elif old.next_serial > new.next_serial:
        yield f"the next serial number is {new.next_serial}, the old server is at {old.next_serial} already"
    if missing := len(old.issued - new.issued):
        yield f"{missing} certificates that the old server has issued are missing"
    for topic in sorted(old.topics - new.topics):
        yield f"the push certificate of {topic} is missing"
    for kind, names in old.documents.items():
        for name in sorted(names - new.documents.get(kind, set())):
            yield f"{kind.replace('-', ' ')} {name} is missing"


def _changes(was: Known, now: Known | None) -> Iterator[str]:
    if now is None:
        yield "is not in the store"
        return
    if was.kind and was.kind != now.kind:
        yield f"was a {was.kind}, is a {now.kind or 'queue only'}"
    if was.fingerprint and was.fingerprint != now.fingerprint and not now.seen:
        yield "is bound to another certificate"
    if was.topic and was.topic != now.topic:
        yield f"had the push topic {was.topic}, has {now.topic or 'none'}"
    if was.blocked != now.blocked:
        yield "was blocked, and is not any more" if was.blocked else "was not blocked, and is now"
    if was.waiting != now.waiting and not now.seen:
        yield f"had {was.waiting} commands waiting, has {now.waiting}"
