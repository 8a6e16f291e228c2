"""Records, queue and indexes agree after any death, and after every transition."""

import itertools
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from micromdm_py.errors import MdmError
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.history import CommandFilter
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.lmdb.tables import QUEUE
from tests.builders import Device
from tests.storage.agreement import check_agreement
from tests.storage.backends import open_lmdb
from tests.storage.changer import change

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


def test_record_and_queue_agree_after_every_transition(lmdb: LmdbStore) -> None:
    draw = random.Random(3)
    phones = [Device(lmdb, f"UDID-{number}").enrolls() for number in range(3)]
    seen: set[CommandState] = set()
    for number in itertools.count():
        try:
            change(lmdb, draw.choice(phones), draw)
        except MdmError:
            continue
        if number % 10 == 0:
            check_agreement(lmdb)
            for phone in phones:
                known = lmdb.commands(phone.id, CommandFilter()).records
                seen |= {one.state for one in known}
        if number > 300 and seen == set(CommandState):
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
