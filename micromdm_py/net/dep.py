"""The way to Apple's device assignment service: for threads (requests of administrators) and the courier."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import datetime

import httpx

from micromdm_py.net.tls_context import outgoing_context
from micromdm_py.protocol.dep.faults import DepFault, Meaning
from micromdm_py.protocol.dep.session import Answer, Call, Session
from micromdm_py.protocol.dep.token import DepToken

__all__ = ["LIMIT_S", "AsyncDepClient", "DepClient", "DepSessions"]

LIMIT_S = 20.0
"""Longest time that one call may take, together with the session that it may need."""
MAX_ANSWER_BYTES = 32 << 20
MAX_SESSIONS = 64


class DepSessions:
    """One session for each token, shared by all calls of a process."""

    def __init__(
        self, *, user_agent: str, now: Callable[[], datetime], make_nonce: Callable[[], str]
    ) -> None:
        """See `protocol.dep.session.Session`."""
        self._user_agent, self._now, self._make_nonce = user_agent, now, make_nonce
        self._known: dict[tuple[str, DepToken], Session] = {}

    def of(self, url: str, token: DepToken) -> Session:
        """The session of a token at a service."""
        found = self._known.get((url, token))
        if found is None:
            if len(self._known) >= MAX_SESSIONS:  # of tokens that were renewed long ago
                self._known.clear()
            found = Session(
                token, url, user_agent=self._user_agent, now=self._now, make_nonce=self._make_nonce
            )
            self._known[url, token] = found
        return found


class DepClient:
    """Calls for threads. Honours the proxy variables, `SSL_CERT_FILE` and `SSL_CERT_DIR`."""

    def __init__(
        self, sessions: DepSessions, client: httpx.Client | None = None, limit_s: float = LIMIT_S
    ) -> None:
        """Use `client`, by default one of our own, made for the first call."""
        self._sessions, self._client, self._limit_s = sessions, client, limit_s
        self._making = threading.Lock()

    def __call__(self, url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        """Make one call; see `service.dep.accounts.DepCaller`."""
        talk = self._sessions.of(url, token).converse(method, path, body)
        until = time.monotonic() + self._limit_s
        try:
            call = next(talk)
            while True:
                call = talk.send(self._send(url, call, until))
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        except (httpx.HTTPError, OSError, ValueError) as fault:
            raise _unreachable(fault) from fault

    def _send(self, url: str, call: Call, until: float) -> Answer:
        with self._making:
            client = self._client = self._client or httpx.Client(verify=outgoing_context())
        headers, content = dict(call.headers), call.body or None
        rest_s = max(until - time.monotonic(), 0.001)
        with client.stream(
            call.method, url + call.path, headers=headers, content=content, timeout=rest_s
        ) as answer:
            body = _Body()
            for part in answer.iter_bytes():
                body.add(part)
                if time.monotonic() > until:
                    raise TimeoutError
            return _answer(answer, body)


class AsyncDepClient:
    """The same for an event loop."""

    def __init__(
        self, sessions: DepSessions, client: httpx.AsyncClient | None = None, limit_s: float = LIMIT_S
    ) -> None:
        """Use `client`, by default one of our own, made for the first call."""
        self._sessions, self._client, self._limit_s = sessions, client, limit_s

    async def __call__(self, url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        """Make one call; see `service.dep.accounts.AsyncDepCaller`."""
        talk = self._sessions.of(url, token).converse(method, path, body)
        try:
            async with asyncio.timeout(self._limit_s):
                call = next(talk)
                while True:
                    call = talk.send(await self._send(url, call))
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        except (httpx.HTTPError, OSError, ValueError) as fault:  # TimeoutError is an OSError
            raise _unreachable(fault) from fault

    async def _send(self, url: str, call: Call) -> Answer:
        if self._client is None:
            self._client = httpx.AsyncClient(verify=outgoing_context())
        headers, content = dict(call.headers), call.body or None
        async with self._client.stream(
            call.method, url + call.path, headers=headers, content=content, timeout=self._limit_s
        ) as answer:
            body = _Body()
            async for part in answer.aiter_bytes():
                body.add(part)
            return _answer(answer, body)

    async def aclose(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()


class _Body:
    """An answer's body while it arrives."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_ANSWER_BYTES:
            raise DepFault(0, "the answer is too large", Meaning.UNAVAILABLE)
        self._parts.append(part)

    def whole(self) -> bytes:
        return b"".join(self._parts)


def _answer(answer: httpx.Response, body: _Body) -> Answer:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(answer.status_code, body.whole(), headers)


def _unreachable(fault: Exception) -> DepFault:
    late = isinstance(fault, TimeoutError | httpx.TimeoutException)
    reason = "no answer from Apple in time" if late else f"no answer from Apple: {type(fault).__name__}"
    return DepFault(0, reason, Meaning.UNAVAILABLE)
