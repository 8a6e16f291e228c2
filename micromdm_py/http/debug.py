"""What `-http-debug` adds to the log: the outline of requests and answers.

Bodies and the values of headers stay out. They hold tokens, challenges, passwords and keys, and nobody can
tell for every command which of its fields are secret.
"""

import logging
import time
from collections.abc import Callable

import falcon

from micromdm_py.logs import log_event

__all__ = ["DebugLog"]

MAX_QUERY_CHARS = 200

logger = logging.getLogger(__name__)


class DebugLog:
    """Falcon middleware: two lines of level debug for each request."""

    def __init__(self, clock_s: Callable[[], float] = time.perf_counter) -> None:
        """Measure with `clock_s`."""
        self._clock_s = clock_s

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Say what came in: how the body is framed, which headers there are, which parameters."""
        env = req.env
        req.context.began_s = self._clock_s()
        headers = sorted(name[5:].lower().replace("_", "-") for name in env if name.startswith("HTTP_"))
        pairs = env.get("QUERY_STRING", "")[:MAX_QUERY_CHARS].split("&")
        log_event(
            logger,
            logging.DEBUG,
            "request",
            content_type=env.get("CONTENT_TYPE") or None,
            length=env.get("CONTENT_LENGTH") or env.get("HTTP_TRANSFER_ENCODING"),
            headers=",".join(headers),
            parameters=",".join(pair.partition("=")[0] for pair in pairs) or None,
            peer=env.get("REMOTE_ADDR"),
            scheme=env.get("wsgi.url_scheme"),
        )

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """Say what goes out."""
        taken_s = self._clock_s() - getattr(req.context, "began_s", self._clock_s())
        log_event(
            logger,
            logging.DEBUG,
            "answer",
            status=resp.status_code,
            content_type=resp.content_type,
            length=len(resp.data or b""),
            milliseconds=f"{taken_s * 1000:.1f}",
        )
