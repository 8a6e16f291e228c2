"""What the LMDB store keeps when it is closed, copied or opened by somebody else."""

import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import lmdb as raw
import pytest

from micromdm_py.errors import StartupError
from micromdm_py.storage.lmdb.store import LmdbStore, open_store
from micromdm_py.storage.records import HeldEvent, NewEntry, Once, PushCertificate, PushOutcome
from tests.builders import NOW, Device, command, device, event, identity, report, user
from tests.storage.backends import MAP_BYTES, open_lmdb
from tests.storage.observing import contents, rows


@pytest.fixture
def lmdb_path(tmp_path: Path) -> Path:
    """On a disk: what is tested here is what a disk does."""
    return tmp_path / "store"


def live_through_a_lot(store: LmdbStore) -> Device:
    phone = Device(store, "UDID-1").enrolls(serial_number="S1")
    store.receiver("r")
    phone.queue("c1", "c2", "c3", "c4", "c5")
    phone.run("Acknowledged", "NotNow", "NotNow")
    store.record_push(store.due_push(phone.id), PushOutcome(NOW, True, "apns-id"))
    store.enqueue(phone.id, command("c6"), at=NOW, once=Once(b"k" * 32, b"answer"))
    Device(store, user("UDID-1", "USER-1"), phone.who).updates_token(b"\x02")
    store.record_report(report(device("UDID-2"), "Idle"), identity("B"), event("e"), at=NOW)
    (found,) = store.events_after(store.receiver("r").cursor, 10)
    store.settle("r", at=NOW, hold=[HeldEvent(found, 1, NOW, "500")], cursor=found.sequence)
    store.block("UDID-3", at=NOW)
    store.create_authority(b"certificate", b"key")
    store.issue(lambda serial: b"issued", "name", at=NOW)
    store.add_challenge("secret", at=NOW)
    store.store_push_certificate(PushCertificate("T", b"certificate", b"key", NOW))
    for _ in range(3):
        store.note_undecodable(b"f" * 32, b"bad", None, at=NOW)
    return phone


def test_everything_is_there_after_opening_again(lmdb: LmdbStore, lmdb_path: Path) -> None:
    phone = live_through_a_lot(lmdb)
    before, ids = contents(lmdb), lmdb.organization()
    lmdb.close()
    store = open_lmdb(lmdb_path)
    try:
        assert contents(store) == before
        assert store.organization() == ids
        phone = Device(store, "UDID-1")
        assert phone.waiting() == ["c2", "c3", "c4", "c5", "c6"]
        assert phone.says("Acknowledged", "c4") == "c5"
        assert phone.says("Acknowledged", "c5") == "c6"
        assert phone.says("Acknowledged", "c6") is None, "c2 and c3 were refused since the last Idle"
        assert phone.says("Idle") == "c2"
        again = store.enqueue("UDID-1", command("c6"), at=NOW, once=Once(b"k" * 32, b"other"))
        assert again.answer == b"answer"
    finally:
        store.close()


def test_last_contact_without_a_write_is_there_after_opening_again(lmdb: LmdbStore, lmdb_path: Path) -> None:
    phone = Device(lmdb, "UDID-1").enrolls()
    at = NOW + timedelta(days=1)
    assert lmdb.nothing_to_do(report(phone.ref, "Idle"), phone.who, at=at)
    lmdb.close()
    store = open_lmdb(lmdb_path)
    assert store.enrollment("UDID-1").last_seen_at == at
    store.close()


def test_copy_is_consistent_and_opens_as_a_store(lmdb: LmdbStore, tmp_path: Path) -> None:
    live_through_a_lot(lmdb)
    target = tmp_path / "copy"
    target.mkdir()
    with (target / "data.mdb").open("wb", buffering=0) as file:
        lmdb.copy_to(file)
    assert dict(rows(target)) == contents(lmdb)
    copied = open_lmdb(target)
    assert [one.command_uuid for one in copied.waiting("UDID-1")] == ["c2", "c3", "c4", "c5", "c6"]
    copied.close()


def test_idempotency_keys_of_past_days_take_no_room(lmdb: LmdbStore) -> None:
    for number in range(6):
        lmdb.enqueue("UDID-1", command("old"), at=NOW, once=Once(b"%032d" % number, b"answer"))
    for number in range(10, 13):
        at = NOW + timedelta(hours=25)
        lmdb.enqueue("UDID-1", command("new"), at=at, once=Once(b"%032d" % number, b"answer"))
    tables: dict[str, Any] = contents(lmdb)
    kept = [b"%032d" % number for number in range(10, 13)]
    assert [key for key, _ in tables["once"]] == kept
    assert [key[8:] for key, _ in tables["once_age"]] == kept


def test_store_is_for_its_owner_only(lmdb: LmdbStore, tmp_path: Path) -> None:
    path = tmp_path / "new"
    store = open_lmdb(path)
    with store.lease("courier"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert {stat.S_IMODE(one.stat().st_mode) for one in path.iterdir()} == {0o600}
    store.close()


def test_large_map_takes_no_room_on_disk(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size_bytes=1 << 36)
    store.enqueue("UDID-1", command("c1"), at=NOW)
    assert (tmp_path / "store" / "data.mdb").stat().st_blocks * 512 < 1 << 20
    store.close()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from micromdm_py.errors import StorageUnavailable
from micromdm_py.storage.records import NewEntry
from tests.builders import NOW, command
from tests.storage.backends import open_lmdb

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
store = open_lmdb(path)
room = (path / "data.mdb").stat().st_size + 300_000
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
kept = []
try:
    for number in range(100):
        store.enqueue("UDID-1", NewEntry(f"c{number}", "InstallProfile", bytes(20_000)), at=NOW)
        kept.append(f"c{number}")
except StorageUnavailable as fault:
    assert str(fault).endswith("(is the disk full?)") and str(path) not in str(fault), str(fault)
assert 0 < len(kept) < 100, kept
assert [one.command_uuid for one in store.waiting("UDID-1")] == kept
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.enqueue("UDID-1", command("room again"), at=NOW)
assert [one.command_uuid for one in store.waiting("UDID-1")] == [*kept, "room again"]
store.close()
print("ok")
"""


def test_full_disk_is_said_and_outlived(lmdb: LmdbStore, lmdb_path: Path) -> None:
    lmdb.close()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(lmdb_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def write_raw(path: Path, key: bytes, value: bytes | None) -> None:
    with raw.open(str(path), map_size=MAP_BYTES, max_dbs=64) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            if value is None:
                txn.delete(key, db=meta)
            else:
                txn.put(key, value, db=meta)


def test_newer_store_is_refused_and_left_as_it_is(lmdb: LmdbStore, lmdb_path: Path) -> None:
    lmdb.close()
    write_raw(lmdb_path, b"schema", (99).to_bytes(8, "big"))
    before = rows(lmdb_path)
    with pytest.raises(StartupError, match="newer"):
        open_lmdb(lmdb_path)
    assert rows(lmdb_path) == before


def test_store_of_something_else_is_refused(lmdb: LmdbStore, lmdb_path: Path) -> None:
    lmdb.close()
    write_raw(lmdb_path, b"schema", None)
    with pytest.raises(StartupError, match="not a store"):
        open_lmdb(lmdb_path)


@pytest.mark.parametrize("damage", [b"", b"not a database" * 1000, bytes(8192)])
def test_damaged_store_is_refused_in_one_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "store"
    path.mkdir()
    (path / "data.mdb").write_bytes(damage)
    if not damage:
        open_lmdb(path).close()
        return
    with pytest.raises(StartupError) as caught:
        open_lmdb(path)
    assert "\n" not in str(caught.value)
    assert (path / "data.mdb").read_bytes() == damage


def test_store_that_was_in_use_and_is_empty_is_refused(lmdb: LmdbStore, lmdb_path: Path) -> None:
    with lmdb.lease("courier"):
        pass
    lmdb.close()
    os.truncate(lmdb_path / "data.mdb", 0)
    with pytest.raises(StartupError, match=r"data\.mdb is empty"):
        open_lmdb(lmdb_path)
    assert not (lmdb_path / "data.mdb").stat().st_size


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_store_that_was_cut_off_is_refused_in_one_line(lmdb: LmdbStore, lmdb_path: Path, part: float) -> None:
    Device(lmdb).enrolls().queue(*[f"c-{number}" for number in range(200)])
    lmdb.close()
    file = lmdb_path / "data.mdb"
    whole = file.stat().st_size
    os.truncate(file, int(whole * part))
    with pytest.raises(StartupError, match=rf"cut off: \d+ of {whole} bytes") as caught:
        open_lmdb(lmdb_path)
    assert "\n" not in str(caught.value)
    assert file.stat().st_size == int(whole * part)


def test_store_whose_last_pages_were_never_written_is_whole(lmdb: LmdbStore, lmdb_path: Path) -> None:
    phone = Device(lmdb).enrolls()
    lmdb.enqueue(phone.id, NewEntry("large", "X", bytes(50_000)), at=NOW)
    phone.queue(*["c"] * 300)
    lmdb.close()
    with raw.open(str(lmdb_path), max_dbs=64, map_size=MAP_BYTES) as env, env.begin(write=True) as txn:
        shelf = env.open_db(b"meta", txn=txn)
        txn.put(b"large", bytes(1 << 20), db=shelf)
        txn.delete(b"large", db=shelf)
    file = lmdb_path / "data.mdb"
    short = file.stat().st_size
    again = open_lmdb(lmdb_path)
    assert file.stat().st_size > short + (1 << 20)
    assert [one.command_uuid for one in again.waiting(phone.id)] == ["large", *["c"] * 300]
    again.close()


@pytest.mark.parametrize("path", ["missing/store", "file"])
def test_place_where_no_store_can_be_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StartupError):
        open_lmdb(tmp_path / path)
