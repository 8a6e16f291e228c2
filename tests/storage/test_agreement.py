"""Records, queue and indexes agree after any death, and after every transition."""

import contextlib
import itertools
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from micromdm_py.errors import MdmError, NotFound
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.lmdb.tables import QUEUE
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import CommandFilter
from tests.builders import Device
from tests.storage.agreement import check_agreement
from tests.storage.backends import open_lmdb
from tests.storage.changer import change
from tests.storage.mortal import DEATHS as TRANSITIONS
from tests.storage.mortal import lead, move

ROOT = Path(__file__).parents[2]
DEATHS = 6


def test_record_and_queue_agree_after_a_death_at_any_moment(tmp_path: Path) -> None:
    path, draw = tmp_path / "store", random.Random(7)
    open_lmdb(path).close()
    held = 0
    for number in range(DEATHS):
        words = [sys.executable, "-m", "tests.storage.changer", str(path), str(number)]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(10, 120)):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        store = open_lmdb(path)
        held = max(held, check_agreement(store))
        store.close()
    assert held > 10


def seen(store: Store) -> object:
    """What a store tells of every command: record, bodies and place in the queue."""
    told = []
    for udid in ("UDID-1", "UDID-2"):
        with contextlib.suppress(NotFound):
            records = store.commands(udid, CommandFilter()).records
            bodies = store.command_bodies([one.command_id for one in records])
            named = [replace(one, command_id="") for one in records]  # each store counts in its own way
            told.append((named, bodies, store.waiting(udid)))
    return told


def test_a_death_before_a_commit_leaves_all_as_it_was_and_after_it_all_as_it_became(tmp_path: Path) -> None:
    """For every state of a command and everything that may move it, against the store in memory."""
    words = [sys.executable, "-m", "tests.storage.mortal", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True)
    reached: set[CommandState] = set()
    for death in TRANSITIONS:
        twin = MemoryStore()
        phone = lead(twin, death.source)
        before = seen(twin)
        move(phone, death.cause)
        after = seen(twin)
        if before != after:
            reached |= {one.state for one in twin.commands(phone.id, CommandFilter()).records}
        store = open_lmdb(tmp_path / death.folder)
        assert seen(store) == (after if death.committed else before), death
        check_agreement(store)
        store.close()
    assert reached == set(CommandState)


def test_record_and_queue_agree_after_every_transition(lmdb: LmdbStore) -> None:
    draw = random.Random(3)
    phones = [Device(lmdb, f"UDID-{number}").enrolls() for number in range(3)]
    reached: set[CommandState] = set()
    for number in itertools.count():
        try:
            change(lmdb, draw.choice(phones), draw)
        except MdmError:
            continue
        if number % 10 == 0:
            check_agreement(lmdb)
            for phone in phones:
                known = lmdb.commands(phone.id, CommandFilter()).records
                reached |= {one.state for one in known}
        if number > 300 and reached == set(CommandState):
            return


def test_the_check_sees_a_row_that_was_lost(lmdb: LmdbStore) -> None:
    phone = Device(lmdb)
    phone.queue("c1")
    check_agreement(lmdb)
    _, number = lmdb._env.write(lambda txn: lmdb._resolve(txn, phone.id))
    assert number is not None
    key = number.to_bytes(8, "big") + QUEUE
    lmdb._env.write(lambda txn: [txn.delete(one, db=lmdb._t.own) for one in keys(txn, lmdb, key)])
    with pytest.raises(AssertionError):
        check_agreement(lmdb)


def keys(txn: object, store: LmdbStore, prefix: bytes) -> list[bytes]:
    cursor = txn.cursor(store._t.own)  # type: ignore[attr-defined]
    cursor.set_range(prefix)
    return [cursor.key()]
