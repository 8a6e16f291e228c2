"""``wsgi.input`` for a body that has not fully arrived yet."""

from collections.abc import Callable
from threading import Semaphore
from typing import TypeVar

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.errors import ParseException

from micromdm_py import lead
from micromdm_py.errors import Busy

__all__ = ["RequestBody"]

T = TypeVar("T")


class RequestBody:
    """Reads a body from the connection, waiting for the client until its deadline.

    A read raises OSError when the body is wrongly framed, and returns less than asked for when the client
    has closed or was cut. The first read raises Busy when too many bodies are being read.
    """

    def __init__(
        self,
        body: Body,
        slots: Semaphore,
        before_read: Callable[[], None] | None = None,
        be_patient: Callable[[], None] = lambda: None,
    ) -> None:
        """Wrap gunicorn's reader.

        Args:
            body: reads and decodes.
            slots: one is held from the first read to `close`, because reading occupies a thread.
            before_read: called before the first read; sends "100 Continue" to a client that waits for it.
            be_patient: for applications to call: from then on only silence ends the body, not a slow pace.
        """
        self._body, self._slots, self._before_read = body, slots, before_read
        self.be_patient = be_patient
        self._reading = False

    @property
    def spent(self) -> bool:
        """Whether nothing of the body is left on the connection."""
        if self._body.failed:
            return False
        reader = self._body.reader
        return not (reader.length if isinstance(reader, LengthReader) else reader.parser)

    def close(self) -> None:
        """Read no more."""
        if self._reading:
            self._reading = False
            self._slots.release()

    def read(self, size: int | None = None) -> bytes:
        """Read ``size`` bytes, or everything."""
        data: bytes = self._call(self._body.read, size)
        return data

    def readline(self, size: int | None = None) -> bytes:
        """Read a line."""
        line: bytes = self._call(self._body.readline, size)
        return line

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Read all lines."""
        return self._call(self._body.readlines, hint)

    def __iter__(self) -> "RequestBody":
        """Iterate over lines."""
        return self

    def __next__(self) -> bytes:
        """Read the next line."""
        if line := self.readline():
            return line
        raise StopIteration

    def _call(self, read: Callable[[int | None], T], size: int | None) -> T:
        if not self._reading:
            if not self._slots.acquire(blocking=False):
                raise Busy("too many large bodies at once")
            self._reading = True
        if self._before_read:
            before_read, self._before_read = self._before_read, None
            before_read()
        lead.give_up()  # the rest of the body comes as slowly as the client pleases
        try:
            return read(size)
        except ParseException as error:
            raise OSError(f"request body: {error}") from error
