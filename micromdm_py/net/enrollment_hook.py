"""The way to the enrollment hook."""

import contextlib
import functools
import time

import httpx

from micromdm_py.errors import UpstreamFailed
from micromdm_py.protocol.delivery import event_signature
from micromdm_py.service.enrollment_hook import HookReply

__all__ = ["HttpHook"]

TIMEOUT_S = 20.0
MAX_REPLY_BYTES = 1 << 16


class HttpHook:
    """Posts questions to the hook; may be used by many threads at once."""

    def __init__(self, url: str, hmac_key: bytes = b"", client: httpx.Client | None = None) -> None:
        """Post to `url`.

        Args:
            url: http(s) URL, which may hold user and password.
            hmac_key: key of the header `X-Hmac-Signature`, b"" for none.
            client: by default one of our own that honours proxy variables and SSL_CERT_FILE.
        """
        self._url, self._hmac_key, self._given = url, hmac_key, client

    @functools.cached_property
    def _client(self) -> httpx.Client:
        """Made at first use, since that takes a tenth of a second. Two threads may each make one: no harm."""
        return self._given or httpx.Client(timeout=TIMEOUT_S)

    def __call__(self, question: bytes) -> HookReply:
        """Send a question and take the answer; redirects are not followed. Raises: UpstreamFailed."""
        headers = {"Content-Type": "application/json"}
        if self._hmac_key:
            headers["X-Hmac-Signature"] = event_signature(self._hmac_key, question)
        request = self._client.build_request("POST", self._url, headers=headers, content=question)
        try:
            with contextlib.closing(self._client.send(request, stream=True)) as answer:
                return HookReply(answer.status_code, _read(answer))
        except httpx.HTTPError as fault:
            raise UpstreamFailed(f"enrollment hook: {type(fault).__name__}") from fault


def _read(answer: httpx.Response) -> bytes:
    parts, size, end = [], 0, time.monotonic() + TIMEOUT_S
    for part in answer.iter_bytes():
        size += len(part)
        if size > MAX_REPLY_BYTES:
            raise UpstreamFailed("enrollment hook: answer is too large")
        if time.monotonic() > end:
            raise UpstreamFailed("enrollment hook: answer takes too long")
        parts.append(part)
    return b"".join(parts)
