"""Make the pushes that are due: the courier's part of `service.push`."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from micromdm_py.errors import NotConfigured, StorageUnavailable
from micromdm_py.protocol.apns import Fate, InvalidPushToken, PushReply, push_request
from micromdm_py.service.backoff import Backoff, Gate
from micromdm_py.service.blocking import Blocking
from micromdm_py.service.push import AsyncPushSender, find_certificate, outcome_of
from micromdm_py.storage.base import PushBook
from micromdm_py.storage.records import DuePush, PushCertificate, PushOutcome

__all__ = ["PushLimits", "Pushing"]

NOBODY = Backoff(1.25, 2.0, 300.0)
"""While APNs serves no push, or refuses the certificate; another certificate ends the wait at once."""

_log = logging.getLogger(__name__)
_IDLE_S = 5.0
_BUSY_S = 1.0


@dataclass(frozen=True, slots=True)
class PushLimits:
    """Limits of the courier's pushes, so that an outage does not end in a storm.

    Attributes:
        at_once: most pushes on their way at the same time.
        per_second: most pushes begun within a second.
    """

    at_once: int = 64
    per_second: int = 500


class Pushing:
    """Makes the pushes that are due; there is at most one for each enrollment."""

    def __init__(
        self,
        book: PushBook,
        send: AsyncPushSender,
        *,
        blocking: Blocking,
        now: Callable[[], datetime],
        draw: Callable[[], float],
        limits: PushLimits | None = None,
    ) -> None:
        """Prepare; `blocking`, `now` and `draw` as in `service.outbox.Delivering`."""
        self._book, self._send, self._blocking = book, send, blocking
        self._now, self._draw, self._limits = now, draw, limits or PushLimits()
        self._gate = Gate(NOBODY, draw)
        self._failed_with: PushCertificate | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by enrollment
        self._changed = asyncio.Event()
        self._fault: BaseException | None = None
        self._more = self._told_missing = False
        self._second, self._begun = now(), 0

    def wake(self) -> None:
        """Look for due pushes now."""
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Push until `stop` is set; `wake` has to be called after setting it."""
        try:
            while not stop.is_set():
                self._changed.clear()
                pause_s = await self.step()
                try:
                    await asyncio.wait_for(self._changed.wait(), pause_s)
                except TimeoutError:
                    continue
        finally:
            await self._finish()

    async def step(self) -> float:
        """Begin what may begin now; returns after how many seconds at the latest to call it again."""
        if self._fault:
            raise self._fault
        await self._watch_certificate()
        now = self._now()
        room = self._room(now)
        if not room:
            return self._pause_s(now, None)
        limit = len(self._tasks) + room
        due, next_at = await self._blocking(lambda: self._book.due_pushes(at=now, limit=limit))
        self._more = len(due) >= limit
        fresh = [one for one in due if one.target.enrollment_id not in self._tasks][:room]
        certificates = await self._find({one.target.topic for one in fresh})
        if certificates is None:
            return _IDLE_S
        for one in fresh:
            self._begin(one, certificates[one.target.topic])
        return self._pause_s(now, next_at)

    async def _watch_certificate(self) -> None:
        """Open the gate if it is closed and the certificate, which may be the cause, was replaced."""
        failed = self._failed_with
        if failed is None or not self._gate.closed:
            return
        found = await self._find({failed.topic})
        if found and found[failed.topic] != failed:
            self._failed_with = None
            self._gate.answered()

    async def _find(self, topics: set[str]) -> dict[str, PushCertificate] | None:
        """Certificates of topics, None while none is stored; read each time, as a new one counts at once."""

        def read() -> dict[str, PushCertificate]:
            return {topic: find_certificate(self._book, topic) for topic in topics}

        try:
            found = await self._blocking(read)
        except NotConfigured:
            if not self._told_missing:
                _log.warning("pushes wait: no push certificate is stored")
            self._told_missing = True
            return None
        self._told_missing = False
        return found

    def _room(self, now: datetime) -> int:
        """How many pushes may begin now."""
        if not self._gate.passes(now):
            return 0
        if abs(now - self._second) >= timedelta(seconds=1):
            self._second, self._begun = now, 0
        room = min(self._limits.at_once - len(self._tasks), self._limits.per_second - self._begun)
        return min(room, 1) if self._gate.closed else room

    def _pause_s(self, now: datetime, next_at: datetime | None) -> float:
        pause = _BUSY_S if self._tasks or self._more else _IDLE_S
        if self._gate.next_try_at:
            wait = self._gate.next_try_at - now
        elif next_at:
            wait = next_at - now
        else:
            return pause
        return min(pause, max(wait.total_seconds(), 0.05))

    def _begin(self, due: DuePush, certificate: PushCertificate) -> None:
        enrollment_id = due.target.enrollment_id
        self._begun += 1
        self._gate.begin()
        task = asyncio.create_task(self._push(due, certificate))
        self._tasks[enrollment_id] = task
        task.add_done_callback(lambda _: self._ended(enrollment_id, task))

    def _ended(self, enrollment_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[enrollment_id]
        if not task.cancelled() and (fault := task.exception()):
            self._fault = fault
        few = len(self._tasks) <= self._limits.at_once // 2
        if not self._tasks or (few and self._more) or self._fault:
            self._changed.set()

    async def _push(self, due: DuePush, certificate: PushCertificate) -> None:
        target = due.target
        try:
            request = push_request(target.token_hex, target.push_magic, certificate.topic)
        except InvalidPushToken as error:
            self._gate.withdraw()
            await self._record(due, PushOutcome(self._now(), False, reason=str(error)))
            return
        reply = await self._send(certificate, request)
        self._judge(target.enrollment_id, certificate, reply)
        await self._record(due, outcome_of(reply, target, self._now(), self._draw))

    def _judge(self, enrollment_id: str, certificate: PushCertificate, reply: PushReply) -> None:
        """Open or close the gate, as the reply may concern all pushes."""
        now = self._now()
        locked_out = reply.fate is Fate.LOCKED_OUT
        if locked_out or reply.fate is Fate.DOWN:
            self._failed_with = certificate
            if self._gate.failed(enrollment_id, now, reply.retry_after_s, for_all=locked_out):
                what = (
                    f"refuses the push certificate of {certificate.topic}"
                    if locked_out
                    else "does not serve us"
                )
                _log.error("APNs %s: %s", what, reply.reason)
        else:
            if self._gate.answered():
                _log.info("APNs serves us again")
            if reply.fate is not Fate.ACCEPTED:
                _log.warning("push to %s refused: %s", enrollment_id, reply.reason)

    async def _record(self, due: DuePush, outcome: PushOutcome) -> None:
        """Write a result down, however long it takes; until then the push counts as on its way."""
        while True:
            try:
                await self._blocking(lambda: self._book.record_push(due, outcome))
                return
            except StorageUnavailable as error:
                _log.warning("the result of a push cannot be written: %s", error)
                await asyncio.sleep(_BUSY_S)

    async def _finish(self) -> None:
        """Let what is on its way arrive for a while."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=3.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
