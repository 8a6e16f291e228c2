"""Keys and certificates of MicroMDM's database: the SCEP authority and its work, the push certificate."""

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from micromdm_py.errors import BadDatabase, MalformedRequest
from micromdm_py.migration.messages import OldServerConfig
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.ids import MAX_ID_BYTES
from micromdm_py.storage.records import PushCertificate
from micromdm_py.storage.transfer import MovedAuthority, MovedCertificate, MovedChallenge

__all__ = ["ERRORS", "Certificates", "authority", "push_certificate", "push_pair"]

DEPOT, CHALLENGES, CONFIG = "scep_certificates", "scep_challenges", "mdm.ServerConfig"
FIRST_SERIAL = 2
_PEM = b"-----BEGIN"
_load_der = x509.load_der_x509_certificate
ERRORS = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What reading a key or a certificate may raise."""


class Certificates:
    """The SCEP depot.

    Attributes:
        issued: SHA-256 of every certificate that was issued.
    """

    def __init__(self, old: OldDatabase, report: Report) -> None:
        """Read from an open database."""
        self._old, self._report = old, report
        self.issued: set[bytes] = set()

    def moved(self) -> Iterator[MovedAuthority | MovedCertificate | MovedChallenge]:
        """The authority, its certificates and the challenges.

        Raises: BadDatabase for an authority that cannot go on.
        """
        about = self._old.about(DEPOT)
        special: dict[bytes, bytes] = {}
        highest = FIRST_SERIAL - 1
        for key, value in self._old.rows(DEPOT):
            if key in (b"ca_key", b"ca_certificate", b"serial"):
                special[key] = value
                continue
            try:
                found = load_certificate(value)
            except MalformedRequest as fault:
                about.lose(key, str(fault))
                continue
            about.imported += 1
            highest = max(highest, found.serial)
            self.issued.add(bytes.fromhex(found.fingerprint))
            yield MovedCertificate(value, found.serial, found.common_name, found.not_before)
        if special:
            yield self._authority(special, highest)
            about.imported += len(special)
        else:
            self._report.warnings.append("there is no SCEP authority: a new one will be made")
        for name, _ in self._old.rows(CHALLENGES):
            with self._old.counted(CHALLENGES, ""):
                yield MovedChallenge(name.decode())

    def _authority(self, special: dict[bytes, bytes], highest: int) -> MovedAuthority:
        for name in (b"ca_key", b"ca_certificate"):
            if name not in special:
                raise BadDatabase(f"{DEPOT} has no {name.decode()}: devices could not be enrolled any more")
        serial = int.from_bytes(special.get(b"serial", b""), "big") or FIRST_SERIAL
        if serial <= highest:
            self._report.warnings.append(
                f"the next serial number should be {serial}, but {highest} is taken: it will be {highest + 1}"
            )
            serial = highest + 1
        if serial >= 1 << 63:
            raise BadDatabase(f"{DEPOT}: the next serial number is out of range")
        return authority(special[b"ca_certificate"], special[b"ca_key"], serial)


def authority(certificate: bytes, key: bytes, next_serial: int) -> MovedAuthority:
    """Check a certificate authority; certificate and key may be PEM or DER. Raises: BadDatabase."""
    try:
        load_key = load_pem_private_key if key.lstrip().startswith(_PEM) else load_der_private_key
        load = x509.load_pem_x509_certificate if certificate.lstrip().startswith(_PEM) else _load_der
        private, parsed = load_key(key, None), load(certificate)
        fits = _spki(private.public_key()) == _spki(parsed.public_key())
    except ERRORS as fault:
        raise BadDatabase(f"the SCEP authority cannot be read: {fault}") from None
    if not isinstance(private, RSAPrivateKey):
        raise BadDatabase("the key of the SCEP authority is not an RSA key, which devices need")
    if not fits:
        raise BadDatabase("the key of the SCEP authority does not belong to its certificate")
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return MovedAuthority(parsed.public_bytes(Encoding.DER), pkcs8, next_serial)


def push_certificate(old: OldDatabase, report: Report, now: datetime) -> PushCertificate | None:
    """The push certificate with its key, None when there is none or it cannot be used."""
    found = None
    for key, config in old.messages(CONFIG, OldServerConfig):
        with old.counted(CONFIG, key):
            found = push_pair(config.push_certificate, config.push_certificate_key, report, now)
    return found


def push_pair(pem: bytes, key_pem: bytes, report: Report, now: datetime) -> PushCertificate:
    """Check a push certificate and its key, both PEM. Raises: ValueError when they cannot push."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = load_pem_private_key(key_pem, None)
        fits = _spki(key.public_key()) == _spki(certificate.public_key())
        names = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
        ends = certificate.not_valid_after_utc
    except ERRORS:
        raise ValueError("the push certificate or its key cannot be read") from None
    if not fits:
        raise ValueError("the push key does not belong to the push certificate")
    topic = str(names[0].value) if names else ""
    if not topic or len(topic.encode()) > MAX_ID_BYTES:
        raise ValueError("the push certificate has no topic (UID of its subject)")
    if ends < now:
        report.warnings.append(f"the push certificate expired on {ends:%Y-%m-%d}: renew it")
    return PushCertificate(topic, pem, key_pem, now)


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
