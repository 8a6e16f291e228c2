"""Storing the push certificate: checked before it replaces a good one."""

import logging
from collections.abc import Callable
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
from cryptography.x509.oid import NameOID

from micromdm_py.errors import Conflict, MalformedField, NotConfigured, NotFound
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import Json, data, read_object
from micromdm_py.protocol.jsonreply import base64_text, json_reply, rfc3339
from micromdm_py.storage.base import Enrollments, PushBook
from micromdm_py.storage.records import PushCertificate

__all__ = ["PushCertificates", "check_pair"]

TOPIC_PREFIX = "com.apple.mgmt"
DER_SEQUENCE = b"\x30"
UNREADABLE = (ValueError, OverflowError, x509.InvalidVersion, UnsupportedAlgorithm, Warning)

logger = logging.getLogger(__name__)


class PushCertificates:
    """What an administrator does with the push certificate; replies are JSON documents in bytes."""

    def __init__(
        self,
        book: PushBook,
        enrollments: Enrollments,
        *,
        wake: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        """Work on the store; `wake` tells the courier to use a new certificate at once."""
        self._book, self._enrollments, self._wake, self._now = book, enrollments, wake, now

    def show(self) -> bytes:
        """The current certificate as base64 DER; the key is never shown. Raises: NotFound."""
        try:
            found = self._book.push_certificate()
        except NotConfigured as fault:
            raise NotFound(f"not found: {fault}") from None
        certificate = x509.load_pem_x509_certificate(found.certificate)
        return json_reply({"cert": base64_text(certificate.public_bytes(serialization.Encoding.DER))})

    def all(self) -> bytes:
        """The certificates of all topics, with their dates and the number of devices enrolled with each."""
        enrolled, current = self._enrollments.enrolled_topics(), self._current()
        found = []
        for one in self._book.push_certificates():
            certificate = x509.load_pem_x509_certificate(one.certificate)
            found.append(
                {
                    "topic": one.topic,
                    "current": one.topic == current,
                    "not_before": rfc3339(certificate.not_valid_before_utc),
                    "not_after": rfc3339(certificate.not_valid_after_utc),
                    "stored_at": rfc3339(one.stored_at),
                    "enrolled": enrolled.get(one.topic, 0),
                }
            )
        return json_reply({"certificates": found})

    def store(self, body: bytes, *, force: bool) -> bytes:
        """Check a certificate with its key and make it the current one.

        Args:
            body: JSON with `cert` and `key`, each base64 of PEM (DER is taken too).
            force: accept a new topic although devices are enrolled with another.
        Raises: MalformedField when it cannot push; Conflict for another topic.
        """
        found = read_object(body, trailing="ignore")
        self.keep(_needed(found, "cert"), _needed(found, "key"), force=force)
        return json_reply({})

    def keep(self, certificate: bytes, key: bytes, *, force: bool) -> PushCertificate:
        """Check a certificate with its key (see `check_pair`) and make it the current one.

        Raises: MalformedField when it cannot push; Conflict for another topic.
        """
        pair = check_pair(certificate, key, self._now())
        if not force:
            self._check_topic(pair.topic)
        self._book.store_push_certificate(pair)
        logger.info("stored a push certificate for %s", pair.topic)
        self._wake()
        return pair

    def _check_topic(self, topic: str) -> None:
        if topic == self._current():
            return  # a renewal, whatever other topics there are
        others = {t: n for t, n in self._enrollments.enrolled_topics().items() if t and t != topic}
        if others:
            known = ", ".join(f"{count} with {name}" for name, count in sorted(others.items()))
            raise Conflict(
                f"the topic of this certificate is {topic}, but devices are enrolled with another ({known}); "
                "they can be pushed only until the old certificate ends. Renew that one, or repeat with "
                "?force=true"
            )

    def _current(self) -> str:
        try:
            return self._book.push_certificate().topic
        except NotConfigured:
            return ""


def check_pair(certificate: bytes, key: bytes, now: datetime) -> PushCertificate:
    """Check that a certificate and a key can push.

    Args:
        certificate: PEM (the first one counts) or DER.
        key: unencrypted, PKCS#1, PKCS#8 or SEC 1, PEM or DER.
        now: aware UTC; the certificate must be valid then.
    Returns: both as PEM, with the topic.
    Raises: MalformedField.
    """
    parsed, private = _certificate(certificate), _key(key)
    try:
        fits = _spki(private.public_key()) == _spki(parsed.public_key())
        names = parsed.subject.get_attributes_for_oid(NameOID.USER_ID)
        begin, end = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    except UNREADABLE:
        raise MalformedField("cert", "has a key, a subject or dates that cannot be read") from None
    if not fits:
        raise MalformedField("key", "does not belong to the certificate")
    topic = names[0].value if names else ""
    if not isinstance(topic, str) or not topic.startswith(TOPIC_PREFIX):
        raise MalformedField(
            "cert", f"is not an MDM push certificate: its subject has no UID beginning with {TOPIC_PREFIX}"
        )
    check_id("cert", topic)
    if not begin <= now <= end:
        raise MalformedField("cert", f"is valid only from {begin:%Y-%m-%d} to {end:%Y-%m-%d}")
    pem = serialization.Encoding.PEM
    plain = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return PushCertificate(topic, parsed.public_bytes(pem), plain, now)


def _certificate(data: bytes) -> x509.Certificate:
    try:
        if data.startswith(DER_SEQUENCE):
            return x509.load_der_x509_certificate(data)
        return x509.load_pem_x509_certificate(data)
    except UNREADABLE:
        raise MalformedField("cert", "is not a PEM certificate") from None


def _key(data: bytes) -> RSAPrivateKey | EllipticCurvePrivateKey:
    load = load_der_private_key if data.startswith(DER_SEQUENCE) else load_pem_private_key
    try:
        found = load(data, None)
    except TypeError:
        raise MalformedField("key", "is encrypted; store it without a password") from None
    except UNREADABLE:
        raise MalformedField("key", "is not a PEM private key (PKCS#1 or PKCS#8)") from None
    if not isinstance(found, RSAPrivateKey | EllipticCurvePrivateKey):
        raise MalformedField("key", "is neither RSA nor on an elliptic curve")
    return found


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _needed(found: dict[str, Json], name: str) -> bytes:
    value = data(found, name)
    if not value:
        raise MalformedField(name, "is missing")
    return value
