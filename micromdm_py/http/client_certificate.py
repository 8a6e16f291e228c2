"""Device identities that come with the connection: mutual TLS, direct or passed on by a proxy."""

import base64
import binascii
from urllib.parse import unquote_to_bytes

import falcon

from micromdm_py.errors import MalformedRequest, SignatureInvalid
from micromdm_py.http.proxy import TrustedProxies
from micromdm_py.protocol.certificates import Certificate, load_certificate

__all__ = ["ClientCertificates"]

_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"
_PEM_END = b"-----END CERTIFICATE-----"


class ClientCertificates:
    """Finds the client certificate of a request.

    A header counts only from a trusted proxy; anybody else could write what they like into it.
    """

    def __init__(self, header: str, trusted: TrustedProxies) -> None:
        """Look into `header` ("" for none): RFC 9440 (`:base64:`) or URL-escaped PEM."""
        self._header, self._trusted = header, trusted

    def find(self, req: falcon.Request) -> Certificate | None:
        """The certificate, None when there is none. Raises: SignatureInvalid when it cannot be read."""
        der = req.env.get("micromdm.peer_certificate")
        value = req.get_header(self._header) if self._header else None
        peer = req.env.get("micromdm.peer_address") or req.env.get("REMOTE_ADDR", "")
        if not der and value and peer in self._trusted:
            der = _decode(value)
        if not der:
            return None
        try:
            return load_certificate(der)
        except MalformedRequest as fault:
            raise SignatureInvalid(f"client certificate: {fault}") from fault


def _decode(value: str) -> bytes:
    """DER of a header value. Source: RFC 9440 2; nginx `$ssl_client_escaped_cert`."""
    text = value.strip()
    try:
        if text.startswith(":") and text.endswith(":"):
            return base64.b64decode(text[1:-1], validate=True)
        pem = unquote_to_bytes(text)
        begin, end = pem.index(_PEM_BEGIN) + len(_PEM_BEGIN), pem.index(_PEM_END)
        return base64.b64decode(b"".join(pem[begin:end].split()), validate=True)
    except (ValueError, binascii.Error) as fault:
        raise SignatureInvalid("the client certificate header cannot be read") from fault
