"""SCEP messages in both directions: requests for a certificate, and the answers.

A message is SignedData around EnvelopedData. The server reads with `parse_pki_message` and answers with
`build_success` or `build_failure`; a client writes with `build_request` and reads with `parse_reply`.

Source: RFC 8894; where older clients differ from it (SHA-1, single DES), this answers as MicroMDM does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from micromdm_py.errors import MalformedRequest, SignatureInvalid
from micromdm_py.protocol import enveloped, oids
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.cms import attribute, degenerate, sign_attached
from micromdm_py.protocol.der import OCTETS, PRINTABLE, encode_text, first, octets, tlv
from micromdm_py.protocol.issuing import check_request, decode_text
from micromdm_py.protocol.oids import Cipher, Digest
from micromdm_py.protocol.signed import SignedMessage, embedded_certificates, parse_signed, verify_signer

__all__ = [
    "CAPABILITIES",
    "FailInfo",
    "MessageType",
    "PkiStatus",
    "RandomBytes",
    "ScepReply",
    "ScepRequest",
    "build_failure",
    "build_request",
    "build_success",
    "parse_pki_message",
    "parse_reply",
]

CAPABILITIES = "Renewal\nSHA-1\nSHA-256\nAES\nDES3\nSCEPStandard\nPOSTPKIOperation"
"""Answer to GetCACaps; clients split it at newlines."""

MAX_NONCE_BYTES = 64
MAX_TRANSACTION_CHARS = 255

RandomBytes = Callable[[int], bytes]
"""Returns that many bytes fit for keys, such as `secrets.token_bytes`."""


class MessageType(IntEnum):
    """The type of a message; all three requests are answered alike. Source: RFC 8894, 3.2.1.2."""

    CERT_REP = 3
    RENEWAL_REQ = 17
    UPDATE_REQ = 18
    PKCS_REQ = 19


class PkiStatus(IntEnum):
    """Outcome of a request. Source: RFC 8894, 3.2.1.3."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


class FailInfo(IntEnum):
    """Why a request failed. Source: RFC 8894, 3.2.1.4."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


_REQUESTS = (MessageType.PKCS_REQ, MessageType.RENEWAL_REQ, MessageType.UPDATE_REQ)


@dataclass(frozen=True, slots=True)
class ScepRequest:
    """A request whose signatures have been verified, but not its challenge.

    Attributes:
        message_type: one of the three request types.
        transaction_id: free text of the client; the answer repeats it.
        sender_nonce: bytes of the client; the answer repeats them.
        signer: certificate that signed the message, usually self-signed; the answer is encrypted for it.
        csr: the certificate request, its signature and key checked.
        challenge: challenge password, None without one.
        cipher: content encryption that the client used, a key of `oids.CIPHERS`.
        digest: digest that the client used, a key of `oids.DIGESTS`.
    """

    message_type: MessageType
    transaction_id: str
    sender_nonce: bytes = field(repr=False)
    signer: Certificate
    csr: x509.CertificateSigningRequest = field(repr=False)
    challenge: str | None = field(repr=False)
    cipher: Cipher
    digest: Digest


@dataclass(frozen=True, slots=True)
class ScepReply:
    """An answer whose signature by the authority has been verified.

    Attributes:
        status: the outcome.
        fail_info: the reason of a FAILURE; None when none is given.
        transaction_id: as in the request, which is not checked here.
        recipient_nonce: the request's senderNonce, which is not checked here; b"" when missing.
        certificate: the issued certificate, DER, with SUCCESS only.
        cipher: content encryption of the answer, with SUCCESS only.
    """

    status: PkiStatus
    fail_info: FailInfo | None
    transaction_id: str
    recipient_nonce: bytes = field(repr=False)
    certificate: bytes | None = field(repr=False)
    cipher: Cipher | None


def parse_pki_message(data: bytes, ca_certificate: Certificate, ca_key: rsa.RSAPrivateKey) -> ScepRequest:
    """Read the message of a PKIOperation and open its envelope.

    Args:
        data: the CMS as posted, BER or DER.
        ca_certificate: the authority, for which the content must be encrypted.
        ca_key: its key.
    Raises: MalformedRequest, with the same text for failed decryption and for any failure after it.
    """
    message, content, signer = _verified(data)
    kind = _number(message, oids.SCEP_MESSAGE_TYPE, "messageType")
    if kind not in _REQUESTS:
        raise MalformedRequest(f"SCEP messageType {kind} is not supported")
    transaction_id = _transaction(message)
    nonce = _octets(message, oids.SCEP_SENDER_NONCE)
    if not transaction_id or not nonce:
        raise MalformedRequest("SCEP transactionID or senderNonce is missing")
    if signer.key_kind != "rsa":
        raise MalformedRequest("SCEP needs an RSA certificate to answer to")
    opened = enveloped.decrypt(content, ca_key, ca_certificate)
    try:
        csr, challenge = check_request(opened.content)
    except MalformedRequest:
        raise MalformedRequest(enveloped.DECRYPT_FAILED) from None
    return ScepRequest(
        message_type=MessageType(kind),
        transaction_id=transaction_id,
        sender_nonce=nonce,
        signer=signer,
        csr=csr,
        challenge=challenge,
        cipher=opened.cipher,
        digest=message.digest,
    )


def build_success(
    request: ScepRequest,
    leaf: bytes,
    ca_certificate: Certificate,
    ca_key: rsa.RSAPrivateKey,
    random_bytes: RandomBytes,
    signing_time: datetime | None = None,
) -> bytes:
    """Answer with the issued certificate, using the cipher and digest of the request.

    Args:
        request: the request to answer.
        leaf: issued certificate, DER.
        ca_certificate: the authority, which signs the answer.
        ca_key: its key.
        random_bytes: source of the content key.
        signing_time: aware time for the signingTime attribute, left out when None.
    Returns: the CMS, DER.
    """
    content = enveloped.encrypt(degenerate((leaf,)), request.signer, request.cipher, random_bytes)
    attributes = _answer(request, PkiStatus.SUCCESS)
    return sign_attached(
        content,
        ca_key,
        ca_certificate,
        digest=request.digest,
        signing_time=signing_time,
        attributes=attributes,
        certificates=(leaf, ca_certificate.der),
    )


def build_failure(
    request: ScepRequest,
    fail_info: FailInfo,
    ca_certificate: Certificate,
    ca_key: rsa.RSAPrivateKey,
    signing_time: datetime | None = None,
) -> bytes:
    """Answer that no certificate is issued; the content is empty. Arguments as in `build_success`."""
    attributes = _answer(request, PkiStatus.FAILURE)
    attributes.append(attribute(oids.SCEP_FAIL_INFO, _printable(str(int(fail_info)))))
    return sign_attached(
        b"", ca_key, ca_certificate, digest=request.digest, signing_time=signing_time, attributes=attributes
    )


def build_request(
    csr: bytes,
    key: rsa.RSAPrivateKey,
    certificate: Certificate,
    ca_certificate: Certificate,
    *,
    transaction_id: str,
    nonce: bytes,
    random_bytes: RandomBytes,
    cipher: Cipher = "aes256-cbc",
    digest: Digest = "sha256",
    message_type: MessageType = MessageType.PKCS_REQ,
    signing_time: datetime | None = None,
) -> bytes:
    """Ask for a certificate.

    Args:
        csr: certificate request, DER, with the challenge inside.
        key: key that signs the message and opens the answer.
        certificate: its certificate: self-signed the first time, the old one in a renewal.
        ca_certificate: the authority, as GetCACert answered.
        transaction_id: any text, 1 to 255 characters.
        nonce: 16 random bytes.
        random_bytes: source of the content key.
        cipher: content encryption, a key of `oids.CIPHERS`.
        digest: digest of the signature.
        message_type: one of the three requests.
        signing_time: aware time for the signingTime attribute, left out when None.
    Returns: the CMS, DER.
    """
    attributes = [
        attribute(oids.SCEP_MESSAGE_TYPE, _printable(str(int(message_type)))),
        attribute(oids.SCEP_TRANSACTION_ID, encode_text(transaction_id)),
        attribute(oids.SCEP_SENDER_NONCE, tlv(OCTETS, nonce)),
    ]
    content = enveloped.encrypt(csr, ca_certificate, cipher, random_bytes)
    return sign_attached(
        content, key, certificate, digest=digest, signing_time=signing_time, attributes=attributes
    )


def parse_reply(
    data: bytes, key: rsa.RSAPrivateKey, certificate: Certificate, ca_certificate: Certificate
) -> ScepReply:
    """Read the answer to a request.

    Args:
        data: CMS as received, BER or DER.
        key: key that signed the request.
        certificate: its certificate, for which the answer is encrypted.
        ca_certificate: the authority, which must have signed the answer.
    Raises: MalformedRequest.
    """
    message, content, signer = _verified(data, ca_certificate)
    if signer != ca_certificate:
        raise MalformedRequest("SCEP answer is not signed by the authority")
    if _number(message, oids.SCEP_MESSAGE_TYPE, "messageType") != MessageType.CERT_REP:
        raise MalformedRequest("not a SCEP answer")
    try:
        status = PkiStatus(_number(message, oids.SCEP_PKI_STATUS, "pkiStatus"))
        reason = oids.SCEP_FAIL_INFO in message.attributes
        fail_info = FailInfo(_number(message, oids.SCEP_FAIL_INFO, "failInfo")) if reason else None
    except ValueError as error:
        raise MalformedRequest(f"SCEP answer: {error}") from None
    leaf, cipher = None, None
    if status is PkiStatus.SUCCESS:
        opened = enveloped.decrypt(content, key, certificate)
        found, cipher = embedded_certificates(opened.content), opened.cipher
        if not found:
            raise MalformedRequest("SCEP answer contains no certificate")
        leaf = found[0]
    nonce = _octets(message, oids.SCEP_RECIPIENT_NONCE)
    return ScepReply(status, fail_info, _transaction(message), nonce, leaf, cipher)


def _verified(data: bytes, extra: Certificate | None = None) -> tuple[SignedMessage, bytes, Certificate]:
    """Parse a message and check its signature; `extra` may be the signer without being embedded."""
    message = parse_signed(data, with_content=True)
    if extra is not None:
        message = message._replace(certificates=[*message.certificates, extra.der])
    if message.signed_attributes is None:
        raise MalformedRequest("SCEP message has no signed attributes")
    content = message.content or b""
    try:
        return message, content, verify_signer(message, content)
    except SignatureInvalid as error:
        raise MalformedRequest(str(error)) from None


def _answer(request: ScepRequest, status: PkiStatus) -> list[bytes]:
    nonce = tlv(OCTETS, request.sender_nonce)
    return [
        attribute(oids.SCEP_MESSAGE_TYPE, _printable(str(int(MessageType.CERT_REP)))),
        attribute(oids.SCEP_PKI_STATUS, _printable(str(int(status)))),
        attribute(oids.SCEP_TRANSACTION_ID, encode_text(request.transaction_id)),
        attribute(oids.SCEP_SENDER_NONCE, nonce),
        attribute(oids.SCEP_RECIPIENT_NONCE, nonce),
    ]


def _printable(text: str) -> bytes:
    return tlv(PRINTABLE, text.encode())


def _number(message: SignedMessage, oid: bytes, name: str) -> int:
    """Return the value of an attribute that is a decimal number as text."""
    text = decode_text(message.attributes.get(oid, b""))
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise MalformedRequest(f"SCEP {name} is missing or not a number")
    return int(text)


def _transaction(message: SignedMessage) -> str:
    text = decode_text(message.attributes.get(oids.SCEP_TRANSACTION_ID, b"")) or ""
    if len(text) > MAX_TRANSACTION_CHARS:
        raise MalformedRequest("SCEP transactionID is too long")
    return text


def _octets(message: SignedMessage, oid: bytes) -> bytes:
    """Return a nonce, b"" when it is missing."""
    value = message.attributes.get(oid)
    if value is None:
        return b""
    element = first(value)
    if element[0] != OCTETS or element[3] - element[2] > MAX_NONCE_BYTES:
        raise MalformedRequest("SCEP nonce is too long or not an OCTET STRING")
    return octets(value, element)
