"""The commands a newcomer types first."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "micromdm_py", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_demonstration_verifies_every_step() -> None:
    done = run("demo", "-once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 14 steps were verified." in done.stdout


def test_the_demonstration_takes_everything_along_when_it_is_stopped(tmp_path: Path) -> None:
    settings = {
        "MICROMDM_TLS": "false",
        "MICROMDM_WEBHOOK_URL": "nope",
    }  # of another server: they do not count
    with subprocess.Popen(
        [sys.executable, "-m", "micromdm_py", "demo"],
        cwd=ROOT,
        env={**os.environ, **settings, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout
        shown = ""
        while "Its log is in" not in shown:
            line = demo.stdout.readline()
            assert line, shown
            shown += line
        address = re.search(r"https://localhost:(\d+)/admin", shown)
        assert address and list(tmp_path.iterdir())
        demo.terminate()
        assert demo.wait(60) == 0
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address[1])))


def test_simulate_tells_that_nobody_listens() -> None:
    done = run("simulate", "-server-url", "https://127.0.0.1:9", "-devices", "2")
    assert done.returncode == 1
    assert "devices enrolled  0" in done.stdout


def test_simulate_needs_a_server() -> None:
    done = run("simulate")
    assert done.returncode == 1
    assert done.stderr == "must supply -server-url, beginning with https:// or http://\n"


def test_command_writes_a_property_list() -> None:
    done = run("command", "-uuid", "c-1", "EraseDevice", "pin=123456", "return_to_service.enabled=true")
    assert done.returncode == 0
    assert "<key>PIN</key>\n    <string>123456</string>" in done.stdout
    assert "<key>Enabled</key>\n      <true/>" in done.stdout


def test_command_names_every_wrong_key() -> None:
    done = run("command", "EraseDevice", "pin=123456", "colour=red", "size=1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["colour", "size"]
