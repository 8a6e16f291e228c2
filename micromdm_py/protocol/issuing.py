"""Certificate requests and certificates: what a device may ask for, and what the authority issues.

Source: RFC 2986 (requests), RFC 5280 (certificates); names, extensions and times are MicroMDM's.
"""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import oids
from micromdm_py.protocol.certificates import Certificate, check_public_key, verify_signature
from micromdm_py.protocol.cms import PrivateKey
from micromdm_py.protocol.der import BMP_STRING, EXPLICIT_0, SEQUENCE, children, first, raw, sequence, tlv

__all__ = [
    "MAX_REQUEST_BYTES",
    "check_request",
    "decode_text",
    "issue_certificate",
    "make_ca",
    "make_request",
    "self_signed",
]

MAX_REQUEST_BYTES = 65_536
"""Largest certificate request that is read."""

_TEXT_TAGS = (0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A)  # UTF8, Numeric, Printable, Teletex, IA5, Visible
_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,
)


def check_request(der: bytes) -> tuple[x509.CertificateSigningRequest, str | None]:
    """Read a certificate request; check its key and the signature made with that key.

    The signature is checked here because cryptography's `is_signature_valid` rejects SHA-1, which the usual
    SCEP clients still use.

    Args:
        der: the request, DER, at most `MAX_REQUEST_BYTES`.
    Returns: the request, whose attributes may have been reordered, so that its own bytes are not those that
        were signed; and its challenge password or None.
    Raises: MalformedRequest.
    """
    if len(der) > MAX_REQUEST_BYTES:
        raise MalformedRequest("certificate request is too large")
    ordered, signed = _in_order(der)
    try:
        csr = x509.load_der_x509_csr(ordered)
        key = check_public_key(csr.public_key())
        signature = csr.signature
        digest, scheme = csr.signature_hash_algorithm, csr.signature_algorithm_parameters
    except _ERRORS as error:
        raise MalformedRequest(f"certificate request cannot be read: {error}") from None
    if isinstance(scheme, ec.ECDSA) == isinstance(key, rsa.RSAPublicKey):
        raise MalformedRequest("the certificate request's key does not match its signature algorithm")
    if isinstance(scheme, ec.ECDSA) or scheme is None:
        valid = verify_signature(key, signature, signed, digest)
    else:
        valid = verify_signature(key, signature, signed, digest, scheme)
    if not valid:
        raise MalformedRequest("the certificate request's signature is wrong")
    return csr, _challenge(signed)


def _in_order(der: bytes) -> tuple[bytes, bytes]:
    """Return a request with its attributes in DER's order, and the original bytes that its signature covers.

    The usual SCEP client does not sort the attributes, and a strict reader refuses that.
    """
    parts = children(der, first(der))
    fields = children(der, parts[0]) if len(parts) == 3 else []
    if not 3 <= len(fields) <= 4:
        raise MalformedRequest("not a certificate request")
    attributes = sorted(raw(der, kid) for kid in children(der, fields[3])) if fields[3:] else []
    info = sequence(*[raw(der, field) for field in fields[:3]], tlv(EXPLICIT_0, *attributes))
    return sequence(info, raw(der, parts[1]), raw(der, parts[2])), raw(der, parts[0])


def _challenge(info: bytes) -> str | None:
    """Find the challenge password in a CertificationRequestInfo, of any string type."""
    for part in children(info, first(info))[3:]:
        if part[0] != EXPLICIT_0:
            continue
        for element in children(info, part):
            pair = children(info, element) if element[0] == SEQUENCE else []
            if len(pair) == 2 and raw(info, pair[0]) == oids.CHALLENGE_PASSWORD:
                values = children(info, pair[1])
                return decode_text(raw(info, values[0])) if values else None
    return None


def decode_text(value: bytes) -> str | None:
    """Return the text of an encoded string of any ASN.1 type; None if it is not a string or not decodable.

    Raises: MalformedRequest when the element is cut off.
    """
    if not value:
        return None
    tag, _, start, stop, _ = first(value)
    codec = "utf-16-be" if tag == BMP_STRING else "utf-8" if tag in _TEXT_TAGS else None
    try:
        return None if codec is None else value[start:stop].decode(codec)
    except UnicodeDecodeError:
        return None


def issue_certificate(
    csr: x509.CertificateSigningRequest,
    ca_key: PrivateKey,
    ca_certificate: Certificate,
    serial: int,
    not_before: datetime,
    not_after: datetime,
) -> bytes:
    """Issue a device identity with the requested subject and alternative names; the rest is fixed.

    Args:
        csr: a request from `check_request`.
        ca_key: key of the authority, which signs with SHA-256.
        ca_certificate: its certificate.
        serial: serial number, above 0.
        not_before: aware start of validity; MicroMDM takes ten minutes ago, for clocks that are slow.
        not_after: aware end of validity.
    Returns: the certificate, DER.
    Raises: MalformedRequest when the requested names cannot be put into a certificate.
    """
    try:
        key = check_public_key(csr.public_key())
        names = _alternative_names(csr)
        authority = x509.load_der_x509_certificate(ca_certificate.der)
        builder = (
            _validity(not_before, not_after)
            .subject_name(csr.subject)
            .issuer_name(authority.subject)
            .public_key(key)
            .serial_number(serial)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(_authority_key(authority), critical=False)
        )
        if names is not None:  # RFC 5280, 4.2.1.6: critical where the subject is empty
            builder = builder.add_extension(names, critical=not list(csr.subject))
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.DER)
    except _ERRORS as error:
        raise MalformedRequest(f"certificate cannot be issued: {error}") from None


def _alternative_names(csr: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    try:
        return csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _authority_key(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # an authority made elsewhere
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(check_public_key(authority.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _validity(not_before: datetime, not_after: datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().not_valid_before(not_before.replace(microsecond=0))
    return builder.not_valid_after(not_after.replace(microsecond=0))


def make_ca(key: PrivateKey, not_before: datetime, not_after: datetime) -> bytes:
    """Make the self-signed certificate of a new authority, with MicroMDM's names and key usage.

    Args:
        key: RSA key of the authority, for which SCEP requests will be encrypted.
        not_before: aware start of validity.
        not_after: aware end of validity.
    Returns: the certificate, DER.
    """
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "MicroMDM"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "MICROMDM SCEP CA"),
        ]
    )
    builder = (
        _validity(not_before, not_after)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def self_signed(
    key: PrivateKey, common_name: str, serial: int, not_before: datetime, not_after: datetime
) -> bytes:
    """Make the throw-away certificate with which a device signs its first SCEP request.

    Args:
        key: the device's key.
        common_name: CN of subject and issuer, 1 to 64 characters.
        serial: serial number, above 0.
        not_before: aware start of validity.
        not_after: aware end of validity.
    Returns: the certificate, DER.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = _validity(not_before, not_after).subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(serial)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def make_request(key: PrivateKey, common_name: str, organization: str, challenge: str | None) -> bytes:
    """Make the certificate request of a device.

    Args:
        key: the device's key.
        common_name: CN of the subject, 1 to 64 characters.
        organization: O of the subject.
        challenge: challenge password, None for none.
    Returns: the request, DER.
    """
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if challenge is not None:
        builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
