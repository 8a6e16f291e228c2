"""Collecting requests from connections without waiting."""

import time

from gunicorn.http import errors as gunicorn_errors

from micromdm_py.server.connection import Connection, Phase
from micromdm_py.server.head import CHUNK_LINE_BYTES, BadHead, Head, HeadParser
from micromdm_py.server.limits import Limits

__all__ = ["Intake", "chunked_end"]

_END = b"\r\n\r\n"
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Intake:
    """Takes requests from connections: the whole head, and the whole body too if it is small."""

    def __init__(self, limits: Limits) -> None:
        """Take the limits."""
        self._limits = limits
        self._parser = HeadParser(limits)

    def next_request(self, connection: Connection) -> Head | None:
        """Receive what has arrived; return a request that can be served, or None while it is incomplete.

        A large body, one of unknown size that has grown large, and one for which the client expects "100
        Continue" are left for the application to read.

        Raises: BadHead, Closed.
        """
        while True:
            if connection.incoming and connection.phase is Phase.IDLE:
                connection.phase = Phase.HEAD
                connection.deadline = time.monotonic() + self._limits.head_s
            if connection.incoming and (head := self._try(connection)):
                connection.head = None
                return head
            if not connection.receive():
                return None

    def _try(self, connection: Connection) -> Head | None:
        head = connection.head or self._head(connection)
        if not head or head.expects_continue:
            return head
        complete = self._chunks(connection, head) if head.length is None else self._plain(connection, head)
        if complete:
            return head
        if connection.phase is not Phase.BODY:
            connection.phase = Phase.BODY
            connection.begin_body()
            connection.head = head
        return None

    def _head(self, connection: Connection) -> Head | None:
        incoming = connection.incoming
        end = incoming.find(_END, max(0, connection.scanned - 3))
        if end < 0:
            connection.scanned = len(incoming)
            if len(incoming) > self._limits.head_bytes:
                raise BadHead("431 Request Header Fields Too Large")
            return None
        connection.scanned = 0
        raw = bytes(incoming[: end + 4])
        del incoming[: end + 4]
        return self._parser.parse(connection, raw)

    def _plain(self, connection: Connection, head: Head) -> bool:
        length = head.length or 0
        if len(connection.incoming) >= length:
            head.body = bytes(connection.incoming[:length])
            del connection.incoming[:length]
            return True
        return length > self._limits.buffered_body_bytes

    def _chunks(self, connection: Connection, head: Head) -> bool:
        connection.scanned, ended = chunked_end(connection.incoming, connection.scanned)
        large = len(connection.incoming) > self._limits.buffered_body_bytes
        if ended or large:
            connection.scanned = 0
        if not ended:
            return large
        try:
            head.body = head.chunked.read() if head.chunked else b""
        except (OSError, gunicorn_errors.ParseException) as error:
            raise BadHead("400 Bad Request") from error
        return True


def chunked_end(data: bytearray, start: int) -> tuple[int, bool]:
    """Look for the end of a chunked body.

    Args:
        data: what has arrived of it.
        start: the offset that the previous call returned, 0 at first.
    Returns: offset of the first incomplete chunk, and whether the body is complete.
    Raises: BadHead when it is wrongly framed.
    Source: RFC 9112 section 7.1.
    """
    while True:
        line_end = data.find(b"\r\n", start)
        if (len(data) if line_end < 0 else line_end) - start > CHUNK_LINE_BYTES:
            raise BadHead("400 Bad Request")
        if line_end < 0:
            return start, False
        digits = bytes(data[start:line_end]).split(b";")[0].rstrip(b" \t")
        if not digits or len(digits) > 16 or not _HEX.issuperset(digits):
            raise BadHead("400 Bad Request")
        size = int(digits, 16)
        if not size:
            # The line of size zero, then trailers up to an empty line.
            return start, data.find(_END, line_end) >= 0
        following = line_end + 2 + size + 2
        if following > len(data):
            return start, False
        if data[following - 2 : following] != b"\r\n":
            raise BadHead("400 Bad Request")
        start = following
