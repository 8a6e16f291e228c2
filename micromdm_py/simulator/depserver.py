"""The simulated device assignment service over HTTP, with a way to cause trouble while it runs.

Besides Apple's calls there is `/simulator`: GET shows the fleet, POST takes `{"add": n or serials, "remove":
serials, "expire_cursors": true, "end_sessions": true, "fail": {"path", "status", "code", "times",
"retry_after_s", "skip"}}`.
"""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from micromdm_py.protocol.jsonbody import Json
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.simulator.depsim import DepService, Fault

__all__ = ["DepServer", "serial_number"]

CONTROL = "/simulator"


def serial_number(number: int) -> str:
    """The serial number of a simulated device."""
    return f"SIM{number:09d}"


class DepServer:
    """Serves the simulated service, one call at a time."""

    def __init__(
        self,
        address: tuple[str, int],
        devices: int,
        *,
        now: Callable[[], datetime],
        log: Callable[[str], None],
    ) -> None:
        """Listen on an address.

        Args:
            address: host and port; port 0 picks a free one.
            devices: how many devices there are at first.
            now: gives the time, aware UTC.
            log: called with a line for each call.
        Raises: OSError.
        """
        self.service = DepService(map(serial_number, range(1, devices + 1)), now=now)
        self._lock = threading.Lock()
        self._made = devices
        self._server = ThreadingHTTPServer(address, _handler(self, log))
        self._server.daemon_threads = True
        host, port = self._server.server_address[:2]
        self.url = f"http://{host!s}:{port}"

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer one request; see `DepService.answer`."""
        with self._lock:
            if target != CONTROL:
                url = f"http://{headers.get('host', '')}"
                return self.service.answer(method, target, headers, body, url)
            try:
                if method == "POST":
                    self._control(json.loads(body))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
                return 400, {}, f"{type(fault).__name__}: {fault}\n".encode()
            return 200, {"Content-Type": "application/json"}, json_reply(self._state())

    def _control(self, found: dict[str, Json]) -> None:
        added = found.get("add", 0)
        if isinstance(added, int):
            added = [serial_number(self._made + number) for number in range(1, added + 1)]
            self._made += len(added)
        for serial in added:
            self.service.add(str(serial))
        for serial in found.get("remove", ()):
            self.service.remove(serial)
        if found.get("expire_cursors"):
            self.service.expire_cursors()
        if found.get("end_sessions"):
            self.service.end_sessions()
        if fault := found.get("fail"):
            self.service.faults.append(Fault(**fault))

    def _state(self) -> dict[str, object]:
        service = self.service
        return {"devices": service.devices, "profiles": service.profiles, "calls": len(service.calls)}

    def serve(self) -> None:
        """Answer until `close` is called from another thread."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _handler(server: DepServer, log: Callable[[str], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = {name.lower(): value for name, value in self.headers.items()}
            status, headers, answer = server.answer(self.command, self.path, sent, body)
            log(f"{self.command} {self.path} {status}")
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
