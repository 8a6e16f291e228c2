"""Who may call the admin API: the API key as HTTP Basic password, or an issued token.

Credentials are compared in constant time (tokens: looked up by their hash), before anything of the body is
read.
"""

import base64
import binascii
import hmac

import falcon

from micromdm_py.errors import MalformedField, NoCredentials, Unauthenticated
from micromdm_py.http.permissions import permission_of
from micromdm_py.http.request import path_of
from micromdm_py.service.access import ADMINISTRATOR, Caller
from micromdm_py.service.tokens import PREFIX, Tokens

__all__ = ["ADMIN", "ORGANIZATIONS", "Access", "caller_of", "check_again"]

ADMIN = "needs_api_key"
"""Attribute of a resource that only administrators may use."""
ORGANIZATIONS = "/v1/organizations"
"""How the routes begin that take the API key as Bearer, and answer errors in a form of their own."""

UNDECODED = "\N{REPLACEMENT CHARACTER}"
USER, NANO_USER = b"micromdm", b"nanomdm"
NANO = "/nano/"
"""How the routes begin whose callers know the API key's user as `nanomdm`, too."""


class Access:
    """Falcon middleware: lets only those to administrators' resources who may use them."""

    def __init__(self, key: str, tokens: Tokens) -> None:
        """Expect this key, which may hold colons; "" for none. Without key and tokens there are no routes."""
        self._key = key.encode()
        self._tokens = tokens

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, params: dict[str, str]
    ) -> None:
        """Check the credentials of a routed request, then that the fields of its path are text.

        Raises: Unauthenticated, Forbidden, MalformedField; falcon.HTTPNotFound when there is no admin API.
        """
        if not getattr(resource, ADMIN, False):
            return
        if not self._key and not self._tokens.exist():
            raise falcon.HTTPNotFound
        req.context.caller = caller = self._caller(req)
        req.context.check_again = lambda: self._caller(req)
        caller.require(permission_of(req.uri_template, req.method))
        for name, value in params.items():
            if UNDECODED in value:  # what stands for bytes that are not UTF-8; two ids could look alike
                raise MalformedField(name, "is not UTF-8")

    def _caller(self, req: falcon.Request) -> Caller:
        header: str = req.env.get("HTTP_AUTHORIZATION", "")
        organizations = path_of(req).startswith(ORGANIZATIONS)
        if not header:
            raise NoCredentials("No auth token" if organizations else "Unauthorized")
        scheme, _, text = header.partition(" ")
        try:
            if scheme.lower() == "basic":
                users = (USER, NANO_USER) if path_of(req).startswith(NANO) else (USER,)
                return self._basic(text.strip(), () if organizations else users)
            if scheme.lower() == "bearer":
                return self._bearer(text.strip(), takes_key=organizations)
        except (Unauthenticated, binascii.Error, ValueError):
            pass
        raise Unauthenticated("Invalid Token" if organizations else "Unauthorized")

    def _basic(self, text: str, users: tuple[bytes, ...]) -> Caller:
        """Who a user and password stand for; the API key counts for `users`."""
        user, _, password = base64.b64decode(text, validate=True).partition(b":")
        if password.startswith(PREFIX.encode()):
            return self._tokens.caller(password.decode())
        # Both are compared, whatever comes out, so that the time taken tells nothing.
        known = [hmac.compare_digest(user, one) for one in users]
        if not (hmac.compare_digest(password, self._key) and self._key and any(known)):
            raise Unauthenticated
        return ADMINISTRATOR

    def _bearer(self, text: str, *, takes_key: bool) -> Caller:
        if takes_key and self._key and hmac.compare_digest(text.encode(), self._key):
            return ADMINISTRATOR
        return self._tokens.caller(text)


def caller_of(req: falcon.Request) -> Caller:
    """Who sent a request for an administrators' resource."""
    caller: Caller = req.context.caller
    return caller


def check_again(req: falcon.Request) -> None:
    """Check the credentials of a request again, after it has waited. Raises: Unauthenticated."""
    req.context.check_again()
