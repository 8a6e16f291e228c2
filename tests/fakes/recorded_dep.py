"""Apple's device assignment service as it answered when the requests of administrators were recorded."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

FIXTURES = json.loads(
    (Path(__file__).parents[1] / "data" / "golden" / "http-api-fixtures.json").read_text("utf-8")
)
TOKEN_TEXT: str = FIXTURES["dep_token_plaintext"]
"""What is inside the token file of the recorded requests."""

_BODIES = {one["request"].partition("?")[0]: one["response"]["body"] for one in FIXTURES["dep_simulator"]}
_DEVICE = _BODIES["POST /devices"]["devices"]["<serial>"]


def answer(call: str, sent: Any) -> Any:
    """The answer to a call, `METHOD /path`, None for one that was not recorded."""
    if call not in _BODIES:
        return None
    body = dict(_BODIES[call])
    serials = sent.get("devices") or []
    if call == "POST /devices":
        unknown = {"response_status": "NOT_ACCESSIBLE"}
        body["devices"] = {
            one: {**(unknown if one == "NOPE" else _DEVICE), "serial_number": one} for one in serials
        }
    elif call == "POST /server/devices":
        body["devices"] = [{**_DEVICE, "serial_number": "C02ABCDEF"}]
    elif call == "POST /devices/sync":
        change = {"op_type": "added", "op_date": "2024-01-02T03:04:05Z"}
        body["devices"] = [{**_DEVICE, **change, "serial_number": "C02SYNCED"}]
    elif isinstance(body.get("devices"), str):
        body["devices"] = dict.fromkeys(serials, "SUCCESS")
    if body.get("profile_uuid") == "<request.profile_uuid>":
        body["profile_uuid"] = sent["profile_uuid"]
    return body


class RecordedDep:
    """The service on loopback."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                told = answer(f"{self.command} {urlsplit(self.path).path}", sent)
                body = json.dumps(told).encode()
                self.send_response(404 if told is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
