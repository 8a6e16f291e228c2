"""``micromdm depsim`` as it is started by users, and over HTTP."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from micromdm_py.net.dep import DepClient, DepSessions
from micromdm_py.protocol.dep.faults import DepFault
from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN
from tests.cli.program import micromdm
from tests.fakes.clock import Clock

ROOT = Path(__file__).resolve().parents[2]


def test_it_serves_until_interrupted() -> None:
    program = [sys.executable, "-P", "-m", "micromdm_py", "depsim"]
    words = [*program, "-http-addr", "127.0.0.1:0", "-devices", "2"]
    with (
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        httpx.Client() as http,
    ):
        assert process.stdout
        first = process.stdout.readline()
        url = first.rpartition(" ")[2].strip()
        assert first.startswith("2 devices; start the server with: micromdm serve -depsim http://127.0.0.1:")
        try:
            control(url, add=1, remove=["SIM000000001"])
            control(url, fail={"path": "/account", "status": 403, "code": "T_C_NOT_SIGNED"})
            sessions = DepSessions(user_agent="x", now=Clock(), make_nonce=iter("ab").__next__)
            client = DepClient(sessions, http)
            with pytest.raises(DepFault, match="T_C_NOT_SIGNED"):
                client(url, SIMULATOR_TOKEN, "GET", "/account")
            assert b"Simulated server" in client(url, SIMULATOR_TOKEN, "GET", "/account").body
            assert list(control(url)["devices"]) == ["SIM000000002", "SIM000000003"]
            assert httpx.post(f"{url}/simulator", json=[]).status_code == 400
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def control(url: str, **what: Any) -> Any:
    answer = httpx.post(f"{url}/simulator", json=what) if what else httpx.get(f"{url}/simulator")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("words", [("-http-addr", "9001"), ("-http-addr", "x:y"), ("-devices", "-1")])
def test_what_cannot_be_is_one_line(words: tuple[str, ...]) -> None:
    done = micromdm("depsim", *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words[0] in done.stderr
