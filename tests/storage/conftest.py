"""Every test of the contract gets each backend once, as `store` and as a `Device` in front of it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.memory.store import MemoryStore
from tests.builders import Device
from tests.storage.backends import copy_aged, make_aged

RAM_DISK = Path("/dev/shm")


@pytest.fixture(scope="session")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aged") / "store"
    make_aged(path)
    return path


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder in memory where there is such a place: for tests of rules, which need no disk to wait for."""
    parent = RAM_DISK if os.access(RAM_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


@pytest.fixture
def lmdb_path(scratch: Path) -> Path:
    return scratch / "store"


@pytest.fixture
def lmdb(aged: Path, lmdb_path: Path) -> Iterator[LmdbStore]:
    store = copy_aged(aged, lmdb_path)
    yield store
    store.close()


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest) -> Store:
    store: Store = MemoryStore() if request.param == "memory" else request.getfixturevalue("lmdb")
    return store


@pytest.fixture
def phone(store: Store) -> Device:
    """A device that nobody has heard of yet."""
    return Device(store)
