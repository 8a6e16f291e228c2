"""Cleaning up: expired commands, and events, commands and audit entries that were kept long enough."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from micromdm_py.service.blocking import Blocking
from micromdm_py.storage.base import AuditLog, CommandHistory, Outbox

__all__ = ["CleanedStore", "Cleaner"]


class CleanedStore(Outbox, AuditLog, CommandHistory, Protocol):
    """What the cleaner needs of the store."""


class Cleaner:
    """Withdraws commands that have expired, and deletes what is past its retention time."""

    def __init__(
        self,
        receivers: Sequence[str],
        *,
        store: CleanedStore,
        keep: timedelta,
        keep_audit: timedelta | None,
        keep_commands: timedelta,
        blocking: Blocking,
        now: Callable[[], datetime],
        batch: int = 256,
    ) -> None:
        """Clean up `store`.

        Args:
            receivers: names of all webhook receivers; an event that one of them still has to get stays.
            store: what is cleaned up.
            keep: how long events stay, even if every receiver has them.
            keep_audit: how long entries of the audit log stay; None for ever.
            keep_commands: how long commands stay after they are done.
            blocking: runs calls of the store.
            now: current time, aware UTC.
            batch: rows to change in one transaction at most.
        """
        self._keep, self._keep_audit, self._keep_commands = keep, keep_audit, keep_commands
        self._receivers, self._store, self._batch = tuple(receivers), store, batch
        self._blocking, self._now = blocking, now

    async def step(self) -> int:
        """Do everything that is due, in small transactions; returns how many events were deleted."""
        now = self._now()
        await self._all(lambda: self._store.expire_commands(at=now, limit=self._batch))
        done = now - self._keep_commands
        await self._all(lambda: self._store.forget_commands(before=done, limit=self._batch))
        if self._keep_audit is not None:
            before = now - self._keep_audit
            await self._all(lambda: self._store.forget_audit(before=before, limit=self._batch))
        last = now - self._keep
        return await self._all(
            lambda: self._store.forget_events(self._receivers, before=last, limit=self._batch)
        )

    async def _all(self, delete: Callable[[], int]) -> int:
        total = 0
        while True:
            deleted = await self._blocking(delete)
            total += deleted
            if deleted < self._batch:
                return total
