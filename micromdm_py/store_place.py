"""Where a server's store is, and how the program's commands open, create and replace it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from micromdm_py.config import Config
from micromdm_py.errors import StartupError
from micromdm_py.server.lock import lock_store
from micromdm_py.storage.lmdb.store import LmdbStore, open_store

__all__ = [
    "GIB",
    "STORE",
    "check_replaceable",
    "existing_store",
    "has_store",
    "make_folder",
    "new_store",
    "open_existing",
    "sync_folder",
]

GIB = 1 << 30
STORE = "micromdm.lmdb"
"""Name of the store's folder inside `-config-path`."""


@contextlib.contextmanager
def existing_store(config_path: Path) -> Iterator[LmdbStore]:
    """Open a server's store, which may be in use, for a command of the program. Raises: StartupError."""
    path = config_path / STORE
    if not has_store(config_path):
        raise StartupError(f"{config_path} holds no store: has the server been started there?")
    with open_existing(path) as store:
        yield store


@contextlib.contextmanager
def open_existing(path: Path) -> Iterator[LmdbStore]:
    """Open the store in this folder. Raises: StartupError."""
    store = open_store(path, map_size_bytes=Config().store_size_gib * GIB)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def new_store(config_path: Path) -> Iterator[LmdbStore]:
    """Create an empty store that takes its place in the folder only when the block ends without error.

    Until then the folder has no store, or an empty one, and no server can start there.

    Raises: StartupError when a server runs there, or its store is not empty.
    """
    make_folder(config_path)
    final, building = config_path / STORE, config_path / f"{STORE}.new"
    lock = lock_store(config_path)
    try:
        check_replaceable(config_path)
        shutil.rmtree(building, ignore_errors=True)  # left over from an interrupted run
        store = open_store(building, map_size_bytes=Config().store_size_gib * GIB)
        try:
            yield store
        finally:
            store.close()
        if final.exists():
            shutil.rmtree(final)
        building.rename(final)
        sync_folder(config_path)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        lock.release()


def has_store(config_path: Path) -> bool:
    """Whether there is a store in a folder."""
    return (config_path / STORE / "data.mdb").exists()


def check_replaceable(config_path: Path) -> None:
    """Check that a folder has no store, or an empty one. Raises: StartupError."""
    if has_store(config_path):
        with existing_store(config_path) as store:
            if not store.is_empty():
                raise StartupError(
                    f"{config_path} holds a store that is not empty: move it away, or choose another folder"
                )


def make_folder(path: Path) -> None:
    """Create the folder of `-config-path`, accessible to its owner alone. Raises: StartupError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise StartupError(f"creating config directory {path}: {fault.strerror}") from fault


def sync_folder(path: Path) -> None:
    """Flush a folder to disk, so that a rename in it survives a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
