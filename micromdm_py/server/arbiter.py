"""gunicorn's arbiter, configured in code, with the courier beside the web workers."""

import logging
import os
import sys
import time
from collections.abc import Callable

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.sock import TCP6Socket, TCPSocket

from micromdm_py.errors import MdmError
from micromdm_py.logs import log_event
from micromdm_py.server.exchange import WsgiApp
from micromdm_py.server.supervisor import CourierProcess
from micromdm_py.server.worker import WebWorker, WorkerSettings

__all__ = ["Server", "ServerApplication", "adopt"]

_log = logging.getLogger(__name__)
_COURIER_STOP_S = 10.0
_STARTING_S = 10.0
_RESTART_PAUSE_S = 1.0


class _PlainLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Sends gunicorn's lines through our own logging, without its handlers and access log."""

    def setup(self, cfg: object) -> None:
        """Leave levels and handlers to the root logger."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True

    def info(self, msg: str, *args: object, **kwargs: object) -> None:
        """Demote gunicorn's messages about its own workings to debug; we log what matters ourselves."""
        self.debug(msg, *args, **kwargs)

    def reopen_files(self) -> None:
        """Do nothing: no file is open."""

    def close_on_exec(self) -> None:
        """Do nothing: no file is open."""


class ServerApplication(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn runs: settings and the function that makes the WSGI application in each worker."""

    def __init__(self, build: Callable[[], WsgiApp], worker_settings: WorkerSettings) -> None:
        """Keep what is needed after the fork."""
        self._build = build
        self.worker_settings = worker_settings
        self._made_at = time.monotonic()
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings; nothing is read from files, arguments or the environment."""
        settings = {
            "workers": self.worker_settings.workers,
            "threads": self.worker_settings.threads,
            "bind": [],
            "worker_class": WebWorker,
            "logger_class": _PlainLogger,
            "proc_name": "micromdm",
            "control_socket_disable": True,
            "timeout": 60,
            "graceful_timeout": int(self.worker_settings.limits.stop_s) + 1,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> WsgiApp:
        """Make the application, in a worker.

        A failure soon after the start stops the server. Later, when the worker replaces a dead one, it only
        ends this worker, and the arbiter starts another.
        """
        try:
            return self._build()
        except Exception as error:
            if isinstance(error, MdmError):
                _log.error("%s", error)
            else:
                _log.exception("the worker cannot start")
            if time.monotonic() - self._made_at < _STARTING_S:
                sys.exit(Arbiter.APP_LOAD_ERROR)
            time.sleep(_RESTART_PAUSE_S)
            sys.exit(1)


class Server(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """The arbiter: keeps the web workers and the courier running until it is told to stop."""

    def __init__(
        self, app: ServerApplication, listeners: list[TCPSocket | TCP6Socket], courier: CourierProcess | None
    ) -> None:
        """Take listening sockets of gunicorn's classes and the courier's process."""
        super().__init__(app)
        self.LISTENERS = listeners
        self._courier = courier
        self._stopping = False

    def spawn_worker(self) -> int:
        """Fork a worker; the child never comes back from here."""
        settings: WorkerSettings = self.app.worker_settings
        settings.shares.forget_all_but(set(self.WORKERS))
        settings.slot = settings.shares.next_slot()
        try:
            pid: int = super().spawn_worker()
        except SystemExit as end:
            logging.shutdown()
            sys.stdout.flush()
            # Not sys.exit: the callers' clean-up belongs to the arbiter's process alone.
            os._exit(end.code if isinstance(end.code, int) else 1)
        settings.shares.assign(settings.slot, pid)
        return pid

    def manage_workers(self) -> None:
        """Start what is missing; called about once a second and after each signal."""
        self.app.worker_settings.shares.forget_all_but(set(self.WORKERS))
        super().manage_workers()
        if self._courier and not self._stopping:
            self._courier.manage([listener.sock for listener in self.LISTENERS])

    def reap_workers(self) -> None:
        """Collect dead children, the courier first, since gunicorn takes every child for a worker."""
        if self._courier and not self._stopping:
            self._courier.reap()
        super().reap_workers()

    def handle_int(self) -> None:
        """Let requests finish on SIGINT, as on SIGTERM; a second SIGINT stops at once."""
        self.handle_term()

    def handle_usr2(self) -> None:
        """Refuse gunicorn's upgrade in place: a second server cannot run on the same store."""
        log_event(_log, logging.WARNING, "SIGUSR2 is not supported")

    def stop(self, graceful: bool = True) -> None:
        """Stop the courier and the workers, and wait for them."""
        self._stopping = True
        log_event(_log, logging.INFO, "stopping after the requests in progress")
        if self._courier:
            self._courier.ask_to_stop()
        super().stop(graceful)
        if self._courier:
            self._courier.join(_COURIER_STOP_S if graceful else 0.0)


def adopt(sock_fd: int, name: tuple[str, int], app: ServerApplication) -> TCPSocket | TCP6Socket:
    """Make a listener of gunicorn's class from a bound socket's descriptor."""
    kind = TCP6Socket if ":" in name[0] else TCPSocket
    return kind(name, app.cfg, logging.getLogger("gunicorn.error"), fd=sock_fd)
