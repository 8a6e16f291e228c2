"""A client's connection: bytes in and out without blocking, and the deadline the client has to meet."""

import contextlib
import select
import socket
import ssl
import time
from enum import Enum

from micromdm_py.server.files import FileAnswer
from micromdm_py.server.head import Head
from micromdm_py.server.limits import Limits
from micromdm_py.server.response import plain_answer

__all__ = ["Closed", "Connection", "Phase"]

_RECEIVE_BYTES = 16 << 10
_LARGE_RECEIVE_BYTES = 1 << 18
_HIGH_WATER_BYTES = 1 << 18
_DISCARDS_AT_ONCE = 16
_FILE_BYTES_AT_ONCE = 1 << 22
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Closed(OSError):
    """The client has closed the connection, or the watchdog has cut it."""


class Phase(Enum):
    """What a connection is waiting for."""

    HANDSHAKE = "handshake"
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    SERVING = "serving"
    FLUSH = "flush"
    LINGER = "linger"


class Connection:
    """One socket with its buffers. One thread at a time uses it; others may only call :meth:`cut`.

    Attributes:
        client: address and port of the other side.
        server: address and port of this side.
        incoming: bytes received and not yet used.
        scanned: how many of them have been searched for the end of a head or chunk, in vain.
        head: the request whose body is being collected.
        keep_alive: whether another request may follow the answer that is being sent.
        phase: what the connection is waiting for.
        deadline: monotonic time after which the watchdog cuts the connection.
        peer_certificate: DER of the client's certificate, if TLS asked for one and got it.
    """

    def __init__(
        self, sock: socket.socket, client: tuple[str, int], server: tuple[str, int], limits: Limits
    ) -> None:
        """Take over an accepted, non-blocking socket (an SSLSocket before its handshake for TLS)."""
        self.sock = sock
        self.fd = sock.fileno()
        self.client = client
        self.server = server
        self.secure = isinstance(sock, ssl.SSLSocket)
        self.limits = limits
        self.phase = Phase.HANDSHAKE if self.secure else Phase.HEAD
        self.deadline = time.monotonic() + limits.head_s
        self.incoming = bytearray()
        self.scanned = 0
        self.head: Head | None = None
        self.keep_alive = True
        self.peer_certificate: bytes | None = None
        self._outgoing = bytearray()
        self._file: FileAnswer | None = None
        self._file_left = 0
        self._sent = 0
        self._received = 0
        self._since = 0.0
        self._patient = False

    # Incoming

    def receive(self, size: int = _RECEIVE_BYTES) -> int:
        """Take what has arrived into ``incoming`` without waiting.

        Returns: number of bytes, 0 when there are none at the moment.
        Raises: Closed.
        """
        try:
            data = self.sock.recv(size)
        except _NOT_NOW:
            return 0
        except (OSError, ValueError) as error:
            raise Closed from error
        if not data:
            raise Closed
        self.incoming += data
        return len(data)

    def begin_body(self) -> None:
        """Start the clock of the body."""
        self._since = time.monotonic()
        self._received = 0
        self._patient = False
        self.deadline = self._since + self.limits.body_s

    def be_patient(self) -> None:
        """Let the body take any time in all, as long as some of it arrives every ``body_s``."""
        self._patient = True

    def _body_deadline(self) -> float:
        if self._patient:
            return time.monotonic() + self.limits.body_s
        return self._since + self.limits.body_s + self._received / self.limits.bytes_per_s

    def _chunk(self, size: int) -> bool:
        """Wait for more input; False when there will be none."""
        wait = select.poll()
        wait.register(self.fd, select.POLLIN)
        try:
            while not (count := self.receive(max(_RECEIVE_BYTES, min(size, _LARGE_RECEIVE_BYTES)))):
                self.deadline = self._body_deadline()
                wait.poll()
        except Closed:
            return False
        finally:
            self.deadline = float("inf")
        self._received += count
        return True

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """Read for gunicorn's body readers: ``size`` bytes, or whatever there is.

        Waits for the client until the body's deadline. Fewer bytes than asked for, or none, mean that no
        more will come.
        """
        wanted = size or 1
        while len(self.incoming) < wanted and self._chunk(max(wanted, read_ahead or 0)):
            pass
        data = bytes(self.incoming[:size] if size else self.incoming)
        del self.incoming[: len(data)]
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of ``incoming``."""
        self.incoming[:0] = data

    # Outgoing

    def write(self, data: bytes) -> None:
        """Queue bytes; nothing is sent before :meth:`flush` or :meth:`make_room`."""
        self._outgoing += data

    def send_file(self, file: FileAnswer, length: int) -> None:
        """Send ``length`` bytes of a file after what is queued; :meth:`flush` reads and closes the file."""
        self._file, self._file_left = file, length

    def make_room(self) -> None:
        """If much is queued, send until little is left, waiting for the client.

        Raises: Closed.
        """
        if len(self._outgoing) < _HIGH_WATER_BYTES:
            return
        wait = select.poll()
        wait.register(self.fd, select.POLLOUT)
        self.begin_output()
        while not self.flush(_HIGH_WATER_BYTES // 2):
            wait.poll()
        self.deadline = float("inf")

    def begin_output(self) -> None:
        """Start the clock of an answer."""
        if not self._sent:
            self._since = time.monotonic()
        self._pace_output()

    def _pace_output(self) -> None:
        self.deadline = self._since + self.limits.body_s + self._sent / self.limits.bytes_per_s

    def flush(self, keep: int = 0) -> bool:
        """Send without waiting until at most ``keep`` bytes are left.

        Returns: False when the client takes no more now, or when other connections should have their turn.
        Raises: Closed.
        """
        pause_at = self._file_left - _FILE_BYTES_AT_ONCE
        while len(self._outgoing) > keep or self._refill():
            if self._file_left < pause_at:
                return False
            try:
                with memoryview(self._outgoing) as queued, queued[:_HIGH_WATER_BYTES] as piece:
                    count = self.sock.send(piece)
            except _NOT_NOW:
                return False
            except (OSError, ValueError) as error:
                raise Closed from error
            del self._outgoing[:count]
            self._sent += count
            if self._outgoing:
                self._pace_output()
        return True

    def _refill(self) -> bool:
        """Queue the next piece of the file, if any is left. Raises: Closed when the file is too short."""
        if not self._file:
            return False
        piece = self._file.read(self._file_left)
        self._file_left -= len(piece)
        self._outgoing += piece
        if not self._file_left:
            self._let_file_go()
        elif not piece:
            raise Closed("the file has become shorter")
        return True

    def _let_file_go(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def end_output(self) -> None:
        """Forget the clock of the answer."""
        self._sent = 0

    # Beginning and end

    def shake_hands(self) -> int:
        """Go on with the TLS handshake.

        Returns: 0 when it is complete, else the epoll event to wait for.
        Raises: Closed when it failed.
        """
        assert isinstance(self.sock, ssl.SSLSocket)  # noqa: S101 - only secure connections come here
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        except (OSError, ValueError) as error:
            if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
                with contextlib.suppress(OSError):
                    socket.socket.send(self.sock, plain_answer("400 Bad Request", "This port speaks HTTPS."))
            raise Closed(str(error)) from error
        self.peer_certificate = self.sock.getpeercert(binary_form=True)
        return 0

    def has_hidden_input(self) -> bool:
        """Whether TLS holds decrypted bytes, which epoll does not report."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def finish_output(self) -> None:
        """Tell the client that no more will come, but keep receiving."""
        self._say_goodbye()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def discard(self) -> bool:
        """Throw away what has arrived; False when the client has closed."""
        try:
            for _ in range(_DISCARDS_AT_ONCE):
                if not socket.socket.recv(self.sock, _LARGE_RECEIVE_BYTES):
                    return False
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def cut(self) -> None:
        """End the connection from another thread; the thread that uses it gets Closed."""
        # The plain socket's method: SSLSocket.shutdown would take the TLS object away from that thread.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._let_file_go()
        self._say_goodbye()
        with contextlib.suppress(OSError):
            self.sock.close()

    def _say_goodbye(self) -> None:
        if isinstance(self.sock, ssl.SSLSocket) and self.phase is not Phase.HANDSHAKE:
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()
