"""The only reader of request bodies.

Falcon's ``bounded_stream`` reads a chunked body as empty, and command-line clients of this API send
every body chunked; ``wsgi.input`` of our server ends where the body ends, in either framing.
"""

import threading
from collections.abc import Iterator
from typing import Protocol, cast

import falcon

from micromdm_py.errors import Busy, MalformedRequest, TooLarge

__all__ = ["Room", "read_body", "stream_body"]

_PIECE_BYTES = 1 << 16


class _Input(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


class Room:
    """What bodies take of the memory while they arrive, all together: anybody can send them, and slowly."""

    def __init__(self, size: int, *, free: int) -> None:
        """Give room to `size` bytes, beside the first `free` bytes of each body."""
        self.free = free
        self._size, self._taken, self._lock = size, 0, threading.Lock()

    def take(self, size: int, most: int) -> None:
        """Take room for a piece of a body that may grow to `most` bytes. Raises: Busy when there is none."""
        with self._lock:
            if self._taken + size > max(self._size, most):
                raise Busy("too many large bodies at once")
            self._taken += size

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._taken -= size


_room = Room(256 << 20, free=1 << 20)


def read_body(req: falcon.Request, max_bytes: int, room: Room = _room) -> bytes:
    """Read a whole request body.

    Args:
        req: the request; its body has not been read.
        max_bytes: most bytes that are taken; no more than one piece beyond it is ever read.
        room: where a large body finds room.
    Returns: the body, empty if there is none.
    Raises: TooLarge, before anything is read if the length is announced; MalformedRequest when the
        body ends early or its chunks are broken; Busy.
    """
    pieces: list[bytes] = []
    received = taken = 0
    try:
        for piece in stream_body(req, max_bytes):
            pieces.append(piece)
            received += len(piece)
            if received > room.free:
                room.take(len(piece), max_bytes)
                taken += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        if taken:
            room.give_back(taken)


def stream_body(req: falcon.Request, max_bytes: int | None = None) -> Iterator[bytes]:
    """Read a request body piece by piece; for bodies that are too large to hold.

    Args:
        req: the request; its body has not been read.
        max_bytes: most bytes that are taken; None for no limit, of time neither: then only a client that has
            fallen silent is cut off.
    Yields: pieces of about 64 KiB.
    Raises: as :func:`read_body`.
    """
    announced = _announced(req)
    if announced is None and "HTTP_TRANSFER_ENCODING" not in req.env:
        return
    if max_bytes is not None and announced is not None and announced > max_bytes:
        raise _too_large(max_bytes)
    source = cast(_Input, req.env["wsgi.input"])
    if max_bytes is None and (be_patient := getattr(source, "be_patient", None)):
        be_patient()  # of our server; a body that has arrived already has none
    received = 0
    while announced is None or received < announced:
        piece = _read(source, _PIECE_BYTES if announced is None else min(_PIECE_BYTES, announced - received))
        if not piece:
            break
        received += len(piece)
        if max_bytes is not None and received > max_bytes:
            raise _too_large(max_bytes)
        yield piece
    if announced is not None and received < announced:
        raise MalformedRequest(f"body: ended after {received} of {announced} bytes")


def _announced(req: falcon.Request) -> int | None:
    text = cast(str, req.env.get("CONTENT_LENGTH", ""))
    if not text or "HTTP_TRANSFER_ENCODING" in req.env:
        return None
    if not (text.isascii() and text.isdigit()):
        raise MalformedRequest("body: invalid Content-Length")
    return int(text)


def _read(source: _Input, size: int) -> bytes:
    try:
        return source.read(size)
    except OSError as error:  # gunicorn's errors about chunks are OSErrors too
        raise MalformedRequest("body: broken off or wrongly framed") from error


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"body: more than {max_bytes} bytes")
