"""NanoMDM's API for push certificates (certificate and key in one PEM file), and for unlocking devices."""

import json
import re
from collections.abc import Mapping
from typing import Protocol

from cryptography import x509

from micromdm_py.errors import MalformedField, MalformedRequest, NotConfigured, NotFound
from micromdm_py.protocol.jsonreply import json_time
from micromdm_py.service.push_certificate import PushCertificates
from micromdm_py.service.slots import Slots
from micromdm_py.storage.base import PushBook
from micromdm_py.storage.records import PushCertificate

__all__ = ["EscrowUnlock", "NanoCertificate", "SendUnlock"]

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_NEEDED = ("serial", "productType", "orgName", "guid", "escrowKey")
_QUERY = ("serial", "imei", "imei2", "meid", "productType")
_FORM = ("orgName", "guid", "escrowKey")


class NanoCertificate:
    """Stores and shows push certificates in the way of NanoMDM's tools."""

    def __init__(self, book: PushBook, certificates: PushCertificates) -> None:
        """Work on `book`; `certificates` checks what is uploaded."""
        self._book, self._certificates = book, certificates

    def show(self, topic: str) -> bytes:
        """Topic and expiry of a certificate. Raises: MalformedField, NotFound."""
        if not topic:
            raise MalformedField("topic", "missing required query parameter")
        try:
            return _shown(self._book.push_certificate(topic))
        except NotConfigured:
            raise NotFound(f"not found: push certificate of topic {topic}") from None

    def store(self, body: bytes, *, force: bool) -> bytes:
        """Check certificate and key, and make them the current pair. Raises: MalformedRequest, Conflict."""
        blocks = {match[1]: match[0] for match in _BLOCK.finditer(body.replace(b"-" * 10, b"-----\n-----"))}
        certificate = blocks.get(b"CERTIFICATE")
        key = next((block for name, block in blocks.items() if name.endswith(b"PRIVATE KEY")), None)
        if certificate is None or key is None:
            raise MalformedRequest("body: must hold a certificate and a private key in PEM")
        return _shown(self._certificates.keep(certificate, key, force=force))


class SendUnlock(Protocol):
    """Posts a form to Apple's unlock service; raises UpstreamFailed when there is no answer."""

    def __call__(
        self, certificate: PushCertificate, query: Mapping[str, str], form: Mapping[str, str]
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        ...


class EscrowUnlock:
    """Removes the Activation Lock of a device with its escrow key (bypass code).

    Source: Apple, "Creating and using bypass codes".
    """

    def __init__(self, book: PushBook, send: SendUnlock, *, slots: int) -> None:
        """Identify with the certificates of `book`; `send` posts, at most `slots` times at once."""
        self._book, self._send = book, send
        self._slots = Slots(slots, "too many unlocks at the moment")

    def __call__(self, form: Mapping[str, str]) -> tuple[int, str, bytes]:
        """Pass a request on: `topic` chooses the certificate, the other fields are Apple's.

        Returns: Apple's status, content type and body.
        Raises: MalformedRequest, NotFound, UpstreamFailed, Busy.
        """
        if any(not form.get(name) for name in _NEEDED):
            raise MalformedRequest("invalid or missing parameters")
        if not form.get("topic"):
            raise MalformedRequest("empty topic")
        try:
            certificate = self._book.push_certificate(form["topic"])
        except NotConfigured:
            raise NotFound(f"not found: push certificate of topic {form['topic']}") from None
        query = {name: form[name] for name in _QUERY if form.get(name)}
        with self._slots:
            return self._send(certificate, query, {name: form[name] for name in _FORM})


def _shown(certificate: PushCertificate) -> bytes:
    end = x509.load_pem_x509_certificate(certificate.certificate).not_valid_after_utc
    document = {"not_after": json_time(end), "topic": certificate.topic}
    return json.dumps(document, indent="\t").encode() + b"\n"
