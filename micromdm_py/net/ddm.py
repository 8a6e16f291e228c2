"""The way to a declarative-management service."""

import contextlib
import functools
import time
from collections.abc import Callable

import httpx

from micromdm_py.errors import UpstreamFailed
from micromdm_py.service.declarative import UpstreamReply

__all__ = ["HttpDeclarative"]

TIMEOUT_S = 20.0
MAX_REPLY_BYTES = 16 << 20
MAX_REDIRECTS = 3


class HttpDeclarative:
    """Sends declarative requests over HTTP; may be used by many threads at once."""

    def __init__(
        self, client: httpx.Client | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Use `client`, by default one of our own that honours proxy variables and SSL_CERT_FILE."""
        self._given, self._clock = client, clock

    @functools.cached_property
    def _client(self) -> httpx.Client:
        """Made at first use, since that takes a tenth of a second. Two threads may each make one: no harm."""
        return self._given or httpx.Client(timeout=TIMEOUT_S)

    def send(self, method: str, url: str, enrollment_id: str, data: bytes) -> UpstreamReply:
        """See `service.declarative.DeclarativeUpstream`; redirects are followed on the same origin only."""
        end = self._clock() + TIMEOUT_S  # of the whole; that of the client is for each step
        headers = {b"X-Enrollment-ID": enrollment_id.encode()}
        if data:
            headers[b"Content-Type"] = b"application/json"
        request = self._client.build_request(method, url, headers=headers, content=data or None)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                with contextlib.closing(self._client.send(request, stream=True)) as answer:
                    if answer.next_request is None:
                        return UpstreamReply(answer.status_code, self._read(answer, end))
                    request = _follow(request, answer.next_request)
        except httpx.HTTPError as fault:
            raise UpstreamFailed(f"declarative service: {type(fault).__name__}") from fault
        raise UpstreamFailed("declarative service: too many redirects")

    def _read(self, answer: httpx.Response, end: float) -> bytes:
        parts, size = [], 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise UpstreamFailed("declarative service: answer is too large")
            if self._clock() > end:
                raise UpstreamFailed("declarative service: answer takes too long")
            parts.append(part)
        return b"".join(parts)


def _follow(sent: httpx.Request, following: httpx.Request) -> httpx.Request:
    if (sent.url.scheme, sent.url.netloc) != (following.url.scheme, following.url.netloc):
        raise UpstreamFailed("declarative service: redirect to another place")
    return following
