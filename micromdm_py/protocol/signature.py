"""Verifying signatures: the Mdm-Signature header of a request, and CMS messages with embedded content.

Source: Apple, "Implementing device management", "Pass an identity certificate in the HTTP header"; RFC 5652.
"""

import binascii
from dataclasses import dataclass, field
from datetime import timedelta

from micromdm_py.errors import MalformedRequest, SignatureInvalid
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.signed import SignedMessage, parse_signed, verify_signer

__all__ = ["MAX_HEADER_CHARS", "SignedContent", "verify_attached", "verify_detached"]

MAX_HEADER_CHARS = 262_144
"""Longest header value that is read; a device sends two to eight thousand characters."""

MAX_KNOWN, MAX_KNOWN_BYTES = 2048, 6144
"""How many parsed messages are cached, and how long one may be: at most about 16 MiB in all."""


@dataclass(frozen=True, slots=True)
class SignedContent:
    """A CMS message with embedded content, its signature verified.

    Attributes:
        content: the bytes that were signed.
        signer: certificate that made the signature; whether to trust it is up to the caller.
        certificates: all certificates of the message, including the signer's, in the order sent.
    """

    content: bytes = field(repr=False)
    signer: Certificate
    certificates: tuple[Certificate, ...]


def verify_detached(header: str | None, body: bytes, skew: timedelta = timedelta(0)) -> Certificate:
    """Check an Mdm-Signature header against the body it came with.

    Content embedded in the CMS is ignored: only the body counts. Whether the certificate is known and whether
    it has expired are for the caller to check.

    Args:
        header: value of the header: CMS SignedData, DER or BER, in standard padded base64; None without one.
        body: the request body exactly as received.
        skew: how far signingTime may lie outside the validity of the certificate.
    Returns: the certificate of the one signer.
    Raises: SignatureInvalid, for any error.
    """
    if not header:
        raise SignatureInvalid("Mdm-Signature is missing")
    if len(header) > MAX_HEADER_CHARS:
        raise SignatureInvalid("Mdm-Signature is too long")
    try:
        data = binascii.a2b_base64(header, strict_mode=True)
    except ValueError:  # binascii.Error is one; so is a character outside ASCII
        raise SignatureInvalid("Mdm-Signature is not standard base64") from None
    try:
        return verify_signer(_parse_cached(data), body, skew)
    except MalformedRequest as error:
        raise SignatureInvalid(str(error)) from None


_places: dict[int, tuple[int, int]] = {}
_known: dict[tuple[int, int, bytes], SignedMessage] = {}


def _parse_cached(data: bytes) -> SignedMessage:
    """`parse_signed` without content, caching all of the message except its signature.

    The messages of one device differ only in the signature. If all other bytes are the same and the signature
    is at the same place, all other parts are the same, too.
    """
    begin, stop = _places.get(len(data), (0, 0))
    key = begin, stop, data[:begin] + data[stop:]
    known = _known.get(key) if stop else None
    if known is not None:
        return known._replace(signature=data[begin:stop])
    message = parse_signed(data, with_content=False)
    if message.place and message.signed_attributes is None and len(data) <= MAX_KNOWN_BYTES:
        if len(_known) >= MAX_KNOWN:
            _known.clear()
            _places.clear()
        begin, stop = _places[len(data)] = message.place
        _known[begin, stop, data[:begin] + data[stop:]] = message
    return message


def verify_attached(data: bytes) -> SignedContent:
    """Check a CMS SignedData with embedded content.

    Args:
        data: DER or BER, as posted by a device during enrollment.
    Raises: SignatureInvalid, for any error.
    """
    try:
        message = parse_signed(data, with_content=True)
        if message.content is None:
            raise SignatureInvalid("CMS has no embedded content")
        signer = verify_signer(message, message.content)
        certificates = tuple(load_certificate(der) for der in message.certificates)
    except MalformedRequest as error:
        raise SignatureInvalid(str(error)) from None
    return SignedContent(message.content, signer, certificates)
