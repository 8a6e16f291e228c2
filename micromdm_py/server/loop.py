"""Threads that share one epoll: one leads, and serves event after event to the end.

There is no thread per connection and no hand-over between threads as long as nobody waits. A connection
is watched by the kernel while it waits for its client (handshake, header, body up to a size, room for the
answer) and costs no thread then. The leading thread takes an event, reads what is there, runs the
application when the request is complete, sends, and lets the kernel watch again. When it has to wait
(`lead.give_up`) the next thread in line leads; when there is none another one is started, so requests
that wait for long (commits, long polls, outgoing calls) do not hold up others until the limit of threads
is reached. A leader that waits without having said so is found out by the worker's main thread within a
second or two.
"""

import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from micromdm_py import lead
from micromdm_py.logs import log_event
from micromdm_py.server.connection import Closed, Connection, Phase
from micromdm_py.server.exchange import Exchange
from micromdm_py.server.head import BadHead
from micromdm_py.server.intake import Intake
from micromdm_py.server.limits import Limits
from micromdm_py.server.response import plain_answer
from micromdm_py.server.share import Slot

__all__ = ["Door", "Loop"]

_log = logging.getLogger(__name__)
_IDLE_THREAD_S = 30.0
_HEAD_START_S = 0.002
_FOREVER = float("inf")
_STUCK_S = 0.5
"""How long a leader may serve one event before somebody else takes over."""


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket and what is served behind it.

    Attributes:
        tls: gives the TLS settings of the moment; None for plain HTTP.
    """

    listener: socket.socket
    exchange: Exchange
    tls: Callable[[], ssl.SSLContext] | None = None


class Loop:
    """Accepts and serves connections until it is closed."""

    def __init__(
        self, doors: list[Door], limits: Limits, slot: Slot, *, threads: int, connections: int
    ) -> None:
        """Prepare; nothing is watched before :meth:`open`.

        Args:
            doors: where to accept.
            limits: sizes and times.
            slot: where to tell how many connections there are.
            threads: most threads at a time.
            connections: most connections at a time; others wait in the kernel's queue.
        """
        self._limits = limits
        self._slot = slot
        self._intake = Intake(limits)
        self._most_threads, self._most_connections = threads, connections
        self._epoll = select.epoll()
        self._doors = {door.listener.fileno(): door for door in doors}
        self._connections: dict[int, tuple[Connection, Door]] = {}
        self._resting: set[int] = set()
        self._lock = threading.Lock()
        self._door_lock = threading.Lock()
        self._baton = threading.Lock()
        self._hand_over: Callable[[], None] = lambda: None
        self._serving_since = 0.0
        self._free = self._threads = 1
        self._closing = False

    def open(self) -> None:
        """Start to accept."""
        for fd in self._doors:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)
        self._hire()

    def close_doors(self) -> None:
        """Accept no more and end idle connections soon; what has begun goes on."""
        self._closing = True
        self._slot.leave()
        with self._door_lock:
            for door in self._doors.values():
                self._epoll.unregister(door.listener)
                door.listener.close()
            self._doors = {}
        soon = time.monotonic() + self._limits.stop_idle_s
        for connection, _ in list(self._connections.values()):
            if connection.phase in (Phase.HANDSHAKE, Phase.IDLE, Phase.HEAD, Phase.LINGER):
                connection.deadline = min(connection.deadline, soon)

    def watch(self) -> int:
        """Cut whoever missed a deadline; to be called about once a second.

        Returns: number of connections left.
        """
        now = time.monotonic()
        if self._serving_since and now - self._serving_since > _STUCK_S:
            self._hand_over()  # the leader waits for something without having said so
        for connection, _ in list(self._connections.values()):
            if connection.deadline < now:
                log_event(
                    _log, logging.DEBUG, "too slow", client=connection.client[0], phase=connection.phase.value
                )
                connection.deadline = _FOREVER
                connection.cut()
        if len(self._connections) < self._most_connections:
            for fd in list(self._resting):
                self._resting.discard(fd)
                self._arm(fd, select.EPOLLIN)
        return len(self._connections)

    # Threads

    def _hire(self) -> None:
        try:
            threading.Thread(target=self._work, name="request", daemon=True).start()
        except RuntimeError as error:
            log_event(_log, logging.ERROR, "no further thread", error=error)
            with self._lock:
                self._free -= 1
                self._threads -= 1

    def _work(self) -> None:
        """Stand in line for the lead, lead until it is given up, and so on."""
        while True:
            if not self._baton.acquire(timeout=_IDLE_THREAD_S):
                with self._lock:
                    if self._free == 1:
                        continue
                    self._free -= 1
                    self._threads -= 1
                    return
            with self._lock:
                self._free -= 1
            self._lead()
            with self._lock:
                self._free += 1

    def _lead(self) -> None:
        """Take events and serve them until one of them has to wait."""
        leading = True

        def hand_over() -> None:
            nonlocal leading
            with self._lock:
                if not leading:
                    return
                leading = False
                hire = not self._free and self._threads < self._most_threads
                if hire:
                    self._free += 1
                    self._threads += 1
            self._baton.release()
            if hire:
                self._hire()

        self._hand_over = hand_over
        lead.lead_with(hand_over)
        while leading:
            self._serving_since = 0.0
            events = self._epoll.poll(-1, 1)
            self._serving_since = time.monotonic()
            try:
                self._handle(events[0][0])
            except Exception:
                _log.exception("connection failed")

    def _handle(self, fd: int) -> None:
        if entry := self._connections.get(fd):
            self._advance(*entry)
        elif door := self._doors.get(fd):
            self._accept(door)

    def _arm(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events | select.EPOLLONESHOT)

    # Connections

    def _accept(self, door: Door) -> None:
        if self._slot.is_ahead():
            time.sleep(_HEAD_START_S)
        with self._door_lock:
            if self._closing:
                return
            fd = door.listener.fileno()
            if len(self._connections) >= self._most_connections:
                self._resting.add(fd)
                return
            try:
                sock, client = door.listener.accept()
            except BlockingIOError:
                sock = None
            except OSError as error:
                log_event(_log, logging.WARNING, "cannot accept connections", error=error)
                self._resting.add(fd)
                return
            self._arm(fd, select.EPOLLIN)
        if sock:
            try:
                self._welcome(sock, client, door)
            except OSError as error:
                log_event(_log, logging.DEBUG, "connection failed", client=client[0], error=error)
                sock.close()

    def _welcome(self, sock: socket.socket, client: tuple[str, int], door: Door) -> None:
        sock.setblocking(False)
        server = sock.getsockname()
        if door.tls:
            sock = door.tls().wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )
        connection = Connection(sock, _address(client), _address(server), self._limits)
        self._connections[connection.fd] = (connection, door)
        self._slot.set(len(self._connections))
        self._epoll.register(connection.fd, select.EPOLLIN | select.EPOLLONESHOT)

    def _advance(self, connection: Connection, door: Door) -> None:
        events = 0
        try:
            events = self._step(connection, door)
        except Closed as closed:
            log_event(_log, logging.DEBUG, "closed", client=connection.client[0], error=closed)
        finally:
            if not events:
                self._forget(connection)
        if events:
            self._arm(connection.fd, events)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection.fd, None)
        if not self._closing:
            self._slot.set(len(self._connections))
        connection.close()

    def _step(self, connection: Connection, door: Door) -> int:
        """Go as far as possible without waiting; the epoll event to wait for, or 0 at the end."""
        if connection.phase is Phase.LINGER:
            return select.EPOLLIN if connection.discard() else 0
        if connection.phase is Phase.HANDSHAKE:
            if events := connection.shake_hands():
                return events
            connection.phase = Phase.HEAD
        while True:
            if connection.phase is not Phase.FLUSH and not self._serve_next(connection, door):
                return select.EPOLLIN
            connection.begin_output()
            if not connection.flush():
                return select.EPOLLOUT
            connection.end_output()
            if not connection.keep_alive:
                return self._part(connection)
            connection.phase = Phase.IDLE
            connection.deadline = self._rest_until(self._limits.idle_s)
            if not connection.incoming and not connection.has_hidden_input():
                return select.EPOLLIN

    def _serve_next(self, connection: Connection, door: Door) -> bool:
        try:
            head = self._intake.next_request(connection)
            if not head:
                return False
            connection.phase = Phase.SERVING
            connection.deadline = _FOREVER
            connection.keep_alive = door.exchange.serve(connection, head)
        except BadHead as bad:
            connection.keep_alive = False
            connection.write(plain_answer(bad.status))
        connection.phase = Phase.FLUSH
        return True

    def _part(self, connection: Connection) -> int:
        """Close so that the answer arrives even if the client is still sending."""
        connection.phase = Phase.LINGER
        connection.deadline = self._rest_until(self._limits.linger_s)
        connection.finish_output()
        return select.EPOLLIN if connection.discard() else 0

    def _rest_until(self, seconds: float) -> float:
        """Set a deadline for a connection that nothing is due on; very soon when the server stops."""
        return time.monotonic() + (self._limits.stop_idle_s if self._closing else seconds)


def _address(name: tuple[str, int]) -> tuple[str, int]:
    """Address and port, with IPv4 written as such when it came over a dual-stack socket."""
    host = name[0]
    return (host.removeprefix("::ffff:") if "." in host else host), name[1]
