"""A small webhook receiver that keeps what it gets; for demonstrations and tests."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["HookReceiver"]

Event = dict[str, object]


class HookReceiver:
    """Listens on loopback and keeps every event; `wait_for` blocks until a condition holds."""

    def __init__(self) -> None:
        """Start listening on a free port."""
        self._events: list[Event] = []
        self._news = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer._keep(json.loads(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _keep(self, event: Event) -> None:
        with self._news:
            self._events.append(event)
            self._news.notify_all()

    @property
    def events(self) -> list[Event]:
        """The events so far, in order of arrival."""
        with self._news:
            return list(self._events)

    def wait_for(self, condition: Callable[[list[Event]], bool], limit_s: float) -> bool:
        """Wait until `condition(events)` holds; False if it does not within `limit_s` seconds."""
        with self._news:
            return self._news.wait_for(lambda: condition(self._events), limit_s)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
