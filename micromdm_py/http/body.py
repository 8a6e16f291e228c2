"""The only reader of request bodies.

Falcon's ``bounded_stream`` reads a chunked body as empty, and command-line clients of this API send
every body chunked; ``wsgi.input`` of our server ends where the body ends, in either framing.
"""

from collections.abc import Iterator
from typing import Protocol, cast

import falcon

from micromdm_py.errors import MalformedRequest, TooLarge

__all__ = ["read_body", "stream_body"]

_PIECE_BYTES = 1 << 16


class _Input(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


def read_body(req: falcon.Request, max_bytes: int) -> bytes:
    """Read a whole request body.

    Args:
        req: the request; its body has not been read.
        max_bytes: most bytes that are taken; no more than one piece beyond it is ever read.
    Returns: the body, empty if there is none.
    Raises: TooLarge, before anything is read if the length is announced; MalformedRequest when the
        body ends early or its chunks are broken.
    """
    pieces = list(stream_body(req, max_bytes))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
