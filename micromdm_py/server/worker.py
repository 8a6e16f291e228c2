"""The web worker: gunicorn's process handling around our own event loop."""

import os
import resource
import select
import signal
import threading
import time
from types import FrameType

from gunicorn.workers.base import Worker

from micromdm_py.server.exchange import Exchange
from micromdm_py.server.lifeline import die_with_parent
from micromdm_py.server.limits import Limits
from micromdm_py.server.loop import Door, Loop
from micromdm_py.server.redirect import redirect_app
from micromdm_py.server.share import Shares
from micromdm_py.server.tls import ServerTls

__all__ = ["WebWorker", "WorkerSettings"]

_TICK_S = 1.0
_STOPPING_TICK_S = 0.05
_SPARE_FILES = 128
_MOST_CONNECTIONS = 20_000


class WorkerSettings:
    """What the workers need to know beyond gunicorn's settings.

    Attributes:
        limits: sizes and times.
        tls: the listeners' TLS, None for plain HTTP.
        workers: number of processes.
        threads: most threads in each.
        redirects: how many of the listeners, counted from the end, only redirect to HTTPS.
        shares: the number of connections of each worker.
        slot: the next worker's slot in `shares`; set before each fork.
    """

    def __init__(
        self, limits: Limits, tls: ServerTls | None, *, workers: int, threads: int, redirects: int
    ) -> None:
        """Keep the values; made before the fork."""
        self.limits, self.tls = limits, tls
        self.workers, self.threads, self.redirects = workers, threads, redirects
        self.shares = Shares(workers)
        self.slot = 0


class WebWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """One process that serves the application with its threads."""

    def init_process(self) -> None:
        """Start the process; returns when it has been told to stop."""
        die_with_parent(self.ppid)
        super().init_process()

    def init_signals(self) -> None:
        """Let requests finish on SIGINT too, since Ctrl-C reaches every process of the terminal."""
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)

    def handle_exit(self, _signum: int, _frame: FrameType | None) -> None:
        """Stop gracefully; the signal itself wakes the main loop."""
        self.alive = False

    def run(self) -> None:
        """Serve until told to stop, then until requests in progress have ended."""
        settings: WorkerSettings = self.app.worker_settings
        stopping = threading.Event()
        loop = Loop(
            self._doors(settings, stopping), settings.limits, settings.shares.slot(settings.slot),
            threads=settings.threads, connections=_most_connections(),
        )  # fmt: skip
        loop.open()
        while self.alive and self.ppid == os.getppid():
            self.notify()
            loop.watch()
            self._sleep(_TICK_S)
        stopping.set()
        loop.close_doors()
        give_up_at = time.monotonic() + settings.limits.stop_s
        while loop.watch() and time.monotonic() < give_up_at:
            self.notify()
            time.sleep(_STOPPING_TICK_S)
        if close := getattr(self.wsgi, "close", None):
            close()

    def _doors(self, settings: WorkerSettings, stopping: threading.Event) -> list[Door]:
        bodies = threading.Semaphore(max(1, settings.threads // 4))  # leaves threads for small requests
        exchange = Exchange(self.wsgi, stopping, bodies, multiprocess=settings.workers > 1)
        redirect = Exchange(redirect_app, stopping, bodies, multiprocess=True)
        count = len(self.sockets) - settings.redirects
        tls = settings.tls.context if settings.tls else None
        doors = [Door(listener.sock, exchange, tls) for listener in self.sockets[:count]]
        return doors + [Door(listener.sock, redirect) for listener in self.sockets[count:]]

    def _sleep(self, seconds: float) -> None:
        """Wait, until a signal at the latest."""
        select.select([self.PIPE[0]], [], [], seconds)
        try:
            while os.read(self.PIPE[0], 64):
                pass
        except BlockingIOError:
            pass


def _most_connections() -> int:
    """Raise the limit of open files as far as allowed; returns how many connections that leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(64, soft - _SPARE_FILES)
