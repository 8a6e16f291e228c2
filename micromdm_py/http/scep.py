"""/scep: certificates for devices.

Source: RFC 8894; which statuses and types answer is MicroMDM's.
"""

import base64
import binascii
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import falcon

from micromdm_py.errors import MalformedRequest
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import BASE64, Content, describe, needed, note
from micromdm_py.service.ca import CertificateAuthority

__all__ = ["ScepResource"]

MAX_MESSAGE_BYTES = 2 << 20
CAPABILITIES = "\n".join(
    ("Renewal", "SHA-1", "SHA-256", "AES", "DES3", "SCEPStandard", "POSTPKIOperation")
).encode()

QUERY = {
    "operation": needed(str, "GetCACaps, GetCACert or PKIOperation"),
    "message": note(BASE64, "of PKIOperation"),
}
ABOUT = "SCEP, RFC 8894. The type of the answer goes by the operation."


class ScepResource:
    """Answers GetCACaps, GetCACert and PKIOperation."""

    def __init__(self, authority: CertificateAuthority) -> None:
        """Serve `authority`."""
        self._authority = authority

    @describe(gives=Content("application/x-pki-message"), query=QUERY, about=ABOUT)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Serve a request whose message, if any, is in the query."""
        query = _query(req)
        self._serve(query.get(b"operation", b""), lambda: _from_query(query), resp)

    @describe(
        takes=Content("application/x-pki-message"),
        gives=Content("application/x-pki-message"),
        query={"operation": QUERY["operation"]},
        about=ABOUT,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Serve a request whose message is the body; a message in the query is ignored."""
        body = read_body(req, MAX_MESSAGE_BYTES)
        self._serve(_query(req).get(b"operation", b""), lambda: body, resp)

    def _serve(self, operation: bytes, message: Callable[[], bytes], resp: falcon.Response) -> None:
        if operation == b"GetCACaps":
            resp.data, resp.content_type = CAPABILITIES, "text/plain"
        elif operation == b"GetCACert":
            resp.data, resp.content_type = self._authority.certificate.der, "application/x-x509-ca-cert"
        elif operation == b"PKIOperation":
            resp.data, resp.content_type = self._authority.answer(message()), "application/x-pki-message"
        else:
            raise MalformedRequest("operation not implemented")


def _query(req: falcon.Request) -> dict[bytes, bytes]:
    """First value of each query parameter, as bytes: simulators put raw DER there."""
    found: dict[bytes, bytes] = {}
    for pair in req.env.get("QUERY_STRING", "").encode("latin-1", "replace").split(b"&"):
        name, _, value = pair.partition(b"=")
        found.setdefault(unquote_to_bytes(name), unquote_to_bytes(value))
    return found


def _from_query(query: dict[bytes, bytes]) -> bytes:
    """The message of a GET: base64, in which a plus sign may have become a space."""
    try:
        return base64.b64decode(query.get(b"message", b"").replace(b" ", b"+"), validate=True)
    except binascii.Error as fault:
        raise MalformedRequest("message is not base64") from fault
