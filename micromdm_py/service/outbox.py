"""Deliver webhook events from the outbox, with one `Delivering` for each receiver."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from micromdm_py.errors import StorageUnavailable
from micromdm_py.protocol.delivery import DeliveryResult
from micromdm_py.service.backlog import MAX_TRIES, Backlog, Delivery, Progress
from micromdm_py.service.blocking import Blocking
from micromdm_py.storage.base import Outbox
from micromdm_py.storage.records import HeldEvent, StoredEvent

__all__ = ["Delivering", "SendEvent"]

SendEvent = Callable[[StoredEvent], Awaitable[DeliveryResult]]
"""Posts one event and returns the result; raises nothing for network errors."""

_log = logging.getLogger(__name__)
_SETTLE_AFTER = 64
_SETTLE_EVERY = timedelta(seconds=0.2)
_EXPIRE_EVERY = timedelta(seconds=60)
_LOOK_EVERY = timedelta(seconds=1)
"""How often to check whether a replay was asked for."""
_PAUSE_FAULT_S = 1.0
_IDLE_S = 5.0
_BUSY_S = 1.0
_PAGE = 256


class Delivering:
    """Delivers to one receiver, at least once: what was sent but not written down is sent again."""

    def __init__(
        self,
        receiver: str,
        label: str,
        *,
        store: Outbox,
        send: SendEvent,
        wants: Callable[[str], bool],
        retention: timedelta,
        slots: int,
        blocking: Blocking,
        now: Callable[[], datetime],
        draw: Callable[[], float],
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            receiver: name in the store.
            label: name for the log, without secrets.
            store: the outbox.
            send: posts one event.
            wants: tells whether the receiver gets events of a topic.
            retention: how long an event waits for a receiver that cannot be reached.
            slots: how many events may be on their way at once.
            blocking: runs calls of the store.
            now: current time, aware UTC.
            draw: gives a random number of [0, 1).
        """
        self._receiver, self._label, self._store, self._send = receiver, label, store, send
        self._wants, self._retention, self._slots = wants, retention, slots
        self._blocking, self._now, self._draw = blocking, now, draw
        self._backlog: Backlog | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._fault: BaseException | None = None
        self._more = True  # there may be events in the outbox that have not been read
        self._stopping = False
        self._unwritten = False  # the store could not write the progress
        self._written_at = self._expired_at = self._looked_at = now()

    def wake(self) -> None:
        """Look into the outbox now."""
        self._more = True
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; `wake` has to be called after setting it.

        A store that cannot write only delays it. Raises: whatever an error in the program raises.
        """
        try:
            while not stop.is_set():
                self._changed.clear()
                pause_s = await self.step()
                try:
                    await asyncio.wait_for(self._changed.wait(), pause_s)
                except TimeoutError:
                    self._more = True
        finally:
            await self._finish()

    async def step(self) -> float:
        """Do what can be done now; returns after how many seconds at the latest to call it again."""
        if self._fault:
            raise self._fault
        backlog = self._backlog or await self._open()
        try:
            if self._now() - self._looked_at >= _LOOK_EVERY:
                backlog = await self._replayed(backlog)
            await self._refill(backlog)
            now = self._now()
            if now - self._expired_at >= _EXPIRE_EVERY:
                await self._expire(backlog, now)
            if self._unwritten or self._settle_due(backlog, now):
                await self._settle(backlog)
            self._unwritten = False
        except StorageUnavailable as error:
            if not self._unwritten:
                _log.warning("webhook receiver %s: cannot write progress: %s", self._label, error)
            self._unwritten = True
            return _PAUSE_FAULT_S  # nothing more is sent meanwhile, as that could not be written down
        self._start_work(backlog)
        return self._pause_s(backlog, self._now())

    async def _open(self) -> Backlog:
        state = await self._blocking(lambda: self._store.receiver(self._receiver))
        backlog = Backlog(state.cursor, self._wants, self._draw)
        after = 0
        while held := await self._held_after(after, _PAGE):
            backlog.restore(held, self._now())
            after = held[-1].event.sequence
        self._backlog = backlog
        return backlog

    async def _replayed(self, backlog: Backlog) -> Backlog:
        """Begin again further back if a replay was asked for."""
        self._looked_at = self._now()
        state = await self._blocking(lambda: self._store.receiver(self._receiver))
        if state.replay_after is None:
            return backlog
        self._stopping = True  # lets what is on its way arrive first, so that nothing is sent out of order
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            self._stopping = False
        await self._settle(backlog)
        await self._blocking(lambda: self._store.begin_replay(self._receiver))
        _log.info("webhook receiver %s: sending again from %d on", self._label, state.replay_after)
        self._more = True
        return await self._open()

    def _held_after(self, after: int, limit: int) -> Awaitable[list[HeldEvent]]:
        return self._blocking(lambda: self._store.held_events(self._receiver, after, limit))

    async def _refill(self, backlog: Backlog) -> None:
        while self._more and (room := backlog.room()):
            self._more = False
            after, limit = backlog.read_to, room
            events = await self._blocking(lambda: self._store.events_after(after, limit))  # noqa: B023 - at once
            backlog.add(events)
            if len(events) == limit:
                self._more = True
                self._start_work(backlog)

    def _start_work(self, backlog: Backlog) -> None:
        for _ in range(min(self._slots - len(self._tasks), backlog.ready(self._now()))):
            task = asyncio.create_task(self._work(backlog))
            self._tasks.add(task)
            task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            self._fault = fault
        self._changed.set()

    async def _work(self, backlog: Backlog) -> None:
        while not self._stopping and (delivery := backlog.take(self._now())):
            event = delivery.event or await self._load(delivery)
            if event is None:
                backlog.skip(delivery)
                continue
            result = await self._send(event)
            if backlog.finish(delivery, event, result, self._now()):
                self._tell(backlog, result)
            if backlog.unsettled >= _SETTLE_AFTER or self._more:
                self._changed.set()

    async def _load(self, delivery: Delivery) -> StoredEvent | None:
        for held in await self._held_after(delivery.sequence - 1, 1):
            if held.event.sequence == delivery.sequence:
                return held.event
        return None

    def _tell(self, backlog: Backlog, result: DeliveryResult) -> None:
        if backlog.gate.closed:
            _log.warning("webhook receiver %s is unreachable: %s", self._label, result.error)
        else:
            _log.info("webhook receiver %s is reachable again", self._label)

    def _settle_due(self, backlog: Backlog, now: datetime) -> bool:
        if backlog.unsettled >= _SETTLE_AFTER:
            return True
        pending = backlog.changed or self._stuck(backlog)
        return pending and abs(now - self._written_at) >= _SETTLE_EVERY

    def _stuck(self, backlog: Backlog) -> bool:
        """Whether the memory is full while there are more events to read."""
        return self._more and not backlog.room() and not backlog.gate.closed

    async def _settle(self, backlog: Backlog) -> None:
        self._written_at = self._now()
        progress = backlog.progress(self._written_at)
        if not backlog.changed:
            return
        await self._blocking(lambda: self._write(progress))
        backlog.written(progress)
        if self._more and backlog.room():
            self._changed.set()
        for buried in progress.dead:
            _log.error(
                "webhook receiver %s: event %s (%s) given up %s: %s",
                self._label,
                buried.event.sequence,
                buried.event.event_topic,
                f"after {buried.tries} refusals" if buried.tries >= MAX_TRIES else "as too old",
                buried.error,
            )

    def _write(self, progress: Progress) -> None:
        self._store.settle(
            self._receiver,
            at=self._now(),
            cursor=progress.cursor,
            hold=progress.hold,
            release=progress.release,
            dead=progress.dead,
            succeeded=progress.succeeded,
            error=progress.error,
        )

    async def _expire(self, backlog: Backlog, now: datetime) -> None:
        before = now - self._retention
        while True:
            held = await self._held_after(0, _PAGE)
            if not backlog.expire(before, held, now):
                break
            await self._settle(backlog)
        self._expired_at = now

    def _pause_s(self, backlog: Backlog, now: datetime) -> float:
        pause = _IDLE_S if backlog.empty else _BUSY_S
        if (at := backlog.next_at()) is not None:
            pause = min(pause, max((at - now).total_seconds(), 0.01))
        if backlog.changed or self._stuck(backlog):
            pause = min(pause, _SETTLE_EVERY.total_seconds())
        return pause

    async def _finish(self) -> None:
        """Let what is on its way arrive for a while, then write down."""
        self._stopping = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=3.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._backlog and self._backlog.changed:
            try:
                await self._settle(self._backlog)
            except StorageUnavailable as error:
                _log.warning("webhook receiver %s: cannot write progress: %s", self._label, error)
