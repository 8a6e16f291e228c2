"""``micromdm serve`` from configuration to exit status."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from micromdm_py.errors import MdmError, StartupError
from micromdm_py.logs import log_event
from micromdm_py.server.address import Address, listen, parse_address
from micromdm_py.server.arbiter import Server, ServerApplication, adopt
from micromdm_py.server.exchange import WsgiApp
from micromdm_py.server.limits import Limits
from micromdm_py.server.lock import lock_store
from micromdm_py.server.supervisor import CourierProcess
from micromdm_py.server.tls import ServerTls
from micromdm_py.server.worker import WorkerSettings

__all__ = ["Callbacks", "ServerConfig", "run_server"]

_log = logging.getLogger(__name__)
_HTTPS_PORT = 443
_HTTP_PORT = 80


class ServerConfig(Protocol):
    """The settings that the server process itself reads; ``Config`` has them all."""

    @property
    def config_path(self) -> str | os.PathLike[str]:
        """Folder of the store."""

    @property
    def http_addr(self) -> str:
        """Listen address."""

    @property
    def tls(self) -> bool:
        """Serve HTTPS."""

    @property
    def tls_cert(self) -> str:
        """PEM file with the certificate chain."""

    @property
    def tls_key(self) -> str:
        """PEM file with the private key."""

    @property
    def disable_redirect(self) -> bool:
        """No listener on port 80."""

    @property
    def workers(self) -> int:
        """Web processes; 0 for one per core."""

    @property
    def threads(self) -> int:
        """Most threads per web process."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the server calls, each in a process of its own.

    Attributes:
        prepare: creates or checks the store, in a process that ends afterwards. Returns the PEM of the
            authority whose client certificates TLS asks for, or None.
        build_app: opens the store and makes the application, in each worker.
        run_courier: does outgoing and timed work until the event is set.
    """

    prepare: Callable[[], bytes | None]
    build_app: Callable[[], WsgiApp]
    run_courier: Callable[[threading.Event], None]


def run_server(config: ServerConfig, callbacks: Callbacks, limits: Limits | None = None) -> int:
    """Run the server until it is told to stop.

    Returns: the exit status; 0 after SIGTERM or SIGINT.
    Raises: StartupError, StoreInUse.
    """
    limits = limits or Limits()
    folder = Path(config.config_path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartupError(f"creating config directory {folder}: mkdir {folder}: {reason}") from error
    address = parse_address(config.http_addr if config.tls or config.http_addr != ":https" else ":8080")
    lock = lock_store(folder)
    try:
        client_ca_pem = _in_child(callbacks.prepare)
        tls = _tls(config, client_ca_pem)
        listeners = [listen(address)]
        if tls and address.port == _HTTPS_PORT and not config.disable_redirect:
            listeners += _redirect_listener(address.host)
        settings = WorkerSettings(
            limits,
            tls,
            workers=config.workers or len(os.sched_getaffinity(0)),
            threads=config.threads,
            redirects=len(listeners) - 1,
        )
        return _serve(folder, callbacks, listeners, settings)
    finally:
        lock.release()


def _tls(config: ServerConfig, client_ca_pem: bytes | None) -> ServerTls | None:
    if not config.tls:
        return None
    if not config.tls_cert or not config.tls_key:
        raise StartupError(
            "no TLS certificate: supply -tls-cert and -tls-key, or -tls=false behind a proxy that has one"
        )
    return ServerTls(Path(config.tls_cert), Path(config.tls_key), client_ca_pem=client_ca_pem)


def _redirect_listener(host: str) -> list[socket.socket]:
    try:
        return [listen(parse_address(f"[{host}]:{_HTTP_PORT}" if ":" in host else f"{host}:{_HTTP_PORT}"))]
    except StartupError as error:
        log_event(_log, logging.ERROR, "no redirect from port 80", error=error)
        return []


def _serve(
    folder: Path, callbacks: Callbacks, listeners: list[socket.socket], settings: WorkerSettings
) -> int:
    failed: object = None
    application = ServerApplication(callbacks.build_app, settings)
    courier = CourierProcess(callbacks.run_courier, folder / "courier.lock")
    names = [listener.getsockname() for listener in listeners]
    adopted = [adopt(sock.detach(), name, application) for sock, name in zip(listeners, names, strict=True)]
    _announce(names, settings)
    with _signals_restored():
        try:
            Server(application, adopted, courier).run()
        except SystemExit as end:
            failed = end.code
    log_event(_log, logging.INFO, "stopped")
    return 1 if failed else 0


def _announce(names: list[tuple[str, int]], settings: WorkerSettings) -> None:
    for name in names[: len(names) - settings.redirects]:
        scheme = "https" if settings.tls else "http"
        log_event(_log, logging.INFO, "listening", url=f"{scheme}://{Address(name[0], name[1])}")
    for name in names[len(names) - settings.redirects :]:
        log_event(_log, logging.INFO, "redirecting to https", url=f"http://{Address(name[0], name[1])}")


@contextlib.contextmanager
def _signals_restored() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (*Server.SIGNALS, signal.SIGCHLD)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _in_child(work: Callable[[], bytes | None]) -> bytes | None:
    """Call a function in a child process, so that nothing it opens crosses a later fork.

    Raises: StartupError, also for any other error of the function.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        with contextlib.suppress(BaseException):
            answer = _answer(work)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(answer)
            logging.shutdown()
            sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    kind, rest = answer[:1], answer[1:]
    if kind == b"0":
        return rest or None
    if kind == b"1":
        code, _, text = rest.decode().partition(" ")
        raise StartupError(text, int(code))
    raise StartupError("preparing the store: the process ended without an answer")


def _answer(work: Callable[[], bytes | None]) -> bytes:
    try:
        return b"0" + (work() or b"")
    except StartupError as error:
        return f"1{error.exit_code} {error}".encode()
    except MdmError as error:
        return f"11 {error}".encode()
    except Exception as error:
        _log.exception("preparing the store failed")
        return f"11 preparing the store: {error}".encode()
