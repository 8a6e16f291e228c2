"""``micromdm backup`` and ``micromdm restore``, and the copy that the server hands out."""

import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import lmdb
import pytest

from micromdm_py.backup import restore, write_backup
from micromdm_py.compose import prepare
from micromdm_py.config import Config
from micromdm_py.errors import MdmError, StartupError, StorageUnavailable, StoreInUse
from micromdm_py.storage.lmdb.store import open_store
from micromdm_py.store_place import STORE, existing_store
from tests.builders import command
from tests.cli.program import micromdm
from tests.examples.running import serving
from tests.fakes.full_disk import full_disk

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MAP_BYTES = 1 << 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The state of a server that has run, with one command waiting."""
    folder = tmp_path / "state"
    prepare(Config(config_path=folder, tls=False, store_size_gib=1))
    queue(folder, "c1")
    return folder


def queue(folder: Path, name: str) -> None:
    with existing_store(folder) as store:
        store.enqueue("UDID-1", command(name), at=NOW)


def waiting(folder: Path) -> list[str]:
    with existing_store(folder) as store:
        return [one.command_uuid for one in store.waiting("UDID-1")]


def test_what_is_backed_up_comes_back(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    size = write_backup(folder, file)
    assert size == file.stat().st_size and stat.S_IMODE(file.stat().st_mode) == 0o600
    queue(folder, "c2")
    aside = restore(folder, file, NOW)
    assert waiting(folder) == ["c1"]
    assert aside == folder / "micromdm.lmdb.before-20260601-120000"
    store = open_store(aside, map_size_bytes=MAP_BYTES)
    assert [one.command_uuid for one in store.waiting("UDID-1")] == ["c1", "c2"]
    store.close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / STORE).iterdir()} == {0o600}
    assert stat.S_IMODE((folder / STORE).stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {STORE, aside.name, "server.lock"}


def test_a_backup_goes_into_an_empty_place_too(folder: Path, tmp_path: Path) -> None:
    write_backup(folder, tmp_path / "backup")
    new = tmp_path / "new" / "place"
    assert restore(new, tmp_path / "backup", NOW) is None
    assert waiting(new) == ["c1"]
    restore(tmp_path / "other", new / STORE, NOW)
    assert waiting(tmp_path / "other") == ["c1"]


def test_a_backup_replaces_an_older_one_when_it_is_whole(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_bytes(b"older")
    write_backup(folder, file)
    assert restore(tmp_path / "new", file, NOW) is None
    with pytest.raises(StartupError):
        write_backup(folder, tmp_path / "nowhere" / "backup")
    with pytest.raises(StartupError):
        write_backup(tmp_path / "nothing", file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "new", "state"]


def other_environment(path: Path) -> None:
    folder = path.parent / "foreign"
    env = lmdb.open(str(folder), max_dbs=2)
    with env.begin(write=True) as txn:
        txn.put(b"key", b"value")
    env.close()
    path.write_bytes((folder / "data.mdb").read_bytes())


def own_without_authority(path: Path) -> None:
    store = open_store(path.parent / "bare", map_size_bytes=MAP_BYTES)
    store.close()
    path.write_bytes((path.parent / "bare" / "data.mdb").read_bytes())


@pytest.mark.parametrize("damage", ["empty", "text", "short", "foreign", "bare", "missing", "folder"])
def test_a_backup_that_is_not_sound_changes_nothing(folder: Path, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "backup"
    size = write_backup(folder, file)
    if damage == "short":
        os.truncate(file, size // 2)
    elif damage == "foreign":
        other_environment(file)
    elif damage == "bare":
        own_without_authority(file)
    else:
        file.unlink()
        if damage == "folder":
            file.mkdir()
        elif damage != "missing":
            file.write_bytes(b"" if damage == "empty" else b"no database" * 5000)
    with pytest.raises(StartupError, match="backup"):
        restore(folder, file, NOW)
    assert waiting(folder) == ["c1"]
    assert {path.name for path in folder.iterdir()} == {STORE, "server.lock"} - (
        {"server.lock"} if damage in ("missing", "folder") else set()
    )


def test_the_commands_work_beside_a_server_or_refuse(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    with serving(folder, "-api-key", "secret") as server:
        done = micromdm("backup", "-config-path", str(folder), str(file))
        assert done.returncode == 0 and done.stdout == f"{file}: {file.stat().st_size} bytes\n"
        refused = micromdm("restore", "-config-path", str(folder), str(file))
        assert refused.returncode == 1 and "in use" in refused.stderr and refused.stderr.count("\n") == 1
        with server.api() as http:
            fetched = http.get("/boltbackup", auth=("micromdm", "secret"))
        assert fetched.status_code == 200 and int(fetched.headers["content-length"]) == len(fetched.content)
    (tmp_path / "fetched").write_bytes(fetched.content)
    for source in (file, tmp_path / "fetched"):
        queue(folder, "c2")
        done = micromdm("restore", "-config-path", str(folder), str(source))
        assert done.returncode == 0 and "restored" in done.stdout
        assert waiting(folder) == ["c1"]
        for aside in folder.glob("*.before-*"):
            aside.rename(tmp_path / f"{source.name}.aside")


def test_the_lock_of_a_server_is_respected(folder: Path, tmp_path: Path) -> None:
    write_backup(folder, tmp_path / "backup")
    with serving(folder), pytest.raises(StoreInUse):
        restore(folder, tmp_path / "backup", NOW)


def test_a_copy_is_consistent_while_others_write(folder: Path, tmp_path: Path) -> None:
    with existing_store(folder) as store:
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                store.enqueue("UDID-2", command(f"n{number}"), at=NOW)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(5):
                made = store.backup(tmp_path)
                with made.file as file:
                    (tmp_path / f"copy{number}").write_bytes(file.read())
        finally:
            stop.set()
            writer.join()
    counts = []
    for number in range(5):
        restore(tmp_path / f"state{number}", tmp_path / f"copy{number}", NOW)
        with existing_store(tmp_path / f"state{number}") as copied:
            uuids = [one.command_uuid for one in copied.waiting("UDID-2")]
        assert uuids == [f"n{at}" for at in range(1, len(uuids) + 1)]
        counts.append(len(uuids))
    assert counts == sorted(counts) and not list(tmp_path.glob("tmp*"))


def test_a_copy_that_cannot_be_made_is_said_so(folder: Path, tmp_path: Path) -> None:
    with existing_store(folder) as store:
        with pytest.raises(StorageUnavailable):
            store.backup(tmp_path / "nowhere")
        with full_disk(1 << 12), pytest.raises(StorageUnavailable):
            store.backup(tmp_path)
        with full_disk(1 << 12), pytest.raises(MdmError):
            write_backup(folder, tmp_path / "backup")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
