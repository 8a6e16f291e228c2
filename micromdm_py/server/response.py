"""The server's half of WSGI: the application's answer as HTTP/1.1."""

import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from types import TracebackType

__all__ = ["ExcInfo", "Response", "plain_answer"]

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_BODILESS = (204, 304)


class _Clock:
    """The Date header, formatted at most once a second."""

    def __init__(self) -> None:
        self._second, self._text = 0, ""

    def __call__(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._text = now, formatdate(now, usegmt=True)
        return self._text


_date = _Clock()


@lru_cache(64)
def _spelled(name: str) -> str:
    """A header name as MicroMDM spells it, since scripts may search answers for that spelling."""
    return name.title()


def plain_answer(status: str, text: str = "") -> bytes:
    """A whole answer made without the application; the connection is closed after it."""
    body = (text or status).encode() + b"\n"
    return (
        f"HTTP/1.1 {status}\r\nDate: {_date()}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode("latin-1") + body


class Response:
    """One response; frames the body and decides whether the connection is kept.

    Attributes:
        keep_alive: whether another request may follow; may be cleared until the head is queued.
        started: whether the head has been queued.
        status: status line as the application gave it, "" before.
    """

    def __init__(
        self, write: Callable[[bytes], None], method: str, version: tuple[int, int], *, keep_alive: bool
    ) -> None:
        """Take the sink and what the request says about framing."""
        self._write, self._method, self._version = write, method, version
        self.keep_alive = keep_alive
        self.started = False
        self.status = ""
        self._headers: list[tuple[str, str]] = []
        self._left: int | None = None
        self._chunked = False
        self._bodiless = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Take status and headers (PEP 3333)."""
        if exc_info and exc_info[1] is not None and self.started:
            raise exc_info[1]
        if self.status and not exc_info:
            raise RuntimeError("start_response was called twice")
        self.status, self._headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        """Queue a piece of the body, and the head before the first piece."""
        if not self.started:
            self._start(None)
        self._body(data)

    def write_all(self, data: bytes) -> None:
        """Queue the whole body, whose length is the Content-Length if the application gave none."""
        if self.started:
            self._body(data)
            return
        self._start(len(data))
        self._body(data)

    def take_over(self) -> int:
        """Queue the head and leave the body to the caller.

        Returns: how many bytes the caller has to send; 0 when the length is not known or no body may be sent.
        """
        if not self.started:
            self._start(None)
        if self._bodiless or not self._left:
            return 0
        length, self._left = self._left, 0
        return length

    def finish(self) -> None:
        """End the body.

        Raises: RuntimeError when the application gave less than its Content-Length.
        """
        if not self.started:
            self._start(0)
        if self._chunked:
            self._write(b"0\r\n\r\n")
        elif self._left and not self._bodiless:
            raise RuntimeError(f"{self._left} bytes are missing from the response")

    def _body(self, data: bytes) -> None:
        if self._bodiless or not data:
            return
        if self._chunked:
            self._write(b"%x\r\n%b\r\n" % (len(data), data))
            return
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self._write(data)

    def _start(self, known_length: int | None) -> None:
        code = int(self.status[:3])
        lengthless = code in _BODILESS or code < 200
        self._bodiless = lengthless or self._method == "HEAD"
        lines = [f"HTTP/1.1 {self.status}\r\nDate: {_date()}"]
        for name, value in self._headers:
            lowered = name.lower()
            if lowered == "content-length":
                self._left = int(value)
            elif lowered == "connection":
                self.keep_alive = self.keep_alive and value.lower() != "close"
                continue
            elif lowered == "transfer-encoding":
                continue
            lines.append(f"{_spelled(name)}: {value}")
        if not lengthless and self._left is None:
            self._frame(lines, known_length)
        if not self.keep_alive:
            lines.append("Connection: close")
        elif self._version == (1, 0):
            lines.append("Connection: keep-alive")
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) or head.count("\r") != len(lines):
            raise ValueError("a response header holds a line break")
        self.started = True
        self._write(f"{head}\r\n\r\n".encode("latin-1"))

    def _frame(self, lines: list[str], known_length: int | None) -> None:
        if known_length is not None:
            self._left = known_length
            lines.append(f"Content-Length: {known_length}")
        elif self._bodiless:  # HEAD; the length is not known
            return
        elif self._version > (1, 0):
            self._chunked = True
            lines.append("Transfer-Encoding: chunked")
        else:
            self.keep_alive = False
