"""Everything that a store holds, in a form that can be compared."""

import copy
import dataclasses
import tempfile
from pathlib import Path

import lmdb

from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import DeviceFilter


def contents(store: Store) -> dict[str, object]:
    """Every row of every table, or every field of a memory store."""
    if isinstance(store, MemoryStore):
        state = store._s
        names = [one.name for one in dataclasses.fields(state) if one.name != "lock"]
        return {name: copy.deepcopy(getattr(state, name)) for name in names}
    assert isinstance(store, LmdbStore)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "data.mdb").open("wb", buffering=0) as file:
            store.copy_to(file)
        return dict(rows(Path(folder)))


def rows(folder: Path) -> list[tuple[str, list[tuple[bytes, bytes]]]]:
    """Every table of a store that nobody has open, as (name, rows)."""
    with lmdb.open(str(folder), max_dbs=128, readonly=True, lock=False) as env:
        with env.begin() as txn:
            names = [bytes(key) for key, _ in txn.cursor()]
        tables = [(name, env.open_db(name, create=False)) for name in names]
        with env.begin() as txn:
            return [(name.decode(), list(txn.cursor(table))) for name, table in tables]


def ids_of(store: Store, **wanted: object) -> list[str]:
    """Ids of the device records that a filter finds; `wanted` as for `DeviceFilter`."""
    return [one.enrollment_id for one in store.devices(DeviceFilter(**wanted))]  # type: ignore[arg-type]
