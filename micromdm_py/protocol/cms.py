"""Making CMS SignedData: a device's signatures, signed profiles, and the outer layer of SCEP messages.

Source: RFC 5652, 5; for the "apple" form, what devices send in Mdm-Signature.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from micromdm_py.protocol import oids
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.der import (
    EXPLICIT_0,
    NULL,
    OCTETS,
    SET,
    encode_integer,
    encode_time,
    sequence,
    set_of,
    tlv,
)
from micromdm_py.protocol.oids import Digest

__all__ = ["PrivateKey", "attribute", "degenerate", "sign_attached", "sign_detached"]

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_VERSION_1 = encode_integer(1)
_END = b"\x00\x00"


def sign_detached(
    body: bytes,
    key: PrivateKey,
    certificate: Certificate,
    *,
    form: Literal["der", "apple"] = "der",
    digest: Digest | None = None,
    signing_time: datetime | None = None,
) -> bytes:
    """Sign a request body the way a device does; base64 of the result is the Mdm-Signature header.

    Args:
        body: the exact request body.
        key: private key of the identity.
        certificate: its certificate, which is embedded.
        form: "der" is DER with signed attributes; "apple" is what devices send: BER with indefinite lengths,
            without attributes.
        digest: name of the digest; by default SHA-256 for "der" and SHA-1 for "apple".
        signing_time: aware time for the signingTime attribute of "der", left out when None.
    Source: for "apple", headers recorded from devices.
    """
    if form == "apple":
        return _sign_apple(body, key, certificate, digest or "sha1")
    signer = _signer_info(body, key, certificate, digest or "sha256", _time_attribute(signing_time))
    return _signed_data(sequence(oids.DATA), (certificate.der,), signer, digest or "sha256")


def sign_attached(
    content: bytes,
    key: PrivateKey,
    certificate: Certificate,
    *,
    digest: Digest = "sha256",
    signing_time: datetime | None = None,
    attributes: Sequence[bytes] = (),
    certificates: Sequence[bytes] | None = None,
) -> bytes:
    """Sign content and embed it, as DER with signed attributes.

    Args:
        content: any bytes; may be empty.
        key: private key of the signer.
        certificate: certificate of the signer.
        digest: name of the digest.
        signing_time: aware time for the signingTime attribute, left out when None.
        attributes: further signed attributes, made with `attribute`.
        certificates: certificates to embed, DER, in this order; only the signer's when None.
    """
    inner = sequence(oids.DATA, tlv(EXPLICIT_0, tlv(OCTETS, content)))
    signer = _signer_info(content, key, certificate, digest, [*attributes, *_time_attribute(signing_time)])
    return _signed_data(inner, (certificate.der,) if certificates is None else certificates, signer, digest)


def degenerate(certificates: Sequence[bytes]) -> bytes:
    """Wrap certificates (DER) in a SignedData without content or signer, the "certs-only" message."""
    inner = (_VERSION_1, tlv(SET), sequence(oids.DATA), tlv(EXPLICIT_0, *certificates), tlv(SET))
    return sequence(oids.SIGNED_DATA, tlv(EXPLICIT_0, sequence(*inner)))


def attribute(oid: bytes, value: bytes) -> bytes:
    """Encode an attribute with one value; both are given encoded."""
    return sequence(oid, tlv(SET, value))


def _time_attribute(signing_time: datetime | None) -> list[bytes]:
    return [] if signing_time is None else [attribute(oids.SIGNING_TIME, encode_time(signing_time))]


def _signed_data(content: bytes, certificates: Sequence[bytes], signer: bytes, digest: Digest) -> bytes:
    # DER would sort the certificates; they keep their order because SCEP clients take the first one.
    algorithms = tlv(SET, oids.digest_algorithm(digest))
    inner = (_VERSION_1, algorithms, content, tlv(EXPLICIT_0, *certificates), tlv(SET, signer))
    return sequence(oids.SIGNED_DATA, tlv(EXPLICIT_0, sequence(*inner)))


def _signer_info(
    content: bytes, key: PrivateKey, certificate: Certificate, digest: Digest, attributes: Sequence[bytes]
) -> bytes:
    signed = set_of(
        attribute(oids.CONTENT_TYPE, oids.DATA),
        attribute(oids.MESSAGE_DIGEST, tlv(OCTETS, hashlib.new(digest, content).digest())),
        *attributes,
    )
    implicit = bytes((EXPLICIT_0,)) + signed[1:]
    return _signer(certificate, digest, implicit, _algorithm(key, digest), _sign(key, signed, digest))


def _sign_apple(body: bytes, key: PrivateKey, certificate: Certificate, digest: Digest) -> bytes:
    signer = _signer(certificate, digest, b"", _algorithm(key, digest), _sign(key, body, digest))
    return b"".join(
        (
            b"\x30\x80",
            oids.SIGNED_DATA,
            b"\xa0\x80\x30\x80",
            _VERSION_1,
            tlv(SET, oids.digest_algorithm(digest)),
            b"\x30\x80",
            oids.DATA,
            _END,
            tlv(EXPLICIT_0, certificate.der),
            tlv(SET, signer),
            _END * 3,
        )
    )


def _signer(
    certificate: Certificate, digest: Digest, attributes: bytes, algorithm: bytes, signature: bytes
) -> bytes:
    return sequence(
        _VERSION_1,
        sequence(certificate.issuer_and_serial),
        oids.digest_algorithm(digest),
        attributes,
        algorithm,
        tlv(OCTETS, signature),
    )


def _algorithm(key: PrivateKey, digest: Digest) -> bytes:
    if isinstance(
        key, rsa.RSAPrivateKey
    ):  # older verifiers do not know the identifiers that include a digest
        return sequence(oids.RSA_ENCRYPTION, NULL)
    return sequence(oids.EC_SIGNATURES[digest])


def _sign(key: PrivateKey, data: bytes, digest: Digest) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), oids.DIGESTS[digest])
    return key.sign(data, ec.ECDSA(oids.DIGESTS[digest]))
