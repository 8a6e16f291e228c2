"""What every request has: an id, a line in the log."""

import threading
from collections.abc import Callable

import falcon
from falcon.constants import COMBINED_METHODS

from micromdm_py.logs import quoted, request_id

__all__ = ["RequestLog", "clean_path", "path_of", "request_id_of", "stops"]


def path_of(req: falcon.Request) -> str:
    """The path as the client sent it, percent-decoded once, for people to read."""
    path: str = req.env.get("PATH_INFO", "") or "/"
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def clean_path(path: str) -> str:
    """A path without empty, `.` and `..` segments; a slash at the end stays."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    clean = "/" + "/".join(parts)
    return clean + "/" if path.endswith("/") and parts else clean


def request_id_of(req: falcon.Request) -> str:
    """The id of a request, also sent as X-Request-Id."""
    found: str = getattr(req.context, "request_id", "")
    return found


def stops(req: falcon.Request) -> Callable[[], bool]:
    """What tells whether the server is about to stop, so that requests that wait should end."""
    stopping: threading.Event | None = req.env.get("micromdm.stopping")
    return stopping.is_set if stopping is not None else bool


class RequestLog:
    """Falcon middleware: gives each request an id and writes one line when it is answered."""

    def __init__(self, make_id: Callable[[], str], write: Callable[[str], None]) -> None:
        """Take ids from `make_id`; `write` takes a logfmt line."""
        self._make_id, self._write = make_id, write

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Begin a request. Raises: falcon.HTTPNotFound for a path that is not clean; the answer redirects."""
        req.context.request_id = name = self._make_id()
        request_id.set(name)
        path = req.env["PATH_INFO"]
        if ("//" in path or "/." in path) and clean_path(path) != path:
            raise falcon.HTTPNotFound  # the router would take it for the clean path
        if req.method not in COMBINED_METHODS:
            req.method = "TRACE"  # an unknown method is refused like a known one that no route has

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """End a request."""
        env, name = req.env, request_id_of(req)
        resp.set_header("X-Request-Id", name)
        self._write(
            f"level=info component=http request_id={name} transport=http"
            f" method={quoted(env['REQUEST_METHOD'])} status={resp.status_code}"
            f" proto={env.get('SERVER_PROTOCOL', '')} host={env.get('REMOTE_ADDR', '')}"
            f" user_agent={quoted(env.get('HTTP_USER_AGENT', ''))} path={quoted(path_of(req))}"
        )
        request_id.set("")
