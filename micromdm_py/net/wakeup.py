"""Tell the courier that there is work: a Unix datagram socket in the configuration folder.

A message only makes the courier look sooner. It may be lost: nobody listens, the socket's queue is full, the
path is too long for a socket. The courier looks by itself every few seconds.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Waker", "drain", "listen"]

_LONGEST_PATH = 100
"""Of a socket's address, in bytes; longer ones go through the folder's descriptor."""


class Waker:
    """Wakes the courier when called; never waits and never raises. Good for all threads of a process."""

    def __init__(self, path: Path) -> None:
        """Take the path of the courier's socket; nothing is opened before the first call."""
        self._path = path
        self._socket: socket.socket | None = None
        self._owner = 0

    def __call__(self) -> None:
        """Send a message if somebody listens."""
        with contextlib.suppress(OSError), _address(self._path) as address:
            self._sender().sendto(b"w", address)

    def _sender(self) -> socket.socket:
        # One socket for each process: a child of a fork makes its own.
        if self._socket is None or self._owner != os.getpid():
            self.close()
            sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket, self._owner = sender, os.getpid()
        return self._socket

    def close(self) -> None:
        """Close the socket; a later call opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        """Close the socket: nobody has to remember it."""
        self.close()


def listen(path: Path) -> socket.socket:
    """Make the courier's socket (mode 0600), in place of one left over; non-blocking. Raises: OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        path.unlink(missing_ok=True)
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
    except OSError:
        listener.close()
        raise
    return listener


def drain(listener: socket.socket, wake: Callable[[], None]) -> None:
    """Take all messages that wait and wake once."""
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.recv(16)
    wake()


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    text = str(path)
    if len(os.fsencode(text)) <= _LONGEST_PATH:
        yield text
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
