"""Every test of the contract gets each backend once, as `store` and as a `Device` in front of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.memory.store import MemoryStore
from tests.builders import Device
from tests.storage.backends import copy_aged, make_aged


@pytest.fixture(scope="session")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aged") / "store"
    make_aged(path)
    return path


@pytest.fixture
def lmdb_path(tmp_path: Path) -> Path:
    return tmp_path / "store"


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
