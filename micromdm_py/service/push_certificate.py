"""Storing the push certificate: checked before it replaces a good one."""

import base64
import binascii
import logging
from collections.abc import Callable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from micromdm_py.errors import Conflict, MalformedField, NotConfigured, NotFound
from micromdm_py.protocol.jsonbody import field, read_object
from micromdm_py.protocol.jsonreply import base64_text, json_reply
from micromdm_py.storage.base import Enrollments, PushBook
from micromdm_py.storage.records import PushCertificate

__all__ = ["PushCertificates", "check_pair"]

TOPIC_PREFIX = "com.apple.mgmt"

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

    def store(self, body: bytes, *, force: bool) -> bytes:
        """Check a certificate with its key and make it the current one.

        Args:
            body: JSON with `cert` and `key`, each base64 of PEM.
            force: accept another topic although devices are enrolled with the old one.
        Raises: MalformedField when it cannot push; Conflict for another topic.
        """
        found = read_object(body, trailing="ignore")
        certificate, key = _pem(found, "cert"), _pem(found, "key")
        topic = check_pair(certificate, key, self._now())
        if not force:
            self._check_topic(topic)
        self._book.store_push_certificate(PushCertificate(topic, certificate, key, self._now()))
        logger.info("stored a push certificate for %s", topic)
        self._wake()
        return json_reply({})

    def _check_topic(self, topic: str) -> None:
        others = {t: n for t, n in self._enrollments.enrolled_topics().items() if t and t != topic}
        if others:
            known = ", ".join(f"{count} with {name}" for name, count in sorted(others.items()))
            raise Conflict(
                f"the topic of this certificate is {topic}, but devices are enrolled with another ({known}); "
                "they could not be pushed any more. Renew the old certificate, or repeat with ?force=true"
            )


def check_pair(certificate: bytes, key: bytes, now: datetime) -> str:
    """Check that a certificate and a key (both PEM) can push, and return the topic.

    Raises: MalformedField.
    """
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        raise MalformedField("cert", "is not a PEM certificate") from None
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError:
        raise MalformedField("key", "is encrypted; store it without a password") from None
    except ValueError:
        raise MalformedField("key", "is not a PEM private key (PKCS#1 or PKCS#8)") from None
    if _spki(private.public_key()) != _spki(parsed.public_key()):
        raise MalformedField("key", "does not belong to the certificate")
    names = parsed.subject.get_attributes_for_oid(NameOID.USER_ID)
    topic = names[0].value if names else ""
    if not isinstance(topic, str) or not topic.startswith(TOPIC_PREFIX):
        raise MalformedField(
            "cert", f"is no MDM push certificate: its subject has no UID beginning with {TOPIC_PREFIX}"
        )
    if not parsed.not_valid_before_utc <= now <= parsed.not_valid_after_utc:
        begin, end = parsed.not_valid_before_utc, parsed.not_valid_after_utc
        raise MalformedField("cert", f"is valid only from {begin:%Y-%m-%d} to {end:%Y-%m-%d}")
    return topic


def _spki(key: object) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form)  # type: ignore[attr-defined, no-any-return]  # every public key has it


def _pem(found: dict[str, object], name: str) -> bytes:
    text = field(found, name, str)
    if not text:
        raise MalformedField(name, "is missing")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise MalformedField(name, "is not base64") from None
