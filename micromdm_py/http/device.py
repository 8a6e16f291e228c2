"""PUT /mdm/checkin and PUT /mdm/connect: what devices speak to.

Every refusal has an empty body. The signature is checked over the raw bytes before anything is parsed.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import unquote_plus

import falcon

from micromdm_py.errors import SignatureInvalid
from micromdm_py.http.body import read_body
from micromdm_py.http.client_certificate import ClientCertificates
from micromdm_py.http.describe import Content, describe
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.signature import verify_detached

__all__ = ["DeviceResource"]

Handler = Callable[[bytes, Certificate, Mapping[str, str]], bytes]
"""A service that takes (body, verified certificate, URL parameters) to the body of the reply."""

_XML_START = b"<?xml"

MESSAGE = Content("application/xml", text="A check-in message or a report, signed (Mdm-Signature).")
ANSWER = Content("application/xml", text="What the message asks for, or nothing.")
REFUSALS = {
    401: "The device is blocked and shall drop its enrollment (connect only).",
    410: "UserAuthenticate.",
    500: "Refused, for whatever reason; without a body, as all refusals here.",
}


class DeviceResource:
    """One device route: body up to the limit, identity, service, reply."""

    def __init__(
        self,
        handle: Handler,
        certificates: ClientCertificates,
        max_body_bytes: int,
        skew: timedelta = timedelta(0),
    ) -> None:
        """Serve with `handle`; `certificates` finds identities that come by TLS instead of a signature."""
        self._handle, self._certificates, self._max = handle, certificates, max_body_bytes
        self._skew = skew

    @describe(takes=MESSAGE, gives=ANSWER, answers=REFUSALS)
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take one message of a device."""
        body = read_body(req, self._max)
        params = url_params(req.env.get("QUERY_STRING", ""))
        reply = self._handle(body, self._identity(req, body), params)
        resp.data = reply
        if reply:
            xml = reply.startswith(_XML_START)
            resp.content_type = "text/xml; charset=utf-8" if xml else "text/plain; charset=utf-8"

    def _identity(self, req: falcon.Request, body: bytes) -> Certificate:
        signature = req.env.get("HTTP_MDM_SIGNATURE")
        if signature:
            return verify_detached(signature, body, self._skew)
        certificate = self._certificates.find(req)
        if certificate is None:
            raise SignatureInvalid("no Mdm-Signature header and no client certificate")
        return certificate


def url_params(query: str) -> Mapping[str, str]:
    """Query parameters; of a repeated one the first counts, an empty value stays.

    As with MicroMDM, what holds a semicolon or a broken escape is no parameter.
    """
    found: dict[str, str] = {}
    for part in query.split("&"):
        if part and not _NO_PARAMETER.search(part):
            name, _, value = part.partition("=")
            found.setdefault(unquote_plus(name), unquote_plus(value))
    return found


_NO_PARAMETER = re.compile(";|%(?![0-9A-Fa-f]{2})")
