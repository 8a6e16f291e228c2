"""Cleaning up: what has expired is withdrawn, and what is old is deleted, but not a moment too early."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from micromdm_py.service.cleaning import Cleaner
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import AuditEntry, CommandFilter
from tests.builders import command
from tests.fakes.clock import Clock
from tests.fakes.outgoing import new_store

T = TypeVar("T")


async def at_once(call: Callable[[], T]) -> T:
    return call()


def cleaner_of(store: Store, clock: Clock, *receivers: str, keep: timedelta = timedelta(0)) -> Cleaner:
    """A cleaner that keeps audit entries for a day, commands for two, and works in batches of three."""
    return Cleaner(
        receivers,
        store=store,
        keep=keep,
        keep_audit=timedelta(days=1),
        keep_commands=timedelta(days=2),
        blocking=at_once,
        now=clock,
        batch=3,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_old_entries_of_the_audit_log_are_deleted(store: Store, clock: Clock) -> None:
    cleaner = cleaner_of(store, clock)
    for _ in range(5):
        with store.audited(lambda: AuditEntry(0, clock(), "ci", "a", "", "", "GET /", "r")):
            pass
    clock.move(86400)
    asyncio.run(cleaner.step())
    assert len(store.audit_entries().entries) == 5
    clock.move(1)
    asyncio.run(cleaner.step())
    assert len(store.audit_entries().entries) == 1  # the newest stays, so that the numbering goes on


def test_commands_are_withdrawn_when_they_expire_and_forgotten_after_their_end(
    store: Store, clock: Clock
) -> None:
    def left() -> list[tuple[str, str]]:
        page = store.commands("U", CommandFilter())
        return [(one.command_uuid, one.state) for one in page.records]

    cleaner = cleaner_of(store, clock)
    for number in range(4):
        expires_at = clock() + timedelta(minutes=1) if number else None
        store.enqueue("U", replace(command(f"c{number}"), expires_at=expires_at), at=clock())
    clock.move(60)
    asyncio.run(cleaner.step())
    ended = [("c3", "ProtectionCanceled"), ("c2", "ProtectionCanceled"), ("c1", "ProtectionCanceled")]
    assert left() == [*ended, ("c0", "Pending")]
    clock.move(2 * 86400)
    asyncio.run(cleaner.step())
    assert len(left()) == 4
    clock.move(1)
    asyncio.run(cleaner.step())
    assert left() == [("c0", "Pending")]
