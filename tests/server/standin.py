"""A server with a stand-in application, for the tests of the process."""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from micromdm_py import lead
from micromdm_py.errors import Busy, MdmError, StartupError
from micromdm_py.logs import LogfmtFormatter
from micromdm_py.server import run
from micromdm_py.server.exchange import Environ
from micromdm_py.server.limits import Limits


@dataclass(frozen=True)
class StandInConfig:
    """What the process reads of Config."""

    config_path: str
    http_addr: str = "127.0.0.1:0"
    tls: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    disable_redirect: bool = False
    workers: int = 1
    threads: int = 64
    limits: dict[str, float] = field(default_factory=dict)
    prepare_error: str = ""
    build_error: str = ""
    client_ca: str = ""


StartResponse = Callable[..., Callable[[bytes], None]]


class StandInApp:
    """Echoes bodies, waits for files, tells about its process."""

    def __init__(self, config: StandInConfig) -> None:
        self._folder = Path(config.config_path)
        if config.build_error:
            raise StartupError(config.build_error)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        if path == "/pid":
            body = b"%d" % os.getpid()
        elif path == "/deny":
            start_response("401 Unauthorized", [])
            return [b"denied"]
        elif path == "/wait":
            body = self._wait(environ)
        elif path == "/peer":
            peer = environ["micromdm.peer_certificate"]
            body = peer if isinstance(peer, bytes) else b""
        elif path == "/fail":
            raise ValueError("on purpose")
        elif path == "/large":
            body = b"x" * 8_000_000
        elif path == "/file":
            return self._file(environ, start_response)
        elif path == "/environ":
            body = json.dumps({k: v for k, v in environ.items() if isinstance(v, str)}).encode()
        else:
            return self._echo(environ, start_response)
        start_response("200 OK", [("X-Method", str(environ["REQUEST_METHOD"]))])
        return [body]

    def _echo(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        source: Any = environ["wsgi.input"]
        if environ["PATH_INFO"] == "/patient":
            source.be_patient()
        try:
            body = source.read()
        except Busy:
            start_response("503 Service Unavailable", [])
            return [b"busy"]
        start_response("200 OK", [("X-Method", str(environ["REQUEST_METHOD"]))])
        return [body]

    def _file(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """A file; `?N` promises N bytes of it."""
        file = (self._folder / "file").open("rb")
        promised = environ["QUERY_STRING"] or os.fstat(file.fileno()).st_size
        start_response("200 OK", [("Content-Length", str(promised))])
        answer: Iterable[bytes] = environ["wsgi.file_wrapper"](file)  # type: ignore[operator]
        return answer

    def _wait(self, environ: Environ) -> bytes:
        lead.give_up()  # as every application has to before it waits
        (self._folder / "waiting").touch()
        stopping = environ["micromdm.stopping"]
        assert isinstance(stopping, threading.Event)
        while not (self._folder / "go").exists():
            stopping.wait(0.01)
        return b"waited"

    def close(self) -> None:
        (self._folder / f"closed-{os.getpid()}").touch()


def run_courier(config: StandInConfig, stop: threading.Event) -> None:
    file = Path(config.config_path) / "courier.pids"
    with file.open("a") as log:
        log.write(f"{os.getpid()}\n")
    stop.wait()
    (Path(config.config_path) / "courier.stopped").touch()


def prepare(config: StandInConfig) -> bytes | None:
    if config.prepare_error:
        raise StartupError(config.prepare_error)
    return config.client_ca.encode() or None


def main() -> int:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogfmtFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    config = StandInConfig(**json.loads(sys.argv[1]))
    limits = Limits(**config.limits)  # type: ignore[arg-type]
    try:
        return run(config, build_app=StandInApp, run_courier=run_courier, prepare=prepare, limits=limits)
    except MdmError as error:
        print(error, file=sys.stderr)
        return error.exit_code if isinstance(error, StartupError) else 1


if __name__ == "__main__":
    sys.exit(main())
