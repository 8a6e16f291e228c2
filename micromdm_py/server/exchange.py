"""One request through the application: environ in, response out."""

import contextlib
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import unquote_to_bytes

from gunicorn.http.body import Body, LengthReader

from micromdm_py.server.connection import Closed, Connection
from micromdm_py.server.files import FileAnswer
from micromdm_py.server.head import Head
from micromdm_py.server.input import RequestBody
from micromdm_py.server.response import Response

__all__ = ["Environ", "Exchange", "WsgiApp"]

_log = logging.getLogger(__name__)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Environ = dict[str, object]


class WsgiApp(Protocol):
    """A WSGI application."""

    def __call__(
        self, environ: Environ, start_response: Callable[..., Callable[[bytes], None]], /
    ) -> Iterable[bytes]:
        """Answer one request."""


class Exchange:
    """Passes requests to one application.

    Besides what PEP 3333 requires, the environ holds ``micromdm.peer_certificate`` (DER of the client's
    certificate, or None) and ``micromdm.stopping`` (an Event that is set when the server stops; long waits
    should watch it).
    """

    def __init__(
        self, app: WsgiApp, stopping: threading.Event, bodies: threading.Semaphore, *, multiprocess: bool
    ) -> None:
        """Prepare what all environs have in common.

        Args:
            app: the application.
            stopping: set when the server stops.
            bodies: limits how many bodies are read by the application's threads at once.
            multiprocess: whether other processes serve the same application.
        """
        self._app, self._bodies = app, bodies
        self._stopping = stopping
        self._common: Environ = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileAnswer,
            "SERVER_SOFTWARE": "micromdm",
            "SCRIPT_NAME": "",
            "micromdm.stopping": stopping,
        }

    def serve(self, connection: Connection, head: Head) -> bool:
        """Serve the request whose head has been taken from ``connection.incoming``.

        Returns: whether the connection can carry another request.
        Raises: Closed when the client is gone.
        """
        response = Response(connection.write, head.method, head.version, keep_alive=head.keep_alive)
        body = self._body(connection, head, response)
        environ = self._environ(connection, head)
        environ["wsgi.input"] = body
        try:
            with contextlib.closing(body):
                self._run(environ, response, body, connection)
        except Closed:
            raise
        except Exception:
            # The application handles the errors of requests itself: this one is a bug in the program.
            _log.exception("request failed", extra={"fields": {"method": head.method, "path": head.path}})
            if response.started:
                raise Closed from None
            response.status = ""
            response.start_response("500 Internal Server Error", [])
            response.keep_alive = response.keep_alive and _is_spent(body)
            response.finish()
        return response.keep_alive and _is_spent(body)

    def _run(
        self, environ: Environ, response: Response, body: io.BytesIO | RequestBody, connection: Connection
    ) -> None:
        pieces = self._app(environ, response.start_response)
        try:
            if self._stopping.is_set() or not _is_spent(body):
                # An unread rest of the body would be taken for the next request.
                response.keep_alive = False
            if isinstance(pieces, (list, tuple)) and len(pieces) == 1:
                response.write_all(pieces[0])
            elif isinstance(pieces, FileAnswer) and (length := response.take_over()):
                connection.send_file(pieces, length)
                pieces = []
            else:
                for piece in pieces:
                    response.write(piece)
                    connection.make_room()
            response.finish()
        finally:
            if close := getattr(pieces, "close", None):
                close()

    def _body(self, connection: Connection, head: Head, response: Response) -> io.BytesIO | RequestBody:
        if head.body is not None:
            return io.BytesIO(head.body)
        connection.begin_body()
        connection.deadline = float("inf")
        body = head.chunked or Body(LengthReader(connection, head.length))

        def send_continue() -> None:
            if not response.started and not connection.incoming:
                connection.write(_CONTINUE)
                connection.flush()

        before_read = send_continue if head.expects_continue else None
        return RequestBody(body, self._bodies, before_read, connection.be_patient)

    def _environ(self, connection: Connection, head: Head) -> Environ:
        environ = self._common.copy()
        path = head.path
        environ["REQUEST_METHOD"] = head.method
        environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
        environ["QUERY_STRING"] = head.query
        environ["RAW_URI"] = head.target
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if head.version == (1, 1) else "HTTP/1.0"
        environ["SERVER_NAME"], environ["SERVER_PORT"] = connection.server[0], str(connection.server[1])
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = connection.client[0], str(connection.client[1])
        environ["wsgi.url_scheme"] = "https" if connection.secure else "http"
        environ["micromdm.peer_certificate"] = connection.peer_certificate
        for name, value in head.fields:
            key = name.replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            if key in environ:
                value = f"{environ[key]},{value}"
            environ[key] = value
        return environ


def _is_spent(body: io.BytesIO | RequestBody) -> bool:
    return isinstance(body, io.BytesIO) or body.spent
