"""``micromdm export-micromdm`` as a program."""

from pathlib import Path

from tests.cli.program import micromdm
from tests.migration.samples import SAMPLE, read


def exports(store: Path, target: Path, *words: str) -> tuple[int, str]:
    done = micromdm("export-micromdm", "-config-path", str(store), "-to", str(target), *words)
    return done.returncode, done.stdout + done.stderr


def test_a_store_is_written_to_a_new_file(tmp_path: Path) -> None:
    micromdm("import-micromdm", "-from", str(SAMPLE), "-config-path", str(tmp_path / "store"))
    status, out = exports(tmp_path / "store", tmp_path / "back.db")
    assert status == 0, out
    assert (tmp_path / "back.db").stat().st_mode & 0o777 == 0o600
    assert read(tmp_path / "back.db")[b"mdm.PushInfo"] == read(SAMPLE)[b"mdm.PushInfo"]
    assert "PRIVATE KEY" not in out
    before = (tmp_path / "back.db").read_bytes()
    status, out = exports(tmp_path / "store", tmp_path / "back.db")
    assert (status, "file exists" in out) == (1, True)
    assert (tmp_path / "back.db").read_bytes() == before


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert "must supply -to" in micromdm("export-micromdm", "-config-path", str(tmp_path)).stderr
    assert "holds no store" in exports(tmp_path, tmp_path / "back.db")[1]
    assert "-report must be" in exports(tmp_path, tmp_path / "back.db", "-report", "xml")[1]
    assert list(tmp_path.iterdir()) == []
