"""Starts the stand-in server as a process and speaks HTTP to it byte by byte."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).with_name("standin.py")
_LISTENING = re.compile(r"msg=listening url=https?://127\.0\.0\.1:(\d+)")
PATIENCE_S = 30.0


def eventually(condition: Callable[[], object], what: str = "condition") -> None:
    """Wait until a condition holds."""
    pause = threading.Event()
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"{what} did not come true"
        pause.wait(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        if context:
            try:
                self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            except OSError:
                self.sock.close()
                raise
        self._file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        fields = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.answer(to=method)

    def answer(self, *, to: str = "GET") -> Answer:
        """Read an answer; `to` is the method that was asked with."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        if status == 100 or to == "HEAD":
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._file.readline(), 16):
                body += self._file.read(size)
                self._file.readline()
            self._file.readline()
        else:
            body = self._file.read(int(headers.get("content-length", "0")))
        return Answer(status, headers, body)

    def is_closed(self) -> bool:
        """Wait for the end of the connection; True if nothing came before it."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._file.close()
        self.sock.close()


@dataclass
class Server:
    process: subprocess.Popen[str]
    folder: Path
    port: int = 0
    lines: list[str] = field(default_factory=list)
    context: ssl.SSLContext | None = None
    clients: list[Client] = field(default_factory=list)
    collector: threading.Thread | None = None

    def connect(self, *, plain: bool = False) -> Client:
        client = Client(self.port, None if plain else self.context)
        self.clients.append(client)
        return client

    def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        client = self.connect()
        try:
            return client.ask(method, path, body)
        finally:
            client.close()
            self.clients.remove(client)

    def end(self) -> None:
        """Stop if still running, and close everything."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.stop()
        if self.collector:
            self.collector.join()
        if self.process.stderr:
            self.process.stderr.close()

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_S)

    def log(self) -> str:
        return "".join(self.lines)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def couriers(self) -> list[int]:
        file = self.folder / "courier.pids"
        return [int(line) for line in file.read_text().split()] if file.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def launch(folder: Path, **settings: object) -> Server:
    """Start the server without waiting for it."""
    folder.mkdir(exist_ok=True)
    config = {"config_path": str(folder), **settings}
    process = subprocess.Popen(
        [sys.executable, str(STANDIN), json.dumps(config)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    server = Server(process, folder)

    def collect() -> None:
        assert process.stderr
        with contextlib.suppress(ValueError):
            server.lines.extend(iter(process.stderr.readline, ""))

    server.collector = threading.Thread(target=collect)
    server.collector.start()
    return server


@contextlib.contextmanager
def running(folder: Path, **settings: object) -> Iterator[Server]:
    """Start the server, wait until it answers, and stop it at the end."""
    server = launch(folder, **settings)
    try:

        def listens() -> bool:
            assert server.process.poll() is None, server.log()
            if found := _LISTENING.search(server.log()):
                server.port = int(found[1])
            return bool(server.port)

        eventually(listens, "listening")
        yield server
    finally:
        server.end()


def refused(folder: Path, **settings: object) -> tuple[int, str]:
    """Start a server that cannot start; its exit status and what it wrote."""
    server = launch(folder, **settings)
    code = server.process.wait(PATIENCE_S)
    server.end()
    return code, server.log()
