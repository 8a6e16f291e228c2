"""Talking to the service: OAuth once to open a session, then calls with the session's token.

A conversation is a generator that yields calls and is sent the answers, so that blocking and asynchronous
clients can share it.

Source: RFC 5849 (OAuth 1.0a, HMAC-SHA1); Apple, "Authenticating with a device assignment server".
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from micromdm_py.protocol.dep import faults
from micromdm_py.protocol.dep.faults import DepFault, Meaning
from micromdm_py.protocol.dep.token import DepToken

__all__ = ["SESSION_LASTS", "Answer", "Call", "Session", "authorization", "fault_of"]

SESSION_LASTS = timedelta(minutes=3)
"""How long a session is used; Apple promises no longer."""
LONGEST_WAIT_S = 3600
"""Longest wait that an answer can impose, in seconds."""
SESSION = "X-ADM-Auth-Session"
MEDIA_TYPE = "application/json;charset=UTF8"
PROTOCOL_VERSION = "3"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request.

    Attributes:
        method, path: as in HTTP; the path includes the query and is appended to the service's URL.
        headers: all but those of the transport.
        body: JSON, b"" for none.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: HTTP status.
        body: the whole body.
        headers: by name in lower case.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Session:
    """A session with the service for one token. Thread-safe: at worst, two sessions are opened."""

    def __init__(
        self,
        token: DepToken,
        url: str,
        *,
        user_agent: str,
        now: Callable[[], datetime],
        make_nonce: Callable[[], str],
    ) -> None:
        """Prepare; no session is opened yet.

        Args:
            token: the credentials.
            url: the service's URL without path, which is signed.
            user_agent: User-Agent of the calls.
            now: gives the time, aware UTC.
            make_nonce: returns a text that it has never returned before.
        """
        self._token, self._url, self._user_agent = token, url, user_agent
        self._now, self._make_nonce = now, make_nonce
        self._value, self._ends = "", now()

    def converse(self, method: str, path: str, body: bytes = b"") -> Generator[Call, Answer, Answer]:
        """Make one call; open a session first if there is none, and try once more if it has ended.

        Args:
            method: as in HTTP.
            path: path and query, appended to the service's URL.
            body: JSON, b"" for none.
        Yields: the calls to make; the caller sends the answer to each.
        Returns: the answer, always with status 200.
        Raises: DepFault for any other status.
        """
        for attempt in (1, 2):
            fresh = not self._value or self._now() >= self._ends
            value = (yield from self._open()) if fresh else self._value
            answer = yield Call(method, path, self._headers() | {SESSION: value}, body)
            if answer.status == 200:
                if renewed := answer.headers.get(SESSION.lower()):
                    self._keep(renewed)
                return answer
            fault = fault_of(answer)
            if fault.meaning is not Meaning.SESSION_OVER or attempt == 2:
                raise fault
            self._value = ""
        raise AssertionError("unreachable")

    def _open(self) -> Generator[Call, Answer, str]:
        header = authorization(self._token, f"{self._url}/session", self._make_nonce(), self._now())
        answer = yield Call("GET", "/session", self._headers() | {"Authorization": header})
        if answer.status != 200:
            raise fault_of(answer)
        try:
            value = json.loads(answer.body)["auth_session_token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            value = None
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
            raise DepFault(200, "no session token in the answer", Meaning.UNAVAILABLE)
        self._keep(value)
        return value

    def _keep(self, value: str) -> None:
        self._ends = self._now() + SESSION_LASTS
        self._value = value

    def _headers(self) -> dict[str, str]:
        return {
            "User-Agent": self._user_agent,
            "Content-Type": MEDIA_TYPE,
            "Accept": MEDIA_TYPE,
            "X-Server-Protocol-Version": PROTOCOL_VERSION,
        }


def authorization(token: DepToken, url: str, nonce: str, at: datetime) -> str:
    """The value of the header `Authorization` that opens a session.

    Args:
        token: the credentials.
        url: the whole URL of the GET, without query.
        nonce: letters and digits, different each time.
        at: current time.
    """
    fields = {
        "oauth_consumer_key": token.consumer_key,
        "oauth_nonce": nonce,
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(int(at.timestamp())),
        "oauth_token": token.access_token,
        "oauth_version": "1.0",
    }
    escaped = sorted((_escape(name), _escape(value)) for name, value in fields.items())
    parameters = "&".join(f"{name}={value}" for name, value in escaped)
    base = "&".join(("GET", _escape(url), _escape(parameters)))
    key = f"{_escape(token.consumer_secret)}&{_escape(token.access_secret)}"
    signature = base64.b64encode(hmac.digest(key.encode(), base.encode(), hashlib.sha1)).decode()
    listed = [*escaped, ("oauth_signature", _escape(signature))]
    return "OAuth " + ", ".join(f'{name}="{value}"' for name, value in listed)


def fault_of(answer: Answer) -> DepFault:
    """The error for an answer whose status is not 200."""
    code = faults.code_of(answer.status, answer.body, answer.headers.get("www-authenticate", ""))
    text = answer.headers.get("retry-after", "")
    wait = min(int(text), LONGEST_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    return DepFault(answer.status, code, faults.meaning_of(answer.status, code), wait)


def _escape(text: str) -> str:
    return quote(text, safe="-._~")
