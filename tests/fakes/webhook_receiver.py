"""A webhook receiver on loopback that remembers what it got and answers as told."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Got:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int


@dataclass(frozen=True)
class Reply:
    """An answer; status 0 closes the connection instead. `after` is waited for first."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: threading.Event | None = None


class WebhookReceiver:
    """Use as a context manager; `answer(got)` decides, `got` holds all requests in order of arrival."""

    def __init__(self, answer: Callable[[Got], Reply] = lambda got: Reply(), port: int = 0) -> None:
        self.answer = answer
        self.got: list[Got] = []
        self._arrived = threading.Condition()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.port = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/hook"

    def __enter__(self) -> "WebhookReceiver":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, count: int, limit_s: float = 20.0) -> list[Got]:
        """All requests so far, when there are at least `count`."""
        return self.wait_until(lambda got: len(got) >= count, limit_s)

    def wait_until(self, test: Callable[[list[Got]], bool], limit_s: float = 20.0) -> list[Got]:
        """All requests so far, when they pass a test."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: test(self.got), limit_s), len(self.got)
            return list(self.got)

    def bodies(self) -> list[bytes]:
        with self._arrived:
            return [one.body for one in self.got]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # the sender is gone
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                got = Got(self.command, self.path, headers, body, self.client_address[1])
                reply = outer.answer(got)
                with outer._arrived:
                    outer.got.append(got)
                    outer._arrived.notify_all()
                if reply.after:
                    reply.after.wait(20)
                if not reply.status:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        pass  # a client that goes away is no matter
