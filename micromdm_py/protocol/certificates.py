"""Certificates of devices and authorities as values, each parsed once.

A fleet sends the same few thousand certificates all day, so what is needed of a certificate is worked out
when it is first seen, and cached by its bytes.

Source: RFC 5280, 4.1.
"""

import hashlib
import sys
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import der as asn1

__all__ = [
    "CACHED_CERTIFICATES",
    "MAX_CERTIFICATE_BYTES",
    "Certificate",
    "PublicKey",
    "check_public_key",
    "issued_by",
    "load_certificate",
    "verify_signature",
]

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

CACHED_CERTIFICATES = 20_000
"""How many certificates, and how many results of `issued_by`, a process caches (least recently used out)."""

MAX_CERTIFICATE_BYTES = 16_384
"""Largest certificate that is read; it also bounds the size of the cache."""

_HASHES = (hashes.SHA1, hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_PKCS1 = padding.PKCS1v15()
_ERRORS = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion, Warning)


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate; two are equal when their bytes are.

    Attributes:
        der: the whole certificate, DER.
        fingerprint: SHA-256 of `der`, 64 lower-case hex digits.
        common_name: first CN of the subject, "" without one.
        serial: serial number.
        not_before: start of validity, aware UTC.
        not_after: end of validity, aware UTC, inclusive.
        issuer: issuer name as RFC 4514 text, for people.
        issuer_der: issuer name, DER.
        subject_der: subject name, DER.
        issuer_and_serial: contents of the IssuerAndSerialNumber by which CMS refers to it.
        public_key: the key, None when its kind or size is not accepted.
        key_kind: "rsa", "ec", or "" when there is no accepted key.
    """

    der: bytes = field(repr=False)
    fingerprint: str = field(compare=False)
    common_name: str = field(compare=False)
    serial: int = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    issuer: str = field(compare=False)
    issuer_der: bytes = field(compare=False, repr=False)
    subject_der: bytes = field(compare=False, repr=False)
    issuer_and_serial: bytes = field(compare=False, repr=False)
    public_key: PublicKey | None = field(compare=False, repr=False)
    key_kind: str = field(compare=False)


@lru_cache(maxsize=CACHED_CERTIFICATES)
def load_certificate(der: bytes) -> Certificate:
    """Parse a certificate, or return the one parsed before from the same bytes. Thread-safe.

    Args:
        der: the certificate and nothing after it, at most `MAX_CERTIFICATE_BYTES`.
    Raises: MalformedRequest.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedRequest(f"certificate has more than {MAX_CERTIFICATE_BYTES} bytes")
    serial, issuer, subject = _raw_fields(der)
    try:
        parsed = x509.load_der_x509_certificate(der)
        key = _public_key(parsed)
        names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return Certificate(
            der=der,
            fingerprint=hashlib.sha256(der).hexdigest(),
            common_name=_text(names[0].value) if names else "",
            serial=parsed.serial_number,
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            issuer=sys.intern(parsed.issuer.rfc4514_string()),
            issuer_der=issuer,
            subject_der=subject,
            issuer_and_serial=issuer + serial,
            public_key=key,
            key_kind="" if key is None else "rsa" if isinstance(key, rsa.RSAPublicKey) else "ec",
        )
    except _ERRORS as error:
        raise MalformedRequest(f"certificate cannot be read: {error}") from None


def _raw_fields(der: bytes) -> tuple[bytes, bytes, bytes]:
    """Return serial number, issuer and subject as encoded in the certificate."""
    outer = asn1.first(der)
    if outer[0] != asn1.SEQUENCE or outer[3] != len(der):
        raise MalformedRequest("not a DER certificate")
    inner = asn1.children(der, outer)
    fields = asn1.children(der, inner[0]) if inner else []
    if fields and fields[0][0] == asn1.EXPLICIT_0:  # the version, absent in version 1
        del fields[0]
    if len(fields) < 6 or fields[0][0] != asn1.INTEGER:
        raise MalformedRequest("not a DER certificate")
    return asn1.raw(der, fields[0]), asn1.raw(der, fields[2]), asn1.raw(der, fields[4])


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _public_key(parsed: x509.Certificate) -> PublicKey | None:
    try:
        return check_public_key(parsed.public_key())
    except (MalformedRequest, ValueError, UnsupportedAlgorithm):
        return None


def check_public_key(key: object) -> PublicKey:
    """Return the key if it is accepted: RSA of 1024 to 8192 bits, or EC on P-256, P-384 or P-521.

    Larger keys, and large public exponents, would let a stranger choose how long a check takes.

    Raises: MalformedRequest.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if 1024 <= key.key_size <= 8192 and key.public_numbers().e < 1 << 32:
            return key
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    raise MalformedRequest("public key has a kind or size that is not accepted")


def verify_signature(
    key: PublicKey,
    signature: bytes,
    data: bytes,
    digest: hashes.HashAlgorithm | None,
    scheme: padding.AsymmetricPadding = _PKCS1,
) -> bool:
    """Check one signature; SHA-1 is accepted, MD5 is not.

    Args:
        key: the signer's key.
        signature: PKCS #1 v1.5 or PSS for RSA, the DER of r and s for EC.
        data: what was signed.
        digest: the hash, None when the algorithm was not recognised.
        scheme: RSA padding; ignored for EC keys.
    Returns: whether it is valid; never raises.
    """
    if not isinstance(digest, _HASHES):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, scheme, digest)
        else:
            key.verify(signature, data, ec.ECDSA(digest))
    except (InvalidSignature, *_ERRORS):
        return False
    return True


@lru_cache(maxsize=CACHED_CERTIFICATES)
def issued_by(certificate: Certificate, ca: Certificate) -> bool:
    """Whether the authority signed the certificate. Dates are not checked. The result is cached.

    The signature is checked here because Apple's device certificates are signed with SHA-1, which
    cryptography's `verify_directly_issued_by` no longer accepts.
    """
    if ca.public_key is None or certificate.issuer_der != ca.subject_der:
        return False
    try:
        parsed = x509.load_der_x509_certificate(certificate.der)
        scheme = parsed.signature_algorithm_parameters
        digest = parsed.signature_hash_algorithm
        signature, signed = parsed.signature, parsed.tbs_certificate_bytes
    except _ERRORS:
        return False
    if isinstance(scheme, ec.ECDSA) != (ca.key_kind == "ec"):
        return False
    if isinstance(scheme, padding.PKCS1v15 | padding.PSS):
        return verify_signature(ca.public_key, signature, signed, digest, scheme)
    return verify_signature(ca.public_key, signature, signed, digest)
