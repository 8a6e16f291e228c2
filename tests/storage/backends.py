"""The backends that the contract is tested on."""

import shutil
from datetime import timedelta
from pathlib import Path

from micromdm_py.storage.lmdb.store import LmdbStore, open_store
from tests.builders import NOW, check_out, command, device, event, identity

MAP_BYTES = 1 << 28
PAST = 250
"""Commands, events and enrollments an aged store has seen: counters are about to need a second byte, so that
a wrong byte order shows."""


def open_lmdb(path: Path) -> LmdbStore:
    return open_store(path, map_size_bytes=MAP_BYTES)


def make_aged(path: Path) -> None:
    """Make a store that has seen `PAST` enrollments, commands and events; no command or event is left."""
    store, then = open_lmdb(path), NOW - timedelta(days=900)
    for number in range(PAST):
        elder = device(f"ELDER-{number}")
        store.enqueue(elder.enrollment_id, command(f"elder {number}"), at=then)
        store.clear(elder.enrollment_id, at=then)
        store.check_out(check_out(elder), identity("elder"), event("elder"), at=then)
    store.forget_events((), before=NOW, limit=10 * PAST)
    store.forget_commands(before=NOW, limit=10 * PAST)
    store.close()


def copy_aged(aged: Path, path: Path) -> LmdbStore:
    """Open a copy of an aged store at `path`."""
    path.mkdir(mode=0o700)
    shutil.copyfile(aged / "data.mdb", path / "data.mdb")
    return open_lmdb(path)
