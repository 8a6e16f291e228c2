"""Threads that share one epoll: one of them leads and serves event after event to the end.

There is no thread per connection, and no hand-over between threads as long as none of them waits. While a
connection waits for its client (handshake, head, body up to a size, room for the answer), the kernel watches
it and no thread is occupied. The leading thread takes a few events; for each it reads what has arrived, and
runs the application once the request is complete. Then it sends all answers and lets the kernel watch again.

When the leader has to wait (`lead.give_up`), the next thread in line leads; when there is none, another is
started. So requests that wait for long (long polls, outgoing calls) do not hold up others until the limit of
threads is reached. A request that needs a commit lets others go first and shares it with them (`lead.pause`).
The worker's main thread notices a leader that waits without giving up the lead, within a second or two.
"""

import logging
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from micromdm_py.lead import Lead
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
_EVENTS_AT_ONCE = 16
_LATER = -1
_STUCK_S = 0.5
"""How long a leader may serve one event before another thread takes over."""


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket and what is served behind it.

    Attributes:
        tls: returns the current TLS context; None for plain HTTP.
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
            doors: where to accept connections.
            limits: sizes and times.
            slot: where to publish the number of connections.
            threads: most threads at a time.
            connections: most connections at a time; further ones wait in the kernel's queue.
        """
        self._limits = limits
        self._slot = slot
        self._intake = Intake(limits)
        self._most_threads, self._most_connections = threads, connections
        self._epoll = select.epoll()
        self._doors = {door.listener.fileno(): door for door in doors}
        self._connections: dict[int, tuple[Connection, Door]] = {}
        self._resting: set[int] = set()  # doors that accept nothing until `watch` arms them again
        self._lock = threading.Lock()
        self._door_lock = threading.Lock()
        self._lead = Lead(self._hire, lambda: self._poll(0))
        # File descriptors of connections: with something to read or to continue, and with an answer to send.
        self._ready: deque[int] = deque()
        self._answered: deque[int] = deque()
        self._serving_since = 0.0
        self._threads = 0
        self._closing = False

    def open(self) -> None:
        """Start accepting connections."""
        for fd in self._doors:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)
        self._hire()

    def close_doors(self) -> None:
        """Accept no more and end idle connections soon; requests in progress continue."""
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
        """Cut connections that missed their deadline; to be called about once a second.

        Returns: number of connections left.
        """
        now = time.monotonic()
        if self._serving_since and now - self._serving_since > _STUCK_S:
            self._lead.pass_on(self._lead.holder)  # it waits for something without having given up the lead
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

    def _hire(self) -> bool:
        with self._lock:
            if self._threads >= self._most_threads:
                return False
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="request", daemon=True).start()
        except RuntimeError as error:
            log_event(_log, logging.ERROR, "cannot start another thread", error=error)
            self._dismiss()
            return False
        return True

    def _dismiss(self) -> None:
        with self._lock:
            self._threads -= 1

    def _work(self) -> None:
        """Wait for the lead, lead until it is given up, and start over; end when not needed for a while."""
        while self._lead.take(_IDLE_THREAD_S):
            while self._lead.is_mine():
                self._serve_one()
        self._dismiss()

    def _serve_one(self) -> None:
        """Serve the next event, or hand the lead to a thread that has a request to finish."""
        lead = self._lead
        if lead.next_back() or (lead.is_late() and lead.next_paused()):
            return
        if not self._ready:
            if not lead.has_paused():
                self._serving_since = 0.0
                self._poll(-1)
            elif not self._poll(0):
                lead.next_paused()
                return
        self._serving_since = time.monotonic()
        self._handle(self._ready.popleft())

    def _poll(self, timeout_s: float) -> bool:
        """Send the finished answers and ask the kernel for events. Returns whether there are any.

        Answers wait until now because sending one wakes its client, which may take the processor and leave
        this thread with cold caches. No answer waits for more than `_EVENTS_AT_ONCE` requests.
        """
        if not self._ready:
            while self._answered:
                self._handle(self._answered.popleft())
            # A client that pipelines requests takes turns with the events that arrive now.
            wait_s = 0 if self._ready else timeout_s
            self._ready.extend(fd for fd, _ in self._epoll.poll(wait_s, _EVENTS_AT_ONCE))
        return bool(self._ready)

    def _handle(self, fd: int) -> None:
        try:
            if entry := self._connections.get(fd):
                self._advance(*entry)
            elif door := self._doors.get(fd):
                self._accept(door)
        except Exception:
            _log.exception("connection failed")

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
        if events and events != _LATER:
            self._arm(connection.fd, events)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection.fd, None)
        if not self._closing:
            self._slot.set(len(self._connections))
        connection.close()

    def _step(self, connection: Connection, door: Door) -> int:
        """Serve the connection as far as possible without waiting.

        Returns: the epoll event to wait for, 0 at its end, `_LATER` when it has been queued instead.
        """
        if connection.phase is Phase.LINGER:
            return select.EPOLLIN if connection.discard() else 0
        if connection.phase is Phase.HANDSHAKE:
            if events := connection.shake_hands():
                return events
            connection.phase = Phase.HEAD
        while True:
            if connection.phase is not Phase.FLUSH:
                if not self._serve_next(connection, door):
                    return select.EPOLLIN
                connection.phase = Phase.FLUSH
                if self._defer(connection, self._answered):
                    return _LATER
            if (awaited := self._send(connection)) is not None:
                return awaited
            if self._defer(connection, self._ready):
                return _LATER

    def _send(self, connection: Connection) -> int | None:
        """Send an answer; returns as `_step` does, or None when the next request has already arrived."""
        connection.begin_output()
        if not connection.flush():
            return select.EPOLLOUT
        connection.end_output()
        if not connection.keep_alive:
            return self._linger(connection)
        connection.phase = Phase.IDLE
        connection.deadline = self._deadline(self._limits.idle_s)
        return None if connection.incoming or connection.has_hidden_input() else select.EPOLLIN

    def _defer(self, connection: Connection, queue: deque[int]) -> bool:
        """Queue the connection's next step; False if this thread does not lead, and so must go on itself."""
        if not self._lead.is_mine():
            return False
        queue.append(connection.fd)
        return True

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
        return True

    def _linger(self, connection: Connection) -> int:
        """Close in such a way that the answer arrives even if the client is still sending."""
        connection.phase = Phase.LINGER
        connection.deadline = self._deadline(self._limits.linger_s)
        connection.finish_output()
        return select.EPOLLIN if connection.discard() else 0

    def _deadline(self, seconds: float) -> float:
        """The deadline of a connection without a request in progress; very soon when the server stops."""
        return time.monotonic() + (self._limits.stop_idle_s if self._closing else seconds)


def _address(name: tuple[str, int]) -> tuple[str, int]:
    """Address and port; IPv4 addresses from a dual-stack socket lose their IPv6 prefix."""
    host = name[0]
    return (host.removeprefix("::ffff:") if "." in host else host), name[1]
