"""CMS EnvelopedData with one RSA recipient: the wrapping of SCEP requests and answers.

Old clients encrypt with single DES, so it is supported; only SCEP's inner transport relies on it.

Source: RFC 5652, 6; RFC 3370 (DES, key transport); RFC 3565 (AES).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import oids
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.der import (
    EXPLICIT_0,
    INTEGER,
    NULL,
    OCTETS,
    SEQUENCE,
    SET,
    Element,
    children,
    encode_integer,
    octets,
    raw,
    sequence,
    tlv,
)
from micromdm_py.protocol.signed import open_content_info

__all__ = ["DECRYPT_FAILED", "MAX_RECIPIENTS", "Opened", "decrypt", "encrypt"]

DECRYPT_FAILED = "content cannot be decrypted"
"""The one text for every failure behind the RSA key: a more precise one would help to guess the plaintext."""

MAX_RECIPIENTS = 16

_KEY_BYTES = {"des-cbc": 8, "des3-cbc": 24, "aes128-cbc": 16, "aes192-cbc": 24, "aes256-cbc": 32}
_CIPHER_NAMES = {oid: name for name, oid in oids.CIPHERS.items()}
_OAEP_SHA1 = sequence(oids.RSA_OAEP, sequence())
_IMPLICIT_CONTENT = 0x80


@dataclass(frozen=True, slots=True)
class Opened:
    """The content of an envelope.

    Attributes:
        content: the plain bytes.
        cipher: name of the content encryption, a key of `oids.CIPHERS`; the answer should use the same.
    """

    content: bytes = field(repr=False)
    cipher: oids.Cipher


def encrypt(
    content: bytes, recipient: Certificate, cipher: oids.Cipher, random_bytes: Callable[[int], bytes]
) -> bytes:
    """Encrypt for the holder of an RSA certificate.

    Args:
        content: any bytes.
        recipient: certificate of the one who is to read it.
        cipher: a key of `oids.CIPHERS`.
        random_bytes: returns that many bytes fit for keys, such as `secrets.token_bytes`.
    Returns: ContentInfo with EnvelopedData, DER.
    Raises: MalformedRequest when the recipient's key is not RSA.
    """
    if not isinstance(recipient.public_key, rsa.RSAPublicKey):
        raise MalformedRequest("encryption needs an RSA certificate")
    key = random_bytes(_KEY_BYTES[cipher])
    algorithm = _block_cipher(cipher, key)
    iv = random_bytes(algorithm.block_size // 8)
    pad = PKCS7(algorithm.block_size).padder()
    worker = Cipher(algorithm, modes.CBC(iv)).encryptor()
    secret = worker.update(pad.update(content) + pad.finalize()) + worker.finalize()
    recipient_info = sequence(
        encode_integer(0),
        sequence(recipient.issuer_and_serial),
        sequence(oids.RSA_ENCRYPTION, NULL),
        tlv(OCTETS, recipient.public_key.encrypt(key, padding.PKCS1v15())),
    )
    scheme = sequence(oids.CIPHERS[cipher], tlv(OCTETS, iv))
    inner = sequence(oids.DATA, scheme, tlv(_IMPLICIT_CONTENT, secret))
    data = sequence(encode_integer(0), tlv(SET, recipient_info), inner)
    return sequence(oids.ENVELOPED_DATA, tlv(EXPLICIT_0, data))


def decrypt(data: bytes, key: rsa.RSAPrivateKey, certificate: Certificate) -> Opened:
    """Open an envelope.

    Args:
        data: ContentInfo with EnvelopedData, BER or DER.
        key: the private key.
        certificate: the key's certificate, which must be among the recipients.
    Raises: MalformedRequest, with `DECRYPT_FAILED` for everything that depends on the key.
    """
    parts = children(data, open_content_info(data, oids.ENVELOPED_DATA))
    if len(parts) > 3 and parts[1][0] == EXPLICIT_0:
        del parts[1]  # originatorInfo
    if len(parts) < 3 or parts[0][0] != INTEGER or parts[1][0] != SET or parts[2][0] != SEQUENCE:
        raise MalformedRequest("CMS EnvelopedData is malformed")
    cipher, iv, secret = _encrypted_content(data, parts[2])
    transport, wrapped = _recipient(data, parts[1], certificate)
    try:
        content_key = key.decrypt(wrapped, transport)
        algorithm = _block_cipher(cipher, content_key)
        worker = Cipher(algorithm, modes.CBC(iv)).decryptor()
        unpad = PKCS7(algorithm.block_size).unpadder()
        plain = unpad.update(worker.update(secret) + worker.finalize()) + unpad.finalize()
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedRequest(DECRYPT_FAILED) from None
    return Opened(plain, cipher)


def _encrypted_content(data: bytes, info: Element) -> tuple[oids.Cipher, bytes, bytes]:
    """Return cipher name, initialization vector and ciphertext."""
    parts = children(data, info)
    if len(parts) != 3 or parts[1][0] != SEQUENCE or parts[2][0] not in (_IMPLICIT_CONTENT, EXPLICIT_0):
        raise MalformedRequest("CMS EncryptedContentInfo is malformed")
    scheme = children(data, parts[1])
    if len(scheme) != 2 or scheme[1][0] != OCTETS:
        raise MalformedRequest("CMS content encryption is not accepted")
    cipher = _CIPHER_NAMES.get(raw(data, scheme[0]))
    iv = octets(data, scheme[1])
    if cipher is None or len(iv) != (16 if cipher.startswith("aes") else 8):
        raise MalformedRequest("CMS content encryption is not accepted")
    return cipher, iv, octets(data, parts[2])


def _recipient(
    data: bytes, recipients: Element, certificate: Certificate
) -> tuple[padding.AsymmetricPadding, bytes]:
    """Return key transport and wrapped key for the certificate's holder."""
    found = children(data, recipients)
    if len(found) > MAX_RECIPIENTS:
        raise MalformedRequest("CMS names too many recipients")
    for element in found:
        parts = children(data, element) if element[0] == SEQUENCE else []
        if len(parts) != 4 or parts[1][0] != SEQUENCE or parts[3][0] != OCTETS:
            continue
        if raw(data, parts[1]) != sequence(certificate.issuer_and_serial):
            continue
        algorithm = raw(data, parts[2])
        if algorithm in (sequence(oids.RSA_ENCRYPTION, NULL), sequence(oids.RSA_ENCRYPTION)):
            return padding.PKCS1v15(), octets(data, parts[3])
        if algorithm in (_OAEP_SHA1, sequence(oids.RSA_OAEP)):
            sha1 = oids.DIGESTS["sha1"]
            return padding.OAEP(padding.MGF1(sha1), sha1, None), octets(data, parts[3])
        raise MalformedRequest("CMS key transport is not accepted")
    raise MalformedRequest("CMS is not encrypted for this certificate")


def _block_cipher(cipher: oids.Cipher, key: bytes) -> BlockCipherAlgorithm:
    """Return the cipher with its key.

    Single DES is Triple DES with the key repeated three times; libraries no longer offer it by itself.

    Raises: ValueError when the key has the wrong length.
    """
    if len(key) != _KEY_BYTES[cipher]:
        raise ValueError("key length")
    if cipher.startswith("aes"):
        return algorithms.AES(key)
    return TripleDES(key * 3 if cipher == "des-cbc" else key)
