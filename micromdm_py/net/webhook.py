"""Post webhook events to one receiver."""

import asyncio
import logging
import ssl
from collections.abc import Iterable

import httpx

from micromdm_py.protocol.delivery import (
    MAX_REDIRECTS,
    DeliveryResult,
    Verdict,
    event_signature,
    is_redirect,
    read_status,
)
from micromdm_py.storage.records import StoredEvent

__all__ = ["WebhookSender"]

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs, which may hold secrets

TIMEOUT_S = 30.0
_ANSWER_BYTES = 64 << 10
"""So much of an answer is read, to keep the connection; one with more is closed."""
_KEEP_ALIVE_S = 15.0
_CUT_OFF = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)

Headers = list[tuple[str, str]]


class WebhookSender:
    """Posts events to one URL, each over one of a few connections that are kept.

    Every connection has its own client: the pool that several requests share costs twice the time of the
    request itself (measured: 1.0 ms against 0.5 ms CPU for each event).
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        hmac_key: bytes = b"",
        user_agent: str,
        context: ssl.SSLContext,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Prepare; nothing is connected.

        Args:
            url: http(s) URL; user and password in it are sent as Basic credentials.
            headers: extra headers, sent to the origin of `url` only.
            hmac_key: key of the signature header, b"" for none.
            user_agent: value of that header.
            context: TLS of https URLs.
            timeout_s: time limit of a whole try, redirects included.
        """
        self._url = httpx.URL(url)
        self._own: Headers = [
            ("Content-Type", "application/json; charset=utf-8"),
            ("User-Agent", user_agent),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
        ]
        self._extra = list(headers)
        taken = {name.lower() for name, _ in self._extra}
        self._full = [(name, value) for name, value in self._own if name.lower() not in taken] + self._extra
        self._hmac_key, self._context, self._timeout_s = hmac_key, context, timeout_s
        self._extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}
        self._free: list[_Slot] = []
        self._slots: list[_Slot] = []

    async def __call__(self, event: StoredEvent) -> DeliveryResult:
        """Post one event; faults of the network are results, not errors."""
        slot = self._free.pop() if self._free else self._open()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._deliver(slot, event.body)
        except TimeoutError:
            return DeliveryResult(Verdict.UNREACHABLE, f"no answer within {self._timeout_s:g} s")
        finally:
            self._free.append(slot)

    async def aclose(self) -> None:
        """Close all connections."""
        self._free.clear()
        for slot in self._slots:
            await slot.client.aclose()
        self._slots.clear()

    def _open(self) -> "_Slot":
        limits = httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE_S)
        slot = _Slot(httpx.AsyncClient(verify=self._context, limits=limits, timeout=self._timeout_s))
        self._slots.append(slot)
        return slot

    async def _deliver(self, slot: "_Slot", body: bytes) -> DeliveryResult:
        try:
            return await self._follow(slot, body)
        except _CUT_OFF as fault:
            # A kept connection may be closed by the receiver just when we use it: that is no fault of its.
            if not slot.used:
                return _fault(fault)
        except httpx.TransportError as fault:
            return _fault(fault)
        finally:
            slot.used = True
        slot.used = False
        return await self._deliver(slot, body)

    async def _follow(self, slot: "_Slot", body: bytes) -> DeliveryResult:
        url, headers = self._url, self._full
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._post(slot, url, headers, body)
            if not is_redirect(response.status_code):
                return read_status(response.status_code, response.headers.get("retry-after", ""))
            target = _target(url, response.headers.get("location", ""))
            if target is None:
                return DeliveryResult(
                    Verdict.REFUSED, f"status {response.status_code} to an unusable location"
                )
            if not _same_origin(url, target):
                headers = self._own
            url = target
        return DeliveryResult(Verdict.REFUSED, f"more than {MAX_REDIRECTS} redirects")

    async def _post(self, slot: "_Slot", url: httpx.URL, headers: Headers, body: bytes) -> httpx.Response:
        if self._hmac_key:
            headers = [*headers, ("X-Hmac-Signature", event_signature(self._hmac_key, body))]
        request = httpx.Request("POST", url, headers=headers, content=body, extensions=self._extensions)
        response = await slot.client.send(request, stream=True)
        try:
            left = _ANSWER_BYTES
            async for part in response.aiter_raw():
                left -= len(part)
                if left < 0:
                    break
        finally:
            await response.aclose()
        return response


class _Slot:
    """A client with one connection; `used` once it may have one that the receiver can close."""

    __slots__ = ("client", "used")

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client, self.used = client, False


def _target(url: httpx.URL, location: str) -> httpx.URL | None:
    """Where a redirect leads; None for nowhere, and from https to http, which would show the event."""
    try:
        target = url.join(location) if location else None
    except (httpx.InvalidURL, ValueError):
        return None
    if target is None or target.scheme not in ("http", "https") or not target.host:
        return None
    return None if (url.scheme, target.scheme) == ("https", "http") else target


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    ports = {"http": 80, "https": 443}
    return (one.scheme, one.host, one.port or ports[one.scheme]) == (
        other.scheme,
        other.host,
        other.port or ports[other.scheme],
    )


def _fault(fault: httpx.TransportError) -> DeliveryResult:
    text = str(fault)[:200] if isinstance(fault, httpx.ConnectError) else ""
    name = type(fault).__name__
    return DeliveryResult(Verdict.UNREACHABLE, f"{name}: {text}" if text else name)
