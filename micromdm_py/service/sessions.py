"""Sessions of people who use the admin pages: opened with the API key or a token, kept in a cookie.

Documents kept: kind `session`, by SHA-256 of the cookie in hex: JSON with the end of the session, the name of
the token ("" for the API key) and a hash of the API key, so that a new key ends the sessions of the old one.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from micromdm_py.errors import NotFound, Unauthenticated
from micromdm_py.service.access import ADMINISTRATOR, Caller
from micromdm_py.service.tokens import Tokens
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["LIFETIME", "Sessions"]

LIFETIME = timedelta(hours=12)
COOKIE_BYTES = 32
_KIND = "session"


class Sessions:
    """Opens, recognizes and closes sessions."""

    def __init__(
        self,
        shelf: Shelf,
        tokens: Tokens,
        api_key: str,
        *,
        now: Callable[[], datetime],
        make_secret: Callable[[int], str],
    ) -> None:
        """Accept `api_key` ("" for none) and `tokens`; `make_secret` gives random URL-safe text."""
        self._shelf, self._tokens, self._key = shelf, tokens, api_key
        self._now, self._make_secret = now, make_secret

    def open(self, secret: str) -> str:
        """Begin a session and return its cookie. Raises: Unauthenticated."""
        if self._key and hmac.compare_digest(secret.encode("utf-8", "replace"), self._key.encode()):
            token = ""
        else:
            token = self._tokens.caller(secret).name
        cookie, at = self._make_secret(COOKIE_BYTES), self._now()
        document = {"until": (at + LIFETIME).isoformat(), "token": token, "key": self._key_digest()}
        ended = [name for name, row in self._shelf.documents(_KIND) if _until(row) <= at]

        def change(shelf: Documents) -> None:
            for name in ended:
                shelf.discard(_KIND, name)
            shelf.put(_KIND, _digest(cookie), json.dumps(document).encode())

        self._shelf.change_documents(change)
        return cookie

    def caller(self, cookie: str) -> Caller:
        """The caller that a session belongs to, with its present grants. Raises: Unauthenticated."""
        try:
            row = self._shelf.document(_KIND, _digest(cookie))
        except NotFound:
            raise Unauthenticated("no session") from None
        document = json.loads(row)
        if _until(row) <= self._now():
            raise Unauthenticated("the session has ended")
        if document["token"]:
            return self._tokens.named(document["token"])
        if not self._key or document["key"] != self._key_digest():
            raise Unauthenticated("the API key has changed")
        return ADMINISTRATOR

    def close(self, cookie: str) -> None:
        """End a session, if there is one."""
        self._shelf.change_documents(lambda shelf: shelf.discard(_KIND, _digest(cookie)))

    def _key_digest(self) -> str:
        return _digest(f"api-key {self._key}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _until(row: bytes) -> datetime:
    return datetime.fromisoformat(json.loads(row)["until"])
