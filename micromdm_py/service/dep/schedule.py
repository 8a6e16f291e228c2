"""When to synchronize: at start, every half hour, on request, and after faults with growing pauses."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from micromdm_py.protocol.dep.documents import SYNC, WANTED, SyncState
from micromdm_py.protocol.dep.faults import DepFault, Meaning
from micromdm_py.service.backoff import Backoff
from micromdm_py.service.blocking import Blocking
from micromdm_py.service.dep.accounts import Account, Accounts, AsyncDepCaller
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.sync import PAGE, DepRound, load_state, save_state
from micromdm_py.storage.base import Shelf

__all__ = ["DepSyncing"]

EVERY = timedelta(minutes=30)
RETRY = Backoff(60.0, 2.0, EVERY.total_seconds())
LEAST_CLOSED = timedelta(minutes=1)
"""How long to leave Apple alone after a 429 that names no time."""

_LOOK_EVERY_S = 5.0
"""A sync that was asked for is found after this time even if its wake-up was lost."""
_SHORTEST_S = 1.0
"""The wake-up comes for everything the courier has to do; do not look more often than this."""
GRACE_S = 3.0

logger = logging.getLogger(__name__)


class DepSyncing:
    """The part of the courier that synchronizes with Apple."""

    def __init__(
        self,
        shelf: Shelf,
        accounts: Accounts,
        call: AsyncDepCaller,
        *,
        blocking: Blocking,
        now: Callable[[], datetime],
        draw: Callable[[], float],
        make_id: Callable[[], str],
        page: int = PAGE,
        grace_s: float = GRACE_S,
    ) -> None:
        """Synchronize all `accounts`.

        Args:
            shelf: where everything is kept.
            accounts: the tokens and their servers.
            call: calls Apple.
            blocking: runs calls of the store.
            now: current time, aware UTC.
            draw: gives a random number of [0, 1).
            make_id: makes ids for full fetches, each unique.
            page: how many devices to ask for in one call.
            grace_s: how long a round may go on after the stop.
        """
        self._shelf, self._accounts, self._call = shelf, accounts, call
        self._blocking, self._now, self._draw = blocking, now, draw
        self._make_id, self._page, self._grace_s = make_id, page, grace_s
        self._begun: set[str] = set()
        self._bell = asyncio.Event()

    def wake(self) -> None:
        """Look whether a sync is wanted."""
        self._bell.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set (and `wake` called)."""
        while not stop.is_set():
            self._bell.clear()
            work = asyncio.create_task(self.step())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.wait((work,), timeout=self._grace_s)
                work.cancel()
            stopped.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _SHORTEST_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), _LOOK_EVERY_S)

    async def step(self) -> None:
        """Synchronize whatever is due now."""
        due = await self._blocking(self._due)
        async with asyncio.TaskGroup() as group:
            for account in due:
                group.create_task(self._one(account))

    def _due(self) -> list[Account]:
        wanted = {name for name, _ in self._shelf.documents(WANTED)}
        states = {name: SyncState.of(row) for name, row in self._shelf.documents(SYNC)}
        return [
            account
            for account in self._accounts.all()
            if self._is_due(account.name, states.get(account.name, SyncState()), account.name in wanted)
        ]

    def _is_due(self, name: str, state: SyncState, wanted: bool) -> bool:
        at = self._now()
        if state.closed_until and state.closed_until > at:
            return False
        return wanted or name not in self._begun or state.next_at is None or state.next_at <= at

    async def _one(self, account: Account) -> None:
        name = account.name
        self._begun.add(name)
        # Before the round, so that a sync asked for during it is made afterwards.
        await self._blocking(lambda: self._shelf.change_documents(lambda shelf: shelf.discard(WANTED, name)))
        work = DepRound(
            self._shelf,
            account,
            self._call,
            blocking=self._blocking,
            now=self._now,
            make_id=self._make_id,
            page=self._page,
        )
        fault: DepFault | None = None
        try:
            await work.run()
        except DepFault as caught:
            fault = caught
            logger.warning("DEP token %s: %s", name, fault)
        await self._blocking(lambda: self._finish(name, fault))

    def _finish(self, name: str, fault: DepFault | None) -> None:
        """Write down how a round went and when the next one is due."""
        if name not in {account.name for account in self._accounts.all()}:
            # The token was removed during the round, so what the round has written goes, too.
            self._shelf.change_documents(lambda shelf: shelf.discard(SYNC, name))
            Roster(self._shelf).forget(name)
            return
        at, state = self._now(), load_state(self._shelf, name)
        if fault is None:
            after = replace(
                state,
                synced_at=at,
                tried_at=at,
                next_at=at + EVERY,
                failures=0,
                closed_until=None,
                error="",
                remedy="",
            )
        else:
            failures = state.failures + 1
            after = replace(
                state,
                tried_at=at,
                next_at=at + RETRY.delay(failures, self._draw),
                failures=failures,
                closed_until=_closed_until(fault, at),
                error=f"{fault.status} {fault.code}" if fault.status else fault.code,
                remedy=fault.remedy,
            )
        save_state(self._shelf, name, after)


def _closed_until(fault: DepFault, at: datetime) -> datetime | None:
    wait = timedelta(seconds=fault.retry_after_s)
    if fault.meaning is Meaning.TOO_MANY:
        wait = max(wait, LEAST_CLOSED)
    return at + wait if wait else None
