"""The API key.

HTTP Basic, user `micromdm`, compared in constant time, before anything of the body is read.
"""

import base64
import binascii
import hmac

import falcon

from micromdm_py.errors import MalformedField, Unauthenticated

__all__ = ["ADMIN", "ApiKey"]

ADMIN = "needs_api_key"
"""Attribute of a resource that only administrators may use."""

UNDECODED = "\N{REPLACEMENT CHARACTER}"
USER = b"micromdm"


class ApiKey:
    """Falcon middleware: refuses requests for administrators' resources without the API key."""

    def __init__(self, key: str) -> None:
        """Expect this key; it may hold colons."""
        self._expected = USER + b":" + key.encode()

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, params: dict[str, str]
    ) -> None:
        """Check the credentials of a routed request, then that the fields of its path are text.

        Raises: Unauthenticated, MalformedField.
        """
        if not getattr(resource, ADMIN, False):
            return
        if not self._fits(req.env.get("HTTP_AUTHORIZATION", "")):
            raise Unauthenticated("Unauthorized")
        for name, value in params.items():
            if UNDECODED in value:  # what stands for bytes that are not UTF-8; two ids could look alike
                raise MalformedField(name, "is not UTF-8")

    def _fits(self, header: str) -> bool:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, self._expected)
