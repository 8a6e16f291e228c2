"""The courier: the one process that does all outgoing work. A part that fails does not stop the others."""

import asyncio
import contextlib
import importlib.util
import logging
import random
import secrets
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from micromdm_py.net import wakeup
from micromdm_py.net.apns import AsyncApnsSender
from micromdm_py.net.dep import AsyncDepClient, DepSessions
from micromdm_py.net.tls_context import outgoing_context
from micromdm_py.net.webhook import WebhookSender
from micromdm_py.protocol.webhook import wants
from micromdm_py.receivers import WebhookTarget
from micromdm_py.service.blocking import Blocking
from micromdm_py.service.cleaning import Cleaner
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.schedule import DepSyncing
from micromdm_py.service.outbox import Delivering
from micromdm_py.service.pushing import Pushing
from micromdm_py.storage.base import Store

__all__ = ["CourierSettings", "clock_steps_back", "run", "serve"]

T = TypeVar("T")
Part = Callable[[asyncio.Event], Awaitable[None]]
"""One independent part of the work, which runs until the event is set."""
Bells = list[Callable[[], None]]
"""What to call when another process has left work: each wakes one part."""

_log = logging.getLogger(__name__)
_SLOTS = 16
_STORE_THREADS = 4
"""Several, so that simultaneous writes share one commit."""
_CLEAN_EVERY_S = 5.0
_LEASE_EVERY_S = 1.0
_CLOCK_EVERY_S, _CLOCK_STEP_S = 2.0, 30.0
"""How often the clock is checked, and how far it may be set back before everything is started anew."""
_SHORTEST_RECORD = timedelta(minutes=1)
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class CourierSettings:
    """The courier's settings.

    Attributes:
        socket_path: its wake-up socket (`net.wakeup`), in the configuration folder.
        user_agent: User-Agent of all its calls.
        targets: webhook receivers.
        headers: extra headers for all receivers.
        hmac_key: key that signs events, b"" for none.
        webhook_retention: how long events wait for a receiver that is unreachable.
        event_retention: how long events are kept for readers of the feed.
        command_retention: how long finished commands are kept; at least a minute, for callers that wait.
        audit_retention: how long entries of the audit log are kept, None for ever.
        apns_url: URL of the push service.
        apns_ca_file: PEM file of its authority, "" for the usual ones.
        dep_url: URL of Apple's device assignment service.
        depsim: URL of a simulator of it, "" for none.
    """

    socket_path: Path
    user_agent: str
    targets: tuple[WebhookTarget, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    hmac_key: bytes = field(default=b"", repr=False)
    webhook_retention: timedelta = timedelta(days=7)
    event_retention: timedelta = timedelta(0)
    command_retention: timedelta = timedelta(days=90)
    audit_retention: timedelta | None = None
    apns_url: str = "https://api.push.apple.com"
    apns_ca_file: str = ""
    dep_url: str = "https://mdmenrollment.apple.com"
    depsim: str = ""


def run(store: Store, settings: CourierSettings, stop: threading.Event) -> None:
    """Do the courier's work until `stop` is set, starting anew whenever the clock has been set back.

    Waits while another courier holds the store's lease. Calls in progress when the event is set get three
    seconds to finish.

    Args:
        store: the store, opened in this process.
        settings: what to do.
        stop: may be set from any thread.
    """
    if importlib.util.find_spec("sniffio") is None:
        # httpcore tries to import it several times in each request, which costs 0.2 ms a time.
        sys.modules["sniffio"] = None  # type: ignore[assignment]  # documented: makes the import fail at once
    while not stop.is_set():
        with store.lease("courier") as held:
            if held:
                asyncio.run(_until(store, settings, stop))
                continue
        _log.info("another courier works on this store; waiting")
        stop.wait(_LEASE_EVERY_S)


async def _until(store: Store, settings: CourierSettings, stop: threading.Event) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def watch() -> None:
        stop.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stopped.set)

    threading.Thread(target=watch, name="stop", daemon=True).start()
    watching = asyncio.create_task(_stop_at_step_back(stopped))
    try:
        await serve(store, settings, stopped)
    finally:
        watching.cancel()


async def _stop_at_step_back(stopped: asyncio.Event) -> None:
    await clock_steps_back()
    _log.warning("the clock was set back: starting anew, since all planned times now lie too far ahead")
    stopped.set()


async def clock_steps_back(
    now: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Return when the clock has been set back.

    Args:
        now: the wall clock, in seconds.
        steady: a clock that nobody can set, in seconds.
        pause: waits that many seconds.
    """
    ahead = now() - steady()
    while True:
        await pause(_CLOCK_EVERY_S)
        before, ahead = ahead, now() - steady()
        if before - ahead > _CLOCK_STEP_S:
            return


async def serve(store: Store, settings: CourierSettings, stop: asyncio.Event) -> None:
    """Do the courier's work in this event loop until `stop` is set; the caller holds the lease."""
    with ThreadPoolExecutor(_STORE_THREADS, "store") as pool:
        blocking: Blocking = partial(_in_thread, asyncio.get_running_loop(), pool)
        bells: Bells = []
        parts: list[tuple[str, Part]] = []
        targets = _merge(settings.targets)
        for target in targets:
            part = partial(_deliver, store, settings, target, blocking, bells)
            parts.append((f"webhook {target.label}", part))
        parts.append(("push", partial(_push, store, settings, blocking, bells)))
        parts.append(("dep", partial(_synchronize, store, settings, blocking, bells)))
        parts.append(("clean-up", partial(_clean, store, settings, [one.url for one in targets], blocking)))
        with _listening(settings.socket_path, bells):
            work = [asyncio.create_task(_supervise(name, part, stop)) for name, part in parts]
            await stop.wait()
            for bell in bells:
                bell()
            await asyncio.gather(*work)


async def _in_thread(loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await loop.run_in_executor(pool, call)


def _merge(targets: tuple[WebhookTarget, ...]) -> list[WebhookTarget]:
    """Merge targets with the same URL, since a receiver's state is kept by URL, and unite their topics."""
    merged: dict[str, WebhookTarget] = {}
    for target in targets:
        other = merged.get(target.url, target)
        topics = target.topics | other.topics if target.topics and other.topics else frozenset[str]()
        merged[target.url] = WebhookTarget(target.url, topics)
    return list(merged.values())


@contextlib.contextmanager
def _listening(path: Path, bells: Bells) -> Iterator[None]:
    """Ring all bells on a wake-up; without a socket the parts look for work every few seconds."""
    loop = asyncio.get_running_loop()

    def ring() -> None:
        for bell in bells:
            bell()

    try:
        listener = wakeup.listen(path)
    except OSError as fault:
        _log.warning("no wake-up socket, new work is found by polling only: %s", fault.strerror)
        yield
        return
    loop.add_reader(listener.fileno(), wakeup.drain, listener, ring)
    try:
        yield
    finally:
        loop.remove_reader(listener.fileno())
        listener.close()
        path.unlink(missing_ok=True)


async def _supervise(name: str, part: Part, stop: asyncio.Event) -> None:
    """Keep a part running: log a fault, and start it again after a pause that grows with each one."""
    pause_s = 0.5
    while not stop.is_set():
        began = asyncio.get_running_loop().time()
        try:
            await part(stop)
            return
        except Exception:
            if asyncio.get_running_loop().time() - began > _LONGEST_PAUSE_S:
                pause_s = 0.5
            _log.exception("courier: %s failed; starting again in %.1f s", name, pause_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


class _Worker(Protocol):
    def wake(self) -> None: ...
    async def run(self, stop: asyncio.Event) -> None: ...


class _Client(Protocol):
    async def aclose(self) -> None: ...


async def _work(worker: _Worker, client: _Client, bells: Bells, stop: asyncio.Event) -> None:
    """Run a worker that the bells wake, and close the client it calls with at the end."""
    bells.append(worker.wake)
    try:
        await worker.run(stop)
    finally:
        bells.remove(worker.wake)
        await client.aclose()


async def _deliver(
    store: Store,
    settings: CourierSettings,
    target: WebhookTarget,
    blocking: Blocking,
    bells: Bells,
    stop: asyncio.Event,
) -> None:
    sender = WebhookSender(
        target.url,
        headers=settings.headers,
        hmac_key=settings.hmac_key,
        user_agent=settings.user_agent,
        context=outgoing_context(),
    )
    delivering = Delivering(
        target.url,
        target.label,
        store=store,
        send=sender,
        wants=partial(wants, target.topics),
        retention=settings.webhook_retention,
        slots=_SLOTS,
        blocking=blocking,
        now=_now,
        draw=random.random,
    )
    await _work(delivering, sender, bells, stop)


async def _push(
    store: Store, settings: CourierSettings, blocking: Blocking, bells: Bells, stop: asyncio.Event
) -> None:
    sender = AsyncApnsSender(settings.apns_url, settings.apns_ca_file, user_agent=settings.user_agent)
    pushing = Pushing(store, sender, blocking=blocking, now=_now, draw=random.random)
    await _work(pushing, sender, bells, stop)


async def _synchronize(
    store: Store, settings: CourierSettings, blocking: Blocking, bells: Bells, stop: asyncio.Event
) -> None:
    make_id = partial(secrets.token_hex, 16)
    client = AsyncDepClient(DepSessions(user_agent=settings.user_agent, now=_now, make_nonce=make_id))
    accounts = Accounts(store, settings.dep_url, settings.depsim)
    syncing = DepSyncing(
        store, accounts, client, blocking=blocking, now=_now, draw=random.random, make_id=make_id
    )
    await _work(syncing, client, bells, stop)


async def _clean(
    store: Store, settings: CourierSettings, receivers: list[str], blocking: Blocking, stop: asyncio.Event
) -> None:
    await blocking(lambda: store.forget_receivers(receivers))
    cleaner = Cleaner(
        receivers,
        store=store,
        keep=settings.event_retention,
        keep_audit=settings.audit_retention,
        keep_commands=max(settings.command_retention, _SHORTEST_RECORD),
        blocking=blocking,
        now=_now,
    )
    while not stop.is_set():
        await cleaner.step()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _CLEAN_EVERY_S)


def _now() -> datetime:
    return datetime.now(UTC)
