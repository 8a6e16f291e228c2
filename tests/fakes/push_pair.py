"""Push certificates with keys, in all the forms that callers upload."""

import base64
import functools
import json
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

USER_ID = x509.ObjectIdentifier("0.9.2342.19200300.100.1.1")
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY = timedelta(days=1)
TOPIC = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"


@functools.cache
def rsa_key(number: int = 1) -> rsa.RSAPrivateKey:
    """An RSA key; the same number is the same key."""
    return rsa.generate_private_key(65537, 2048)


def certificate(
    topic: str | None = TOPIC,
    *,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
) -> x509.Certificate:
    """A self-signed certificate whose subject has `topic` as UID."""
    key = key or rsa_key()
    parts = [x509.NameAttribute(x509.NameOID.COMMON_NAME, "APSP:11111111")]
    if topic is not None:
        parts.append(x509.NameAttribute(USER_ID, topic))
    name = x509.Name(parts)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )


def key_bytes(
    form: PrivateFormat = PrivateFormat.TraditionalOpenSSL,
    encoding: Encoding = Encoding.PEM,
    password: bytes | None = None,
) -> bytes:
    """The key of `certificate`, PKCS#1 in PEM by default."""
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return rsa_key().private_bytes(encoding, form, lock)


def upload(cert: x509.Certificate | bytes | None = None, key: bytes | None = None) -> bytes:
    """The body of an upload."""
    if not isinstance(cert, bytes):
        cert = (cert or certificate()).public_bytes(Encoding.PEM)
    return json.dumps({"cert": _text(cert), "key": _text(key_bytes() if key is None else key)}).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
