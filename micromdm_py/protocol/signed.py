"""Reading CMS SignedData with one signer, and checking its signature.

Devices send BER of one shape, other clients send DER; both go through the same code.

Source: RFC 5652, 5 (SignedData), 11 (attributes).
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from micromdm_py.errors import MalformedRequest, SignatureInvalid
from micromdm_py.protocol import oids
from micromdm_py.protocol.certificates import Certificate, load_certificate, verify_signature
from micromdm_py.protocol.der import (
    EXPLICIT_0,
    GENERALIZED_TIME,
    INTEGER,
    OCTETS,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    Element,
    children,
    elements,
    first,
    octets,
    raw,
    set_of,
    tlv,
    to_der,
)

__all__ = [
    "MAX_ATTRIBUTES",
    "MAX_CERTIFICATES",
    "SignedMessage",
    "embedded_certificates",
    "open_content_info",
    "parse_signed",
    "verify_signer",
]

MAX_CERTIFICATES = 16
"""Most certificates in one message; a device sends its own and at most the chain above it."""

MAX_ATTRIBUTES = 64
"""Most signed attributes; SCEP sends seven."""

_CONSTRUCTED_OCTETS = OCTETS | 0x20
_IMPLICIT_1 = 0xA1
_TIME = re.compile(rb"(\d\d|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:Z|([+-])(\d\d)(\d\d))", re.ASCII)


class SignedMessage(NamedTuple):
    """The parts of one SignedData that checking it needs, none of them verified.

    A named tuple, because one is made for every request and a frozen dataclass would take 2 µs longer.

    Attributes:
        content: the embedded content; None when the signature is detached or content was not asked for.
        certificates: the embedded certificates, DER, in the order sent.
        signer_id: contents of the signer's IssuerAndSerialNumber.
        digest: name of the signer's digest, a key of `oids.DIGESTS`.
        key_kind: "rsa" or "ec".
        signature_digest: digest named by the signature algorithm; nearly always equal to `digest`.
        signature: the signature.
        signed_attributes: the attributes as a SET, as sent; None without attributes.
        attributes: first value of each signed attribute, with header, by its encoded OID.
        place: offsets of the signature's beginning and end; None when it was sent in segments.
    """

    content: bytes | None
    certificates: list[bytes]
    signer_id: bytes
    digest: oids.Digest
    key_kind: str
    signature_digest: oids.Digest
    signature: bytes
    signed_attributes: bytes | None
    attributes: dict[bytes, bytes]
    place: tuple[int, int] | None


def parse_signed(data: bytes, *, with_content: bool) -> SignedMessage:
    """Read a ContentInfo with SignedData.

    Args:
        data: BER or DER; bytes after it are ignored.
        with_content: whether to return the content, too; otherwise it is skipped, however large.
    Raises: MalformedRequest, also when there is not exactly one signer or an algorithm is not accepted.
    """
    parts = children(data, open_content_info(data, oids.SIGNED_DATA))
    # version, digest algorithms, content, then optional certificates and revocation lists, then the signers
    if len(parts) < 4 or parts[0][0] != INTEGER or parts[1][0] != SET or parts[2][0] != SEQUENCE:
        raise MalformedRequest("CMS SignedData is malformed")
    certificates = _certificates(data, parts[3])
    if parts[-1][0] != SET:
        raise MalformedRequest("CMS SignedData has no signers")
    signers = children(data, parts[-1])
    if len(signers) != 1:
        raise MalformedRequest(f"CMS must have one signer, not {len(signers)}")
    content = _content(data, parts[2]) if with_content else None
    return _signer(data, children(data, signers[0]), content, certificates)


def embedded_certificates(data: bytes) -> list[bytes]:
    """Return the certificates of a SignedData that has no signer ("certs-only"), DER, in the order sent.

    Raises: MalformedRequest.
    """
    parts = children(data, open_content_info(data, oids.SIGNED_DATA))
    return _certificates(data, parts[3]) if len(parts) > 3 else []


def _certificates(data: bytes, element: Element) -> list[bytes]:
    if element[0] != EXPLICIT_0:
        return []
    found = children(data, element)
    if len(found) > MAX_CERTIFICATES:
        raise MalformedRequest("CMS holds too many certificates")
    return [data[begin:stop] for tag, begin, _, stop, kids in found if tag == SEQUENCE and kids is None]


def open_content_info(data: bytes, kind: bytes) -> Element:
    """Return the SignedData or EnvelopedData inside a ContentInfo.

    Args:
        data: the ContentInfo, BER or DER.
        kind: the content type that it must have, as an encoded OID.
    Raises: MalformedRequest.
    """
    outer = first(data)
    info = children(data, outer) if outer[0] == SEQUENCE else []
    if len(info) != 2 or info[1][0] != EXPLICIT_0 or raw(data, info[0]) != kind:
        raise MalformedRequest("not a CMS message of the expected type")
    inner = children(data, info[1])
    if len(inner) != 1 or inner[0][0] != SEQUENCE:
        raise MalformedRequest("CMS ContentInfo is malformed")
    return inner[0]


def _content(data: bytes, info: Element) -> bytes | None:
    """Return the eContent of an EncapsulatedContentInfo, None when it is absent."""
    parts = children(data, info)
    if not parts or parts[0][0] != OID:
        raise MalformedRequest("CMS content has no type")
    if len(parts) == 1:
        return None
    held = children(data, parts[1]) if parts[1][0] == EXPLICIT_0 else []
    if not held:
        return None
    if len(held) != 1 or held[0][0] not in (OCTETS, _CONSTRUCTED_OCTETS):
        raise MalformedRequest("CMS content is not an OCTET STRING")
    return octets(data, held[0])


def _signer(
    data: bytes, parts: list[Element], content: bytes | None, certificates: list[bytes]
) -> SignedMessage:
    """Read a SignerInfo: version, who, digest, attributes if any, signature algorithm, signature."""
    signed: bytes | None = None
    attributes: dict[bytes, bytes] = {}
    if len(parts) > 3 and parts[3][0] == EXPLICIT_0:
        signed, attributes = _attributes(data, parts[3])
        parts = parts[:3] + parts[4:]
    if parts and parts[-1][0] == _IMPLICIT_1:  # unsigned attributes
        parts = parts[:-1]
    if len(parts) != 5:
        raise MalformedRequest("CMS SignerInfo is malformed")
    _, who, digest_algorithm, signature_algorithm, signature = parts
    if who[0] != SEQUENCE:
        raise MalformedRequest("CMS signer is not named by issuer and serial number")
    digest = oids.DIGEST_ALGORITHMS.get(_algorithm(data, digest_algorithm))
    found = oids.SIGNATURE_ALGORITHMS.get(_algorithm(data, signature_algorithm))
    if digest is None or found is None:
        raise MalformedRequest("CMS digest or signature algorithm is not accepted")
    if signature[0] not in (OCTETS, _CONSTRUCTED_OCTETS):
        raise MalformedRequest("CMS signature is not an OCTET STRING")
    return SignedMessage(
        content,
        certificates,
        _inside(data, who),
        digest,
        found[0],
        found[1] or digest,
        octets(data, signature),
        signed,
        attributes,
        (signature[2], signature[3]) if signature[0] == OCTETS else None,
    )


def _algorithm(data: bytes, element: Element) -> bytes:
    """Return an AlgorithmIdentifier as a key for the tables of `oids`; b"" if it is none."""
    return raw(data, element) if element[0] == SEQUENCE else b""


def _inside(data: bytes, element: Element) -> bytes:
    """Return the contents of an element in DER, without its header."""
    if element[4] is None:
        return data[element[2] : element[3]]
    return b"".join(to_der(data, kid) for kid in element[4])


def _attributes(data: bytes, element: Element) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the signed attributes as a SET and the first value of each."""
    found: dict[bytes, bytes] = {}
    kids = children(data, element)
    if len(kids) > MAX_ATTRIBUTES:
        raise MalformedRequest("CMS holds too many attributes")
    for kid in kids:
        name, value = _short_attribute(data, kid) or _attribute(data, kid)
        if name in found:
            raise MalformedRequest("CMS attribute is repeated")
        found[name] = value
    if element[4] is None:
        return tlv(SET, data[element[2] : element[3]]), found
    return to_der(data, element), found


def _short_attribute(data: bytes, element: Element) -> tuple[bytes, bytes] | None:
    """Read an attribute of the usual shape, one value and lengths below 128, in a fifth of the time.

    None for any other shape.
    """
    _, _, start, stop, _ = element
    if stop - start < 8:
        return None
    values = start + 2 + data[start + 1]  # header of the SET, if this is the usual shape
    if data[start] != OID or data[start + 1] > 127 or values + 4 > stop or data[values] != SET:
        return None
    size = data[values + 1]
    if values + 2 + size != stop or size > 127 or data[values + 3] != size - 2:
        return None
    return data[start:values], data[values + 2 : stop]


def _attribute(data: bytes, element: Element) -> tuple[bytes, bytes]:
    """Read an attribute of any shape; return its OID and first value, both with header."""
    pair = children(data, element)
    if len(pair) != 2 or pair[0][0] != OID or pair[1][0] != SET:
        raise MalformedRequest("CMS attribute is malformed")
    values = children(data, pair[1])
    if not values:
        raise MalformedRequest("CMS attribute is empty")
    return raw(data, pair[0]), raw(data, values[0])


_NO_SKEW = timedelta(0)


def verify_signer(message: SignedMessage, content: bytes, skew: timedelta = _NO_SKEW) -> Certificate:
    """Check the one signature of a message.

    Whether the certificate is trusted is left to the caller. No clock is read: a signingTime is only compared
    with the validity of the certificate.

    Args:
        message: the parsed message.
        content: what the signature must cover.
        skew: how far signingTime may lie outside the validity of the certificate.
    Returns: the signer's certificate.
    Raises: SignatureInvalid, MalformedRequest.
    """
    certificate = _signer_certificate(message)
    key = certificate.public_key
    if key is None or message.key_kind != certificate.key_kind:
        raise SignatureInvalid("the key does not match the signature algorithm, or is not accepted")
    covered = content
    if message.signed_attributes is not None:
        _check_attributes(message, content, certificate, skew)
        covered = message.signed_attributes
    digest = oids.DIGESTS[message.signature_digest]
    if verify_signature(key, message.signature, covered, digest):
        return certificate
    if message.signed_attributes is not None:
        canonical = _canonical_set(covered)
        if canonical != covered and verify_signature(key, message.signature, canonical, digest):
            return certificate
    raise SignatureInvalid("signature does not match the content")


def _signer_certificate(message: SignedMessage) -> Certificate:
    for der in message.certificates:
        certificate = load_certificate(der)
        if certificate.issuer_and_serial == message.signer_id:
            return certificate
    raise SignatureInvalid("the signer's certificate is not embedded")


def _check_attributes(
    message: SignedMessage, content: bytes, certificate: Certificate, skew: timedelta
) -> None:
    """Compare messageDigest with the content, signingTime with the validity."""
    value = message.attributes.get(oids.MESSAGE_DIGEST)
    if value is None:
        raise SignatureInvalid("messageDigest is missing")
    element = first(value)
    if element[0] != OCTETS or octets(value, element) != hashlib.new(message.digest, content).digest():
        raise SignatureInvalid("messageDigest does not match the content")
    value = message.attributes.get(oids.SIGNING_TIME)
    if (
        value is not None
        and not certificate.not_before - skew <= _time(value) <= certificate.not_after + skew
    ):
        raise SignatureInvalid("signingTime is outside the validity of the certificate")


def _time(value: bytes) -> datetime:
    """Read a UTCTime or GeneralizedTime; two-digit years mean 1950 to 2049."""
    tag, _, start, stop, _ = first(value)
    match = _TIME.fullmatch(value, start, stop)
    if match is None or len(match[1]) != {UTC_TIME: 2, GENERALIZED_TIME: 4}.get(tag):
        raise SignatureInvalid("signingTime is not a time")
    year, month, day, hour, minute, second = (int(part or b"0") for part in match.groups()[:6])
    if tag == UTC_TIME:
        year += 2000 if year < 50 else 1900
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if match[7]:
            offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
            moment = moment - offset if match[7] == b"+" else moment + offset
    except (ValueError, OverflowError):
        raise SignatureInvalid("signingTime is not a time") from None
    return moment


def _canonical_set(attributes: bytes) -> bytes:
    """Rewrite the attributes as the DER SET OF that RFC 5652, 5.4 says is signed, however they were sent."""
    outer = first(attributes)
    return set_of(*[to_der(attributes, kid) for kid in elements(attributes, outer[2], outer[3])])
