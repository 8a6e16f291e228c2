"""Programs of this project in processes of their own, and devices that reach them over plain HTTP."""

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from micromdm_py.simulator.device import DeviceIdentity, SimulatedDevice
from micromdm_py.simulator.enrol import Enroller, KeyPool
from micromdm_py.simulator.fleet import facts_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
API_KEY = 'a "key": \\with signs'
PATIENCE_S = 30.0


class Program:
    """A running program; its lines (both outputs together) are read as they come."""

    def __init__(self, *words: str | Path, **env: str) -> None:
        self.lines: list[str] = []
        self._coming: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            [str(word) for word in words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._coming.put(line.rstrip("\n"))

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait for the next line that a pattern is found in."""
        while True:
            try:
                self.lines.append(self._coming.get(timeout=PATIENCE_S))
            except queue.Empty:
                raise AssertionError(f"no line with {pattern} in {self.lines}") from None
            if found := re.search(pattern, self.lines[-1]):
                return found

    def end(self) -> int:
        self._process.terminate()
        status = self._process.wait(PATIENCE_S)
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()
        return status


@contextmanager
def running(*words: str | Path, **env: str) -> Iterator[Program]:
    program = Program(*words, **env)
    try:
        yield program
    finally:
        program.end()


@dataclass(frozen=True)
class Server:
    program: Program
    url: str

    def api(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, auth=("micromdm", API_KEY), trust_env=False, timeout=PATIENCE_S
        )

    def devices(self) -> httpx.AsyncClient:
        """A client that finds https://mdm.example.com, which the profile names, at this server."""
        return httpx.AsyncClient(transport=_Here(httpx.URL(self.url)), timeout=PATIENCE_S)


class _Here(httpx.AsyncHTTPTransport):
    def __init__(self, here: httpx.URL) -> None:
        super().__init__(trust_env=False)
        self._here = here

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        here = {"scheme": self._here.scheme, "host": self._here.host, "port": self._here.port}
        request.url = request.url.copy_with(**here)
        return await super().handle_async_request(request)


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Server]:
    """`micromdm serve` without TLS on a free port."""
    words = [sys.executable, "-P", "-m", "micromdm_py", "serve", "-server-url", "https://mdm.example.com"]
    words += ["-tls=false", "-http-addr", "127.0.0.1:0", "-config-path", str(folder), "-workers", "1"]
    words += ["-dep-url", "http://127.0.0.1:9", *flags]
    with running(*words, MICROMDM_API_KEY=API_KEY) as program:
        yield Server(program, program.expect(r"msg=listening url=(\S+)")[1])


async def enrol(server: Server, http: httpx.AsyncClient) -> tuple[SimulatedDevice, DeviceIdentity]:
    """Take a simulated device through its enrollment."""
    enroller = Enroller(http, server.url, keys=KeyPool(1))
    profile, facts = await enroller.profile(), facts_of(1, seed=1)
    identity = await enroller.identity(profile, facts)
    device = SimulatedDevice(http, profile, identity, facts)
    await device.authenticate()
    await device.token_update(bytes(32), "magic")
    return device, identity
