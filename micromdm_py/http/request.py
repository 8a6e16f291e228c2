"""What every request has: an id, a line in the log."""

import logging
from collections.abc import Callable

import falcon

from micromdm_py.logs import log_event, request_id

__all__ = ["RequestLog", "path_of", "request_id_of"]

logger = logging.getLogger("micromdm_py.http")


def path_of(req: falcon.Request) -> str:
    """The path as the client sent it, percent-decoded once, before any clean-up."""
    path: str = req.env.get("PATH_INFO", "") or "/"
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def request_id_of(req: falcon.Request) -> str:
    """The id of a request, also sent as X-Request-Id."""
    found: str = getattr(req.context, "request_id", "")
    return found


class RequestLog:
    """Falcon middleware: gives each request an id and writes one line when it is answered."""

    def __init__(self, make_id: Callable[[], str]) -> None:
        """Take ids from `make_id`."""
        self._make_id = make_id

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Begin a request. Raises: falcon.HTTPNotFound for a path that is not clean; the answer redirects."""
        req.context.request_id = self._make_id()
        request_id.set(req.context.request_id)
        path = req.env["PATH_INFO"]
        if "//" in path or "/." in path:
            raise falcon.HTTPNotFound  # the router would take it for the clean path

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """End a request."""
        resp.set_header("X-Request-Id", request_id_of(req))
        env = req.env
        log_event(
            logger,
            logging.INFO,
            "",
            transport="http",
            method=env["REQUEST_METHOD"],
            status=resp.status_code,
            proto=env.get("SERVER_PROTOCOL", ""),
            host=env.get("REMOTE_ADDR", ""),
            user_agent=env.get("HTTP_USER_AGENT", ""),
            path=path_of(req),
        )
        request_id.set("")
