"""Tokens for callers of the admin API; of their secrets only hashes are kept.

Documents kept: kind `token`, by name: JSON of the token; kind `token-hash`, by SHA-256 in hex: the name.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from micromdm_py.errors import Conflict, MalformedField, NotFound, Unauthenticated
from micromdm_py.protocol.ids import check_id
from micromdm_py.service.access import ADMINISTRATOR, Caller, Grant, parse_grant
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["PREFIX", "Token", "Tokens"]

PREFIX = "mdm_"
"""How every token begins."""
SECRET_BYTES = 32
_KIND, _HASH = "token", "token-hash"


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret.

    Attributes:
        name: who uses it; unique.
        grants: what it allows.
        created_at: when it was made.
        expires_at: when it stops being good, None for never.
        revoked_at: when it was revoked, None if it was not.
    """

    name: str
    grants: tuple[Grant, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Tokens:
    """Makes, lists, revokes and recognizes tokens."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        known: Collection[str],
        now: Callable[[], datetime],
        make_secret: Callable[[int], str],
    ) -> None:
        """Keep them on `shelf`.

        Args:
            shelf: documents of the store.
            known: every permission there is; a grant that covers none of them is refused as a slip.
            now: current time, aware UTC.
            make_secret: turns a number of random bytes into URL-safe text.
        """
        self._shelf, self._known, self._now, self._make_secret = shelf, known, now, make_secret

    def create(self, name: str, permissions: Sequence[str], lifetime: timedelta | None = None) -> str:
        """Make a token and return its secret, which nobody can get later.

        Args:
            name: who is going to use it.
            permissions: what it allows, see `service.access`.
            lifetime: how long it is good; None for ever.
        Raises: MalformedField; Conflict if there is one of that name, even if it was revoked.
        """
        if check_id("name", name) == ADMINISTRATOR.name:
            raise MalformedField("name", "is that of the API key in the audit log")
        if not permissions:
            raise MalformedField("permissions", "must not be empty")
        grants = tuple(map(parse_grant, permissions))
        for grant in grants:
            if not any(map(grant.covers, self._known)):
                raise MalformedField("permissions", f"there is no permission {grant}")
        at = self._now()
        expires_at = at + lifetime if lifetime is not None else None
        token = Token(name, grants, at, expires_at)
        secret = PREFIX + self._make_secret(SECRET_BYTES)

        def change(shelf: Documents) -> None:
            if shelf.get(_KIND, name) is not None:
                raise Conflict(f"token {name} exists")
            shelf.put(_KIND, name, _encode(token, _digest(secret)))
            shelf.put(_HASH, _digest(secret), name.encode())

        self._shelf.change_documents(change)
        return secret

    def revoke(self, name: str) -> None:
        """Refuse a token from now on; it stays listed. Raises: NotFound."""
        at = self._now()

        def change(shelf: Documents) -> None:
            row = shelf.get(_KIND, name)
            if row is None:
                raise NotFound(f"not found: token {name}")
            found = json.loads(row)
            if found["revoked_at"] is None:
                found["revoked_at"] = at.isoformat()
                shelf.put(_KIND, name, json.dumps(found).encode())
                shelf.remove(_HASH, found["sha256"])

        self._shelf.change_documents(change)

    def list(self) -> list[Token]:
        """Every token, by name."""
        return [_decode(name, row) for name, row in self._shelf.documents(_KIND)]

    def exist(self) -> bool:
        """Whether there is any token that was not revoked."""
        return bool(self._shelf.documents(_HASH, limit=1))

    def caller(self, secret: str) -> Caller:
        """The caller that a secret belongs to. Raises: Unauthenticated."""
        if not secret.startswith(PREFIX):
            raise Unauthenticated("Invalid Token")
        try:
            # Looked up by its hash, so that the time this takes says nothing about the secret.
            name = self._shelf.document(_HASH, _digest(secret)).decode()
        except NotFound:
            raise Unauthenticated("Invalid Token") from None
        return self.named(name)

    def named(self, name: str) -> Caller:
        """The caller that has the token of a name, as long as it is good. Raises: Unauthenticated."""
        try:
            token = _decode(name, self._shelf.document(_KIND, name))
        except NotFound:
            raise Unauthenticated("Invalid Token") from None
        if token.revoked_at or (token.expires_at and token.expires_at <= self._now()):
            raise Unauthenticated("Invalid Token")
        return Caller(token.name, token.grants)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _encode(token: Token, digest: str) -> bytes:
    document = {
        "sha256": digest,
        "permissions": [str(grant) for grant in token.grants],
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        "revoked_at": None,
    }
    return json.dumps(document).encode()


def _decode(name: str, row: bytes) -> Token:
    found = json.loads(row)
    ends = (_time(found[key]) for key in ("expires_at", "revoked_at"))
    grants = tuple(map(parse_grant, found["permissions"]))
    return Token(name, grants, datetime.fromisoformat(found["created_at"]), *ends)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
