"""Access to the simulated device assignment service: signed requests for sessions, and the sessions."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import count
from urllib.parse import quote, unquote

from micromdm_py.protocol.dep.token import DepToken

__all__ = ["Door", "Refused"]

SESSION_LASTS = timedelta(minutes=3)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Refused(Exception):
    """The simulated service refuses a call.

    Attributes:
        status, code: HTTP status and Apple's code.
        headers: headers of the answer.
    """

    def __init__(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        """Keep the answer."""
        super().__init__(code)
        self.status, self.code, self.headers = status, code, dict(headers or {})


class Door:
    """Opens sessions for one token."""

    def __init__(self, token: DepToken, now: Callable[[], datetime]) -> None:
        """Take the token whose secrets must sign the requests."""
        self._token, self._now = token, now
        self._sessions: dict[str, datetime] = {}
        self._nonces: set[str] = set()
        self._numbers = count(1)

    def open(self, header: str, url: str) -> str:
        """Check an OAuth header and open a session.

        Args:
            header: the value of `Authorization`.
            url: the URL that was signed.
        Returns: the session token.
        Raises: Refused.
        """
        sent = {name: unquote(value) for name, value in _PARAMETER.findall(header)}
        token = self._token
        if sent.get("oauth_consumer_key") != token.consumer_key:
            raise _problem("consumer_key_unknown")
        if sent.get("oauth_token") != token.access_token:
            raise _problem("token_rejected")
        if token.expires_at and token.expires_at <= self._now():
            raise _problem("token_expired")
        signature = sent.pop("oauth_signature", "")
        if not hmac.compare_digest(signature.encode(), _signature(token, url, sent)):
            raise _problem("signature_invalid")
        nonce = sent.get("oauth_nonce", "")
        if nonce in self._nonces:
            raise _problem("nonce_used")
        self._nonces.add(nonce)
        value = f"session-{next(self._numbers)}"
        self._sessions[value] = self._now() + SESSION_LASTS
        return value

    def check(self, value: str) -> None:
        """Let a session in. Raises: Refused."""
        ends = self._sessions.get(value)
        if ends is None or ends <= self._now():
            raise Refused(401, "UNAUTHORIZED")

    def forget(self) -> None:
        """End all sessions."""
        self._sessions.clear()


def _problem(name: str) -> Refused:
    return Refused(401, "", {"WWW-Authenticate": f'OAuth realm="ADM", oauth_problem="{name}"'})


def _signature(token: DepToken, url: str, sent: Mapping[str, str]) -> bytes:
    """The right signature for the OAuth parameters of a request for a session."""
    pairs = sorted((_escape(name), _escape(value)) for name, value in sent.items())
    base = f"GET&{_escape(url)}&{_escape('&'.join('='.join(pair) for pair in pairs))}"
    key = f"{_escape(token.consumer_secret)}&{_escape(token.access_secret)}"
    return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha1).digest())


def _escape(text: str) -> str:
    return quote(text, safe="~")
