"""Send pushes to APNs over HTTP/2, in the courier's event loop and from threads of the web workers."""

import asyncio
import os
import ssl
import tempfile
import threading

import httpx

from micromdm_py.net.proxy import proxy_for
from micromdm_py.net.tls_context import outgoing_context
from micromdm_py.protocol.apns import Fate, PushReply, PushRequest, read_reply
from micromdm_py.protocol.delivery import read_retry_after
from micromdm_py.storage.records import PushCertificate

__all__ = ["ApnsSender", "AsyncApnsSender", "client_context"]

Limits = dict[str, dict[str, float | None]]

TIMEOUT_S = 20.0
_KEEP_ALIVE_S = 600.0
_ANSWER_BYTES = 16 << 10
_TOGETHER = {"timeout": httpx.Timeout(TIMEOUT_S).as_dict()}
# In a thread each step of a call has a limit of its own; their sum is twenty seconds.
_STEPS = {"timeout": httpx.Timeout(connect=6.0, write=2.0, read=10.0, pool=2.0).as_dict()}
# One connection carries everything. httpx opens a new one by itself after the old one is closed.
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE_S)


class AsyncApnsSender:
    """Pushes over one connection for each certificate, many at a time; for one event loop."""

    def __init__(self, url: str, ca_file: str = "", *, user_agent: str) -> None:
        """Prepare; nothing is connected.

        Args:
            url: of the service, without a path.
            ca_file: PEM file of its authority, "" for the usual ones.
            user_agent: value of that header.
        """
        self._make = _Maker(url, ca_file, user_agent, _TOGETHER)
        self._links: dict[str, _Link] = {}

    async def __call__(self, certificate: PushCertificate, request: PushRequest) -> PushReply:
        """Send one push; a fault of the network is a reply, and the connection is given up."""
        try:
            link = await self._link(certificate)
        except _UNUSABLE as fault:
            return _unusable(fault)
        link.users += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._exchange(link.transport, request)
        except Exception as fault:  # also the faults that the HTTP/2 library lets through
            if self._links.get(certificate.topic) is link:
                del self._links[certificate.topic]
            return _fault(fault)
        finally:
            link.users -= 1
            if not link.users and self._links.get(certificate.topic) is not link:
                await link.transport.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            await link.transport.aclose()
        self._links.clear()

    async def _link(self, certificate: PushCertificate) -> "_Link":
        link = self._links.get(certificate.topic)
        if link and link.certificate == certificate:
            return link
        transport = httpx.AsyncHTTPTransport(
            verify=self._make.context(certificate),
            trust_env=False,
            http2=True,
            limits=_LIMITS,
            proxy=self._make.proxy(),
        )
        self._links[certificate.topic] = fresh = _Link(certificate, transport)
        if link and not link.users:
            await link.transport.aclose()
        return fresh

    async def _exchange(self, transport: httpx.AsyncHTTPTransport, request: PushRequest) -> PushReply:
        response = await transport.handle_async_request(self._make.request(request))
        body = b""
        try:
            async for part in response.aiter_raw():
                body += part
                if len(body) > _ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
        return _reply(response, body)


class ApnsSender:
    """The same for threads: each call has a connection to itself while it lasts, and connections are kept."""

    def __init__(self, url: str, ca_file: str = "", *, user_agent: str) -> None:
        """Prepare, see `AsyncApnsSender`."""
        self._make = _Maker(url, ca_file, user_agent, _STEPS)
        self._lock = threading.Lock()
        self._free: list[tuple[PushCertificate, httpx.HTTPTransport]] = []

    def __call__(self, certificate: PushCertificate, request: PushRequest) -> PushReply:
        """Send one push; a fault of the network is a reply."""
        try:
            transport = self._take(certificate)
        except _UNUSABLE as fault:
            return _unusable(fault)
        try:
            reply = self._exchange(transport, request)
        except Exception as fault:  # also the faults that the HTTP/2 library lets through
            transport.close()
            return _fault(fault)
        with self._lock:
            self._free.append((certificate, transport))
        return reply

    def close(self) -> None:
        """Close the connections that are free."""
        with self._lock:
            free, self._free = self._free, []
        for _, transport in free:
            transport.close()

    def _take(self, certificate: PushCertificate) -> httpx.HTTPTransport:
        with self._lock:
            old = [
                pair for pair in self._free if pair[0].topic == certificate.topic and pair[0] != certificate
            ]
            self._free = [pair for pair in self._free if pair not in old]
            for index in range(len(self._free) - 1, -1, -1):
                if self._free[index][0] == certificate:
                    return self._free.pop(index)[1]
        for _, transport in old:
            transport.close()
        return httpx.HTTPTransport(
            verify=self._make.context(certificate),
            trust_env=False,
            http2=True,
            limits=_LIMITS,
            proxy=self._make.proxy(),
        )

    def _exchange(self, transport: httpx.HTTPTransport, request: PushRequest) -> PushReply:
        response = transport.handle_request(self._make.request(request))
        body = b""
        try:
            for part in response.iter_raw():
                body += part
                if len(body) > _ANSWER_BYTES:
                    break
        finally:
            response.close()
        return _reply(response, body)


class _Link:
    """A transport of the event loop and how many calls use it."""

    __slots__ = ("certificate", "transport", "users")

    def __init__(self, certificate: PushCertificate, transport: httpx.AsyncHTTPTransport) -> None:
        self.certificate, self.transport, self.users = certificate, transport, 0


class _Maker:
    """Makes what both senders need."""

    def __init__(self, url: str, ca_file: str, user_agent: str, limits: Limits) -> None:
        self._url, self._ca_file, self._limits = httpx.URL(url), ca_file, limits
        self._headers = [(b"Host", self._url.netloc), (b"User-Agent", user_agent.encode())]

    def proxy(self) -> httpx.Proxy | None:
        return proxy_for(self._url)

    def context(self, certificate: PushCertificate) -> ssl.SSLContext:
        """TLS with the push certificate. Raises: `_UNUSABLE`."""
        return client_context(certificate, self._ca_file)

    def request(self, push: PushRequest) -> httpx.Request:
        headers = [*self._headers, (b"Content-Length", b"%d" % len(push.body))]
        headers += [(name.encode(), value.encode()) for name, value in push.headers]
        url = self._url.copy_with(raw_path=push.path.encode())
        stream = httpx.ByteStream(push.body)
        return httpx.Request("POST", url, headers=headers, stream=stream, extensions=self._limits)


def client_context(certificate: PushCertificate, ca_file: str) -> ssl.SSLContext:
    """TLS for outgoing calls that identify with a push certificate. Raises: OSError, ValueError."""
    context = outgoing_context(ca_file)
    _load(context, certificate.certificate + b"\n" + certificate.key)
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Give a context certificate and key; OpenSSL takes a file, so one that is never on a disk."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("push", os.MFD_CLOEXEC), "wb") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(
                f"/proc/self/fd/{file.fileno()}", password=""
            )  # "" so that it asks nobody
        return
    with tempfile.NamedTemporaryFile() as named:  # mode 0600, gone at the end of the block
        named.write(pem)
        named.flush()
        context.load_cert_chain(named.name, password="")


_UNUSABLE = (OSError, ValueError)  # ssl.SSLError is an OSError


def _unusable(fault: Exception) -> PushReply:
    reason = getattr(fault, "reason", None) or getattr(fault, "strerror", None) or type(fault).__name__
    return PushReply(Fate.LOCKED_OUT, reason=f"push certificate or authority unusable: {reason}")


def _reply(response: httpx.Response, body: bytes) -> PushReply:
    wait = read_retry_after(response.headers.get("retry-after", ""))
    return read_reply(response.status_code, response.headers, body, wait)


def _fault(fault: Exception) -> PushReply:
    """What a call without an answer means; APNs says by a TLS alert that it dislikes our certificate."""
    if isinstance(fault, TimeoutError | httpx.TimeoutException):
        return PushReply(Fate.DOWN, reason="no answer in time")
    cause: BaseException | None = fault
    while cause is not None:
        reason = getattr(cause, "reason", None)
        if isinstance(cause, ssl.SSLError) and isinstance(reason, str):
            alert = "ALERT" in reason
            return PushReply(Fate.LOCKED_OUT if alert else Fate.DOWN, reason=f"TLS: {reason}")
        cause = cause.__cause__ or cause.__context__
    return PushReply(Fate.DOWN, reason=f"connection failed: {type(fault).__name__}")
