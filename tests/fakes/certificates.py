"""Throw-away certificates: an authority, a server, push certificates."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from micromdm_py.storage.records import PushCertificate

USER_ID = x509.ObjectIdentifier("0.9.2342.19200300.100.1.1")


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A self-signed authority and the server certificates it makes for 127.0.0.1 and a host name."""

    def __init__(self, folder: Path, host: str = "apns.example.com") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test authority")
        own = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        server = (
            _builder(_name(host), self._name, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.server_file = folder / "server.pem"
        self.server_file.write_bytes(server.public_bytes(serialization.Encoding.PEM) + _key_pem(key))


def push_certificate(topic: str, stored_at: datetime | None = None) -> PushCertificate:
    """A self-signed push certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(USER_ID, topic),
            x509.NameAttribute(NameOID.COMMON_NAME, f"push {x509.random_serial_number():x}"[:40]),
        ]
    )
    made = _builder(name, name, key).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    return PushCertificate(topic, pem, _key_pem(key), stored_at or datetime(2026, 11, 1, tzinfo=UTC))
