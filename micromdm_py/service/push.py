"""Pushes: what all of them need, and those made on request; `service.pushing` makes those that are due."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from micromdm_py.errors import (
    Conflict,
    NotConfigured,
    NotFound,
    StorageUnavailable,
    TokenDead,
    UpstreamFailed,
)
from micromdm_py.protocol.apns import Fate, InvalidPushToken, PushReply, PushRequest, push_request
from micromdm_py.service.backoff import Backoff
from micromdm_py.service.slots import Slots
from micromdm_py.storage.base import PushBook
from micromdm_py.storage.records import DuePush, PushCertificate, PushOutcome, PushTarget

__all__ = [
    "MAX_SILENT",
    "AsyncPushSender",
    "PushNow",
    "PushSender",
    "find_certificate",
    "find_target",
    "outcome_of",
]

RETRY = Backoff(1.25, 2.0, 900.0)
SILENT = Backoff(900.0, 3.0, 86_400.0)
"""Between pushes to a device that stays silent although commands wait for it."""
MAX_SILENT = 14
"""Most pushes to a silent device, within about eleven days. The next command or check-in begins anew."""

_log = logging.getLogger(__name__)


class PushSender(Protocol):
    """Sends one push and waits for the answer; raises nothing for network errors."""

    def __call__(self, certificate: PushCertificate, request: PushRequest) -> PushReply:
        """Send with this certificate."""
        ...


class AsyncPushSender(Protocol):
    """The same for an event loop."""

    def __call__(self, certificate: PushCertificate, request: PushRequest) -> Awaitable[PushReply]:
        """Send with this certificate."""
        ...


def find_target(book: PushBook, enrollment_id: str) -> PushTarget | None:
    """The push data of an enrollment, None when it has none."""
    try:
        return book.push_target(enrollment_id)
    except NotFound:
        return None


def find_certificate(book: PushBook, topic: str) -> PushCertificate:
    """The certificate of a topic, else the current one, with which APNs will refuse the push and say why.

    Raises: NotConfigured when there is none at all.
    """
    try:
        return book.push_certificate(topic)
    except NotConfigured:
        return book.push_certificate()


def outcome_of(reply: PushReply, target: PushTarget, at: datetime, draw: Callable[[], float]) -> PushOutcome:
    """What to keep of a reply: the result, and when to push again.

    Args:
        reply: APNs' answer, or the network error.
        target: whom the push was for.
        at: time of the answer.
        draw: gives a random number of [0, 1).
    """
    if reply.fate is Fate.ACCEPTED:
        repeat = target.silent < MAX_SILENT
        again_at = at + SILENT.delay(target.silent + 1, draw) if repeat else None
        return PushOutcome(at, True, reply.apns_id, again_at=again_at)
    if reply.fate in (Fate.DEAD, Fate.REFUSED):
        return PushOutcome(at, False, reply.apns_id, reply.reason, dead=reply.fate is Fate.DEAD)
    wait = max(RETRY.delay(target.attempts + 1, draw), timedelta(seconds=reply.retry_after_s))
    return PushOutcome(at, False, reply.apns_id, reply.reason, retry_at=at + wait)


class PushNow:
    """Makes a push on request, and waits for APNs' answer."""

    def __init__(
        self,
        book: PushBook,
        send: PushSender,
        slots: int,
        *,
        now: Callable[[], datetime],
        draw: Callable[[], float],
    ) -> None:
        """Allow `slots` calls at once; `now` gives aware UTC, `draw` a random number of [0, 1)."""
        self._book, self._send, self._now, self._draw = book, send, now, draw
        self._slots = Slots(slots, "too many pushes on request at the moment")

    def __call__(self, api_id: str, expiration: int | None = None) -> str:
        """Push to an enrollment and return APNs' id of the push.

        Args:
            api_id: as in `storage.base`.
            expiration: until when APNs may keep the push, in seconds since 1970; None for APNs' default.

        Raises: NotFound without push data; Conflict for an ambiguous id or an invalid token; TokenDead;
            NotConfigured without a certificate; Busy; UpstreamFailed with APNs' reason.
        """
        try:
            due = self._book.due_push(api_id)
        except NotFound:
            raise NotFound(f"retrieving PushInfo by UDID: not found: PushInfo udid {api_id}") from None
        target = due.target
        if target.dead_at:
            raise TokenDead(
                f"push token refused since {target.dead_at:%Y-%m-%dT%H:%M:%SZ}: {target.dead_reason}"
            )
        certificate = find_certificate(self._book, target.topic)
        try:
            request = push_request(target.token_hex, target.push_magic, certificate.topic, expiration)
        except InvalidPushToken as error:
            raise Conflict(str(error)) from None
        with self._slots:
            reply = self._send(certificate, request)
        self._record(due, reply)
        if reply.fate is not Fate.ACCEPTED:
            raise UpstreamFailed(f"push refused: {reply.reason}")
        return reply.apns_id

    def _record(self, due: DuePush, reply: PushReply) -> None:
        try:
            self._book.record_push(due, outcome_of(reply, due.target, self._now(), self._draw))
        except StorageUnavailable as error:
            _log.warning("the result of a push cannot be written: %s", error)  # it was made all the same
