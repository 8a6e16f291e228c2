"""The courier's process: exactly one, started again when it dies."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from micromdm_py.logs import log_event
from micromdm_py.server.lifeline import die_with_parent
from micromdm_py.server.lock import FileLock

__all__ = ["CourierProcess"]

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STABLE_S = 60.0  # after a run this long, the pauses start from the first again
_LOCK_WAIT_S = 10.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CourierProcess:
    """Forks, watches and stops the courier; used from the arbiter's main thread only."""

    def __init__(self, run: Callable[[threading.Event], None], lock_file: Path) -> None:
        """Prepare; nothing is started.

        Args:
            run: the courier's work; must return soon after the event is set.
            lock_file: locked by the running courier, so that there is never a second one.
        """
        self._run, self._lock_file = run, lock_file
        self._pid = 0
        self._started_at = self._next_start_at = 0.0
        self._pause_s = _FIRST_PAUSE_S

    def manage(self, listeners: list[socket.socket]) -> None:
        """Start the courier if it is not running and its pause is over.

        Args:
            listeners: sockets that the child must not keep open.
        """
        self.reap()
        if not self._pid and time.monotonic() >= self._next_start_at:
            self._start(listeners)

    def reap(self) -> None:
        """Notice the courier's end."""
        if not self._pid:
            return
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:  # gunicorn has collected it
            code = None
        self._pid = 0
        if time.monotonic() - self._started_at >= _STABLE_S:
            self._pause_s = _FIRST_PAUSE_S
        log_event(_log, logging.ERROR, "the courier ended", status=code, next_start_s=self._pause_s)
        self._next_start_at = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def ask_to_stop(self) -> None:
        """Tell the courier to stop, without waiting for it."""
        self._send(signal.SIGTERM)

    def join(self, wait_s: float) -> None:
        """Wait for the courier's end; kill it after ``wait_s`` seconds."""
        give_up_at = time.monotonic() + wait_s
        while self._pid and time.monotonic() < give_up_at:
            if self._has_ended(os.WNOHANG):
                return
            time.sleep(0.02)
        self._send(signal.SIGKILL)
        self._has_ended(0)  # waits

    def _has_ended(self, wait_options: int) -> bool:
        if self._pid:
            try:
                if not os.waitpid(self._pid, wait_options)[0]:
                    return False
            except ChildProcessError:
                pass
            self._pid = 0
        return True

    def _send(self, signum: int) -> None:
        if self._pid:
            try:
                os.kill(self._pid, signum)
            except ProcessLookupError:
                self._pid = 0

    def _start(self, listeners: list[socket.socket]) -> None:
        self._started_at = time.monotonic()
        parent = os.getpid()
        # Blocked across the fork, so that a signal waits until the child handles it itself.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        self._pid = os.fork()
        if self._pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
            return
        code = 1
        try:
            die_with_parent(parent)
            for listener in listeners:
                listener.close()
            code = self._be_courier()
        except BaseException:
            _log.exception("the courier failed")
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)

    def _be_courier(self) -> int:
        for signum in (signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_DFL if signum == signal.SIGCHLD else signal.SIG_IGN)
        stop = threading.Event()

        def wait_for_signal() -> None:
            # In a thread, because a signal handler could interrupt the very code that holds the event's lock.
            signal.sigwait(_STOP_SIGNALS)
            stop.set()

        threading.Thread(target=wait_for_signal, name="signals", daemon=True).start()
        lock = FileLock(self._lock_file)
        if not lock.acquire(_LOCK_WAIT_S):
            log_event(_log, logging.ERROR, "another courier is running", pid=lock.owner())
            return 1
        self._run(stop)
        return 0 if stop.is_set() else 1
