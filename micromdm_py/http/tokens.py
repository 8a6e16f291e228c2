"""/v1/tokens: making, listing and revoking tokens."""

from datetime import timedelta

import falcon

from micromdm_py.errors import MalformedField
from micromdm_py.http.audit import audit_note
from micromdm_py.http.auth import caller_of
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import TIME, describe, needed, note
from micromdm_py.http.reply import reply
from micromdm_py.protocol.jsonbody import field, read_object, strings
from micromdm_py.protocol.jsonreply import json_reply, rfc3339
from micromdm_py.service.access import parse_grant
from micromdm_py.service.tokens import Token, Tokens

__all__ = ["TokenResource", "TokensResource"]

MAX_BODY_BYTES = 1 << 16
MAX_DAYS = 36_500


class TokensResource:
    """GET lists, POST makes a token."""

    needs_api_key = True

    def __init__(self, tokens: Tokens) -> None:
        """Work with `tokens`."""
        self._tokens = tokens

    @describe(
        gives={
            "tokens": [
                {
                    "name": str,
                    "permissions": [str],
                    "created_at": TIME,
                    "expires_at": TIME,
                    "revoked_at": TIME,
                }
            ]
        }
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List every token without its secret."""
        reply(resp, json_reply({"tokens": [_shown(token) for token in self._tokens.list()]}))

    @describe(
        takes={"name": needed(str), "permissions": needed([str]), "expires_days": int},
        gives={"name": str, "token": note(str, "the secret, shown only here")},
        status=201,
        answers={409: "The name is taken."},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a token; its secret is in this answer alone."""
        name, permissions, lifetime = _read(read_body(req, MAX_BODY_BYTES))
        # Nobody gives away more than they have.
        caller_of(req).require_all(map(parse_grant, permissions))
        audit_note(req, name, " ".join(permissions))
        secret = self._tokens.create(name, permissions, lifetime)
        reply(resp, json_reply({"name": name, "token": secret}), 201)


class TokenResource:
    """DELETE /v1/tokens/{name}."""

    needs_api_key = True

    def __init__(self, tokens: Tokens) -> None:
        """Work with `tokens`."""
        self._tokens = tokens

    @describe(gives={}, answers={404: "There is none of this name."})
    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Revoke a token."""
        self._tokens.revoke(name)
        reply(resp, json_reply({}))


def _shown(token: Token) -> dict[str, object]:
    times = {"created_at": token.created_at, "expires_at": token.expires_at, "revoked_at": token.revoked_at}
    return {
        "name": token.name,
        "permissions": [str(grant) for grant in token.grants],
        **{name: rfc3339(at) for name, at in times.items() if at is not None},
    }


def _read(body: bytes) -> tuple[str, list[str], timedelta | None]:
    found = read_object(body, trailing="refuse")
    days = field(found, "expires_days", int)
    if days is not None and not 0 < days <= MAX_DAYS:
        raise MalformedField("expires_days", f"must be a number from 1 to {MAX_DAYS}")
    permissions = list(strings(found, "permissions"))
    return field(found, "name", str) or "", permissions, timedelta(days=days) if days else None
