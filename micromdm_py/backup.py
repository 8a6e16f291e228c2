"""Backups of the store in one file: made while the server runs, restored while it does not."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp

from micromdm_py.errors import MdmError, StartupError
from micromdm_py.server.lock import lock_store
from micromdm_py.store_place import STORE, existing_store, make_folder, open_existing, sync_folder

__all__ = ["restore", "write_backup"]

DATA = "data.mdb"


def write_backup(config_path: Path, target: Path) -> int:
    """Write a consistent copy of a store to a file that only its owner can read; the server may be running.

    Args:
        config_path: folder of the server's state.
        target: the file; an existing one is replaced once the new one is complete.
    Returns: its size in bytes.
    Raises: StartupError; the target is then as it was.
    """
    with existing_store(config_path) as store, _faults(f"writing {target}"):
        handle, name = mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
        building = Path(name)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                store.copy_to(file)
                os.fsync(file.fileno())
            size = building.stat().st_size
            building.rename(target)
            sync_folder(target.parent)
        finally:
            building.unlink(missing_ok=True)
    return size


def restore(config_path: Path, source: Path, now: datetime) -> Path | None:
    """Replace the store with a backup.

    The backup is first copied next to the store and read from beginning to end. Only then does it take the
    store's place; the old store is kept under another name.

    Args:
        config_path: folder of the server's state; no server may be using it.
        source: a file from `write_backup` or `/boltbackup`, or a folder that holds one as `data.mdb`.
        now: time to put into the old store's new name.
    Returns: where the old store is now, None when there was none.
    Raises: StartupError (StoreInUse while a server runs); the old store is then still in its place.
    """
    source = source / DATA if source.is_dir() else source
    if not source.is_file():
        raise StartupError(f"{source} does not exist")
    make_folder(config_path)
    lock = lock_store(config_path)
    final, building = config_path / STORE, config_path / f"{STORE}.restore"
    try:
        with _faults(f"restoring {source}"):
            shutil.rmtree(building, ignore_errors=True)  # left over from an interrupted restore
            _copy_in(source, building)
            _check(building, source)
            _give_to_owner_of(final if final.exists() else config_path, building)
            return _swap(final, building, config_path / f"{STORE}.before-{now:%Y%m%d-%H%M%S}")
    finally:
        shutil.rmtree(building, ignore_errors=True)
        lock.release()


def _copy_in(source: Path, building: Path) -> None:
    building.mkdir(mode=0o700)
    with source.open("rb") as old, (building / DATA).open("xb") as new:
        (building / DATA).chmod(0o600)
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())
    sync_folder(building)


def _check(building: Path, source: Path) -> None:
    """Read everything: an unreadable backup must not replace a readable store."""
    try:
        with open_existing(building) as store:
            if store.authority() is None:
                raise StartupError("it holds no certificate authority")
            for _ in store.content():
                pass
    except (MdmError, ValueError, LookupError) as fault:
        reason = str(fault).removeprefix(f"opening store {building}: ")
        raise StartupError(f"{source} is not a usable backup: {reason}") from fault


def _give_to_owner_of(model: Path, building: Path) -> None:
    """Let the server open its store when root restores it."""
    about = model.stat()
    if os.geteuid() == 0:
        for path in (building, *building.iterdir()):
            os.chown(path, about.st_uid, about.st_gid)


def _swap(final: Path, building: Path, aside: Path) -> Path | None:
    had = final.exists()
    if had:
        final.rename(aside)
    try:
        building.rename(final)
    except OSError:
        if had:
            aside.rename(final)
        raise
    sync_folder(final.parent)
    return aside if had else None


@contextlib.contextmanager
def _faults(doing: str) -> Iterator[None]:
    """Turn an error of the file system into a StartupError."""
    try:
        yield
    except OSError as fault:
        raise StartupError(f"{doing}: {fault.strerror or fault}") from fault
