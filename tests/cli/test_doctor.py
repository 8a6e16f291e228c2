"""``micromdm doctor`` as a program, at each step of a move."""

import fcntl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from micromdm_py.storage.records import BindingRule, Identity
from micromdm_py.store_place import existing_store
from tests.builders import NOW, Device, device
from tests.cli.program import micromdm
from tests.migration.samples import SAMPLE, expected

MAC = "DD59209E-AB89-4C13-8679-0139C8EA7C5C"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "micromdm.db"
    path.write_bytes(SAMPLE.read_bytes())
    return path


def asks(*words: str) -> tuple[int, list[str]]:
    done = micromdm("doctor", *words)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_a_move_from_its_beginning_to_its_end(file: Path, tmp_path: Path) -> None:
    words = ["-from", str(file), "-config-path", str(tmp_path / "new")]
    status, lines = asks(*words)
    assert status == 0
    assert lines[0] == "ok: the old server: 12 enrollments, 40 commands waiting"
    assert lines[2] == f"1. import: micromdm import-micromdm -from {file} -config-path {tmp_path / 'new'}"

    micromdm("import-micromdm", *words)
    status, lines = asks(*words)
    assert status == 0
    assert lines[2:4] == [
        "ok: all that can be taken over from the old server is in the store",
        "ok: no device has come to the new server yet",
    ]

    with existing_store(tmp_path / "new") as store:
        pin = bytes.fromhex(expected()["buckets"]["mdm.UDIDCertAuth"][MAC])
        mac = Device(store, device(MAC), Identity(pin, BindingRule()))
        mac.clock.move((datetime.now(UTC) - NOW).total_seconds() + 3600)
        mac.run("Acknowledged")
    status, lines = asks(*words)
    assert status == 0
    assert lines[3].startswith("ok: 1 enrollments have come, 8 not yet: ")
    assert MAC not in lines[3].split(": ")[2].split(", ")
    assert lines[4].startswith("1. push to those that have not come")


def test_a_server_that_runs_is_rehearsed_with_and_stopped(file: Path, tmp_path: Path) -> None:
    with file.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, lines = asks("-from", str(file), "-config-path", str(tmp_path / "new"))
    assert status == 1
    assert lines[0].startswith("fault: the old server: ")
    assert lines[3] == "2. stop the old server"


def test_differences_are_faults(file: Path, tmp_path: Path) -> None:
    words = ["-from", str(file), "-config-path", str(tmp_path / "new")]
    micromdm("import-micromdm", *words)
    with existing_store(tmp_path / "new") as store:
        store.block(MAC, at=datetime.now(UTC))
    status, lines = asks(*words)
    assert status == 1
    assert f"fault: {MAC}: was not blocked, and is now" in lines


def test_a_server_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    status, lines = asks("-config-path", str(tmp_path), "-server-url", "https://127.0.0.1:1")
    assert status == 1
    assert lines[1].startswith("fault: https://127.0.0.1:1: ")


class Answering(BaseHTTPRequestHandler):
    """Answers as the new server does, with the SCEP authority of `authority`."""

    authority = b""

    def do_GET(self) -> None:  # the name is the base class's
        body = b'{"version": "9"}' if self.path == "/version" else self.authority
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("same", [True, False])
def test_a_server_that_answers_need_not_be_started(file: Path, tmp_path: Path, same: bool) -> None:
    words = ["-from", str(file), "-config-path", str(tmp_path / "new")]
    micromdm("import-micromdm", *words)
    with existing_store(tmp_path / "new") as store:
        kept = store.authority()
    assert kept
    server = HTTPServer(
        ("127.0.0.1", 0), type("Known", (Answering,), {"authority": kept[0] if same else b"other"})
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        status, lines = asks(*words, "-server-url", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert lines[4].endswith("version 9")
    if same:
        assert (status, lines[5:]) == (
            0,
            ["1. wait for the devices: those that have commands waiting are woken"],
        )
    else:
        assert (status, "another SCEP authority" in lines[5]) == (1, True)
