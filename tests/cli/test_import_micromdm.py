"""``micromdm import-micromdm`` as a program: what it fills, what it refuses, what it tells."""

import fcntl
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from micromdm_py.errors import StartupError
from micromdm_py.storage.records import DeviceFilter
from micromdm_py.store_place import existing_store, new_store
from tests.builders import NOW, command
from tests.cli.program import micromdm
from tests.migration.samples import SAMPLE, expected

BUCKETS: Any = expected()["buckets"]
SECRETS = ("PRIVATE KEY", "AS_", "CS_", "CK_", "AT_", "fakePushMagic")


def imports(source: Path | str, target: Path, *words: str, **env: str) -> tuple[int, str]:
    done = micromdm("import-micromdm", "-from", str(source), "-config-path", str(target), *words, **env)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "micromdm.db"
    path.write_bytes(SAMPLE.read_bytes())
    return path


def test_the_sample_fills_a_store(file: Path, tmp_path: Path) -> None:
    status, out = imports(file, tmp_path / "new")
    assert status == 0, out
    assert out.endswith("micromdm.db: imported; nothing is lost\n")
    with existing_store(tmp_path / "new") as store:
        assert len(store.devices(DeviceFilter())) == sum(
            bool(d["udid"]) for d in BUCKETS["mdm.Devices"].values()
        )
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"micromdm.lmdb", "server.lock"}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_dry_run_reports_the_same_and_writes_nothing(file: Path, tmp_path: Path) -> None:
    status, out = imports(file, tmp_path / "new", "-dry-run")
    assert not (tmp_path / "new").exists()
    real_status, real = imports(file, tmp_path / "new")
    assert (status, out.replace("nothing was written (dry run)", "imported")) == (real_status, real)


def test_the_file_repository_is_looked_at(file: Path, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    _, out = imports(file, tmp_path / "new", "-dry-run", "-filerepo", str(tmp_path / "repo"))
    assert "has no munkitools.plist, which a blueprint needs" in out
    assert "-filerepo" in imports(file, tmp_path / "new", "-dry-run")[1]
    assert "is not a folder" in imports(file, tmp_path / "new", "-filerepo", str(file))[1]


def test_the_report_as_json_names_every_bucket_and_no_secret(file: Path, tmp_path: Path) -> None:
    done = micromdm(
        "import-micromdm", "-from", str(file), "-config-path", str(tmp_path / "new"), "-report", "json"
    )
    report = json.loads(done.stdout)
    assert {name: one["read"] for name, one in report["buckets"].items()} == {
        name: len(rows) for name, rows in BUCKETS.items()
    }
    assert report["lossless"] == (done.returncode == 0)
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]


def test_a_store_that_is_not_empty_is_refused(file: Path, tmp_path: Path) -> None:
    imports(file, tmp_path / "new")
    for words in ((), ("-dry-run",)):
        status, out = imports(file, tmp_path / "new", *words)
        assert status == 1
        assert "not empty" in out
    with existing_store(tmp_path / "new") as store:
        assert store.devices(DeviceFilter())


def test_the_store_of_an_accidental_start_is_replaced(file: Path, tmp_path: Path) -> None:
    with new_store(tmp_path / "new") as store:
        store.create_authority(b"made by accident", b"key")
    imports(file, tmp_path / "new")
    with existing_store(tmp_path / "new") as store:
        authority = store.authority()
        assert authority is not None
        assert authority[0] != b"made by accident"


def test_the_database_of_a_running_server_is_refused(file: Path, tmp_path: Path) -> None:
    with file.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, out = imports(file, tmp_path / "new")
    assert status == 1
    assert "/boltbackup" in out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"no database" * 9000, "is not a bbolt database"),
        (SAMPLE.read_bytes()[:99_999], "cut off"),
    ],
)
def test_bad_files_end_in_one_line_and_no_store(
    file: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    file.write_bytes(content)
    status, out = imports(file, tmp_path / "new")
    assert (status, out.count("\n")) == (1, 1)
    assert words in out
    assert not (tmp_path / "new/micromdm.lmdb").exists()


def test_damage_found_half_way_leaves_no_store(file: Path, tmp_path: Path) -> None:
    """The authority and most enrollments have been written when the damaged queue is reached."""
    content = bytearray(file.read_bytes())
    for found in re.finditer(b"raw-command-0001", file.read_bytes()):  # in pages of earlier transactions, too
        page = found.start() // 4096 * 4096
        while content[page : page + 8] != (page // 4096).to_bytes(8, "little"):
            page -= 4096
        content[page + 16 + 12 : page + 16 + 16] = b"\xff\xff\xff\x7f"  # size of its first row
    file.write_bytes(content)
    status, out = imports(file, tmp_path / "new")
    assert status == 1
    assert "is damaged" in out
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["server.lock"]
    file.write_bytes(SAMPLE.read_bytes())
    assert "imported" in imports(file, tmp_path / "new")[1]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert "must supply -from" in micromdm("import-micromdm").stderr
    assert "no such file" in imports(tmp_path / "nowhere.db", tmp_path / "new")[1]
    assert not (tmp_path / "nowhere.db").exists()
    assert "-api-key" in imports("https://old.example.com", tmp_path / "new")[1]
    assert "-report must be" in imports(SAMPLE, tmp_path / "new", "-report", "xml")[1]


# --- the new folder ---


def test_an_interrupted_import_leaves_an_empty_store(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), new_store(tmp_path) as store:
        store.enqueue("UDID", command("c"), at=NOW)
        raise RuntimeError("stop")
    assert [path.name for path in tmp_path.iterdir()] == ["server.lock"]


def test_what_a_killed_import_left_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "micromdm.lmdb.new").mkdir()
    (tmp_path / "micromdm.lmdb.new/data.mdb").write_bytes(b"half")
    with pytest.raises(StartupError, match="no store"), existing_store(tmp_path):
        raise AssertionError
    with new_store(tmp_path) as store:
        store.enqueue("UDID", command("c"), at=NOW)
    with existing_store(tmp_path) as store:
        assert len(store.waiting("UDID")) == 1
    assert not (tmp_path / "micromdm.lmdb.new").exists()


def test_a_folder_with_a_running_server_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with (tmp_path / "new/server.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        status, out = imports(file, tmp_path / "new")
    assert status == 1
    assert "in use" in out


# --- from a running server ---


class OldServer:
    """Answers /boltbackup as MicroMDM does."""

    def __init__(self) -> None:
        outer = self
        self.body, self.announced = SAMPLE.read_bytes(), 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name is the base class's
                right = self.headers["Authorization"] == "Basic bWljcm9tZG06c2VjcmV0"  # micromdm:secret
                self.send_response(200 if right and self.path == "/boltbackup" else 401)
                self.send_header("Content-Length", str((outer.announced or len(outer.body)) if right else 0))
                self.end_headers()
                if right:
                    self.wfile.write(outer.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)


@pytest.fixture
def old_server() -> Iterator[OldServer]:
    server = OldServer()
    server.thread.start()
    yield server
    server.server.shutdown()
    server.thread.join()
    server.server.server_close()


def test_a_running_server_is_asked_for_a_copy(old_server: OldServer, file: Path, tmp_path: Path) -> None:
    status, out = imports(old_server.url, tmp_path / "new", "-api-key", "secret")
    assert "import once more from its file" in out
    assert status == imports(file, tmp_path / "other")[0]
    with existing_store(tmp_path / "new") as store:
        assert store.devices(DeviceFilter())


def test_a_wrong_key_and_a_broken_transfer_are_told(old_server: OldServer, tmp_path: Path) -> None:
    status, out = imports(old_server.url, tmp_path / "new", MICROMDM_API_KEY="wrong")
    assert (status, "the API key is not the server's" in out) == (1, True)
    old_server.announced = len(old_server.body) + 1
    status, out = imports(old_server.url, tmp_path / "new", "-api-key", "secret")
    assert status == 1
    assert out.count("\n") == 1
    old_server.body, old_server.announced = b"no database" * 9000, 0
    status, out = imports(old_server.url, tmp_path / "new", "-api-key", "secret")
    assert (status, out) == (1, f"{old_server.url} is not a bbolt database, or is damaged\n")
    assert not (tmp_path / "new/micromdm.lmdb").exists()
