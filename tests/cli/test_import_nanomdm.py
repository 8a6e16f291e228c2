"""``micromdm import-nanomdm`` as a program."""

from pathlib import Path

import pytest

from micromdm_py.storage.records import DeviceFilter
from micromdm_py.store_place import existing_store
from tests.cli.program import micromdm
from tests.fakes.archive import unpack
from tests.migration.samples import FOLDER, sample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    unpack(FOLDER / "nanomdm.tar.gz", tmp_path)
    return tmp_path / "db"


def imports(folder: Path, target: Path, *words: str) -> tuple[int, str]:
    done = micromdm("import-nanomdm", "-from", str(folder), "-config-path", str(target), *words)
    return done.returncode, done.stdout + done.stderr


def test_the_sample_fills_a_store(folder: Path, tmp_path: Path) -> None:
    status, out = imports(folder, tmp_path / "new", "-dry-run")
    assert status == 0, out
    assert not (tmp_path / "new").exists()
    status, out = imports(folder, tmp_path / "new")
    assert status == 0, out
    assert "no SCEP authority was given" in out
    assert "PRIVATE KEY" not in out
    with existing_store(tmp_path / "new") as store:
        assert len(store.devices(DeviceFilter())) == 4
    assert "not empty" in imports(folder, tmp_path / "new")[1]


def test_an_authority_is_taken_from_files(folder: Path, tmp_path: Path) -> None:
    depot = sample()[b"scep_certificates"]
    words = []
    for name in ("cert", "key"):
        (tmp_path / name).write_bytes(depot[b"ca_certificate" if name == "cert" else b"ca_key"])
        words += [f"-ca-{name}", str(tmp_path / name)]
    assert imports(folder, tmp_path / "new", *words)[0] == 0
    with existing_store(tmp_path / "new") as store:
        found = store.authority()
    assert found is not None
    assert found[0] == depot[b"ca_certificate"]
    assert "cannot be read" in imports(folder, tmp_path / "x", *words[:3], str(tmp_path / "cert"))[1]
    assert "belong together" in imports(folder, tmp_path / "x", *words[:2])[1]
    assert "no such file" in imports(folder, tmp_path / "x", *words[:3], str(tmp_path / "nowhere"))[1]


def test_what_is_no_storage_is_refused(tmp_path: Path) -> None:
    status, out = imports(tmp_path, tmp_path / "new")
    assert (status, out.count("\n")) == (1, 1)
    assert "not a filekv storage" in out
    assert "must supply -from" in micromdm("import-nanomdm").stderr


def test_a_dump_of_its_database_fills_a_store_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    unpack(FOLDER / "nanomdm-dumps.tar.gz", tmp_path)
    dump = tmp_path / "postgresql.sql"
    data = dump.read_bytes()
    (tmp_path / "cut.sql").write_bytes(data[: len(data) // 2])
    status, out = imports(tmp_path / "cut.sql", tmp_path / "new")
    assert (status, out.count("\n")) == (1, 1)
    assert "cut.sql is cut off" in out
    assert not (tmp_path / "new" / "micromdm.lmdb").exists()
    status, out = imports(dump, tmp_path / "new")
    assert status == 0, out
    with existing_store(tmp_path / "new") as store:
        assert len(store.devices(DeviceFilter())) == 7
