"""Why nothing happens with a device: one paragraph, and the facts behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509

from micromdm_py.errors import NotConfigured
from micromdm_py.protocol.jsonreply import json_reply, rfc3339
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.service.commands import check_api_id
from micromdm_py.service.push import find_target
from micromdm_py.storage.base import CommandHistory, Enrollments, PushBook
from micromdm_py.storage.records import CommandFilter, CommandRecord, EnrollmentRecord, PushTarget

__all__ = ["Finding", "Why", "WhyStore", "explain"]

MOST_WAITING = 1000
"""Most waiting commands that are counted."""
SOON = timedelta(days=30)
"""How long before its end a push certificate is mentioned."""


class WhyStore(Enrollments, PushBook, CommandHistory, Protocol):
    """What the findings need of the store."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of one enrollment.

    Attributes:
        record: the enrollment.
        push: its push data, None for none.
        expires_at: end of the push certificate of its topic, None if there is no certificate.
        waiting: open commands, oldest first.
        now: current time.
    """

    record: EnrollmentRecord
    push: PushTarget | None
    expires_at: datetime | None
    waiting: Sequence[CommandRecord]
    now: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found out about an enrollment, and what to do about it ("" for nothing)."""

    text: str
    advice: str = ""


class Why:
    """Looks at one enrollment from all sides."""

    def __init__(self, store: WhyStore, now: Callable[[], datetime]) -> None:
        """Look into `store`."""
        self._store, self._now = store, now

    def __call__(self, api_id: str) -> bytes:
        """The reply: `{"udid", "summary", "advice": […], "facts": {…}}`. Raises: NotFound, Conflict."""
        situation = self._situation(api_id)
        found = explain(situation)
        return json_reply(
            {
                "udid": situation.record.enrollment_id,
                "summary": " ".join(one.text for one in found),
                "advice": [one.advice for one in found if one.advice],
                "facts": _facts(situation),
            }
        )

    def findings(self, api_id: str) -> list[Finding]:
        """What is the matter with an enrollment. Raises: NotFound, Conflict."""
        return explain(self._situation(api_id))

    def _situation(self, api_id: str) -> Situation:
        record = self._store.enrollment(check_api_id("udid", api_id))
        open_ones = CommandFilter(states=OPEN_STATES, limit=MOST_WAITING)
        waiting = self._store.commands(record.enrollment_id, open_ones).records[::-1]
        push = find_target(self._store, record.enrollment_id)
        expires_at = self._expiry(push.topic) if push else None
        return Situation(record, push, expires_at, waiting, self._now())

    def _expiry(self, topic: str) -> datetime | None:
        try:
            found = self._store.push_certificate(topic)
        except NotConfigured:
            return None
        return x509.load_pem_x509_certificate(found.certificate).not_valid_after_utc


def explain(situation: Situation) -> list[Finding]:
    """What is the matter with an enrollment, its pushes and its queue, in this order."""
    return [*_enrollment(situation), *_pushing(situation), *_queue(situation)]


def _enrollment(s: Situation) -> list[Finding]:
    record = s.record
    if record.blocked:
        return [
            Finding(
                "The device is blocked: its connects are refused and it drops its enrollment.",
                "Lift the block with POST /v1/devices/{udid}/unblock, then enroll it again.",
            )
        ]
    if record.kind is None:
        return [
            Finding(
                "No device with this id has contacted the server yet; commands wait until one does.",
                "Check the id. If it is right, enroll the device.",
            )
        ]
    if not record.kind.is_user_channel and not record.enrolled:
        begun = record.authenticated_at is not None and record.token_update_at is None
        text = (
            "The device has begun to enroll (Authenticate) but sent no TokenUpdate."
            if begun
            else "The device is not enrolled: it has checked out, or is enrolling anew."
        )
        return [Finding(text, "Enroll it again; commands wait until the next Authenticate withdraws them.")]
    return [Finding(f"Last contact: {rfc3339(record.last_seen_at) if record.last_seen_at else 'never'}.")]


NO_TOPIC = "It has enrolled while there was no push certificate, and so has no topic."


def _no_certificate(topic: str) -> Finding:
    if not topic:
        return Finding(
            NO_TOPIC,
            "Upload the push certificate (PUT /v1/config/certificate), then enroll the device again.",
        )
    return Finding(
        f"There is no push certificate for its topic {topic}.",
        "Upload the push certificate of that topic (PUT /v1/config/certificate).",
    )


def _pushing(s: Situation) -> list[Finding]:
    push = s.push
    if push is None:
        return [
            Finding("It has sent no push token, so it cannot be woken.", "Wait for its next TokenUpdate.")
        ]
    if s.expires_at is None:
        return [_no_certificate(push.topic)]
    if s.expires_at <= s.now:
        return [
            Finding(
                f"The push certificate expired at {rfc3339(s.expires_at)}.",
                "Renew it with the same Apple account, so that the topic stays, and upload it.",
            )
        ]
    found = []
    if push.dead_at:
        found.append(
            Finding(
                f"APNs refuses its push token for good since {rfc3339(push.dead_at)}: {push.dead_reason}.",
                "The device has removed the enrollment or was erased; it is woken again after a TokenUpdate.",
            )
        )
    elif push.last and not push.last.accepted:
        found.append(
            Finding(
                f"The last push failed at {rfc3339(push.last.at)}: {push.last.reason}.",
                "It is tried again by itself; check that the server reaches APNs.",
            )
        )
    elif push.last:
        found.append(Finding(f"APNs accepted the last push at {rfc3339(push.last.at)}."))
    if not push.topic and not (push.last and push.last.accepted):
        found.append(Finding(NO_TOPIC, "There is a certificate now: enroll the device again."))
    if s.expires_at - s.now < SOON:
        days = (s.expires_at - s.now).days
        found.append(Finding(f"The push certificate expires in {days} days.", "Renew it in time."))
    return found


def _queue(s: Situation) -> list[Finding]:
    if not s.waiting:
        return [Finding("Nothing waits: every command has been answered or withdrawn.")]
    count = len(s.waiting)
    many = (
        f"{count}{' or more' if count == MOST_WAITING else ''} command{'s wait' if count > 1 else ' waits'}"
    )
    head = _head(s.waiting)
    name = f"{head.request_type} {head.command_uuid}"
    if head.state is CommandState.AWAITING and head.tried_at:
        return [
            Finding(
                f"{many}; {name} was handed out {head.tries} times, last at {rfc3339(head.tried_at)}, and is"
                " not answered yet.",
                "The device gets it again at its next connect; cancel it if it never answers.",
            )
        ]
    if all(one.state is CommandState.TRIED for one in s.waiting):
        return [
            Finding(
                f"{many}, all put off by the device with NotNow.",
                "Usually it is locked or busy; they are offered again from its next Idle on.",
            )
        ]
    since = s.push.last.at if s.push and s.push.last and s.push.last.accepted else None
    if since and (s.record.last_seen_at is None or s.record.last_seen_at < since):
        return [
            Finding(
                f"{many}, the oldest {name}; it was pushed and has not come since.",
                "It is off, asleep or without a network; APNs keeps the push for it.",
            )
        ]
    return [Finding(f"{many}, the oldest {name}.")]


def _head(waiting: Sequence[CommandRecord]) -> CommandRecord:
    """What is handed out next."""
    order = {CommandState.AWAITING: 0, CommandState.PENDING: 1, CommandState.TRIED: 2}
    return min(waiting, key=lambda one: (order[one.state], one.command_id))


def _facts(s: Situation) -> dict[str, object]:
    record, push = s.record, s.push
    facts: dict[str, object] = {
        "enrolled": record.enrolled,
        "blocked": record.blocked,
        "certificate_bound": bool(record.fingerprint),
        "waiting": len(s.waiting),
        "not_now": sum(one.state is CommandState.TRIED for one in s.waiting),
    }
    if record.last_seen_at:
        facts["last_seen_at"] = rfc3339(record.last_seen_at)
    if s.waiting:
        head = _head(s.waiting)
        facts["head"] = {
            "id": head.command_id,
            "command_uuid": head.command_uuid,
            "request_type": head.request_type,
            "status": head.state.value,
            "tries": head.tries,
            "created_at": rfc3339(head.created_at),
        }
    if push:
        facts["topic"] = push.topic
        facts["topic_has_certificate"] = s.expires_at is not None
        if s.expires_at:
            facts["push_certificate_expires_at"] = rfc3339(s.expires_at)
        if push.last:
            facts["last_push"] = {
                "at": rfc3339(push.last.at),
                "accepted": push.last.accepted,
                "apns_id": push.last.apns_id,
                "reason": push.last.reason,
            }
        if push.due_at:
            facts["next_push_at"] = rfc3339(push.due_at)
    return facts
