"""Server tokens: the credentials of one server in Apple's portal, and the encrypted file they come in.

The portal encrypts for the certificate that was uploaded there and returns an S/MIME file: MIME headers, then
base64 of CMS EnvelopedData. Its content is MIME headers again, and JSON between two marks.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import rsa

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.enveloped import decrypt

__all__ = [
    "MAX_TOKEN_FILE_BYTES",
    "SIMULATOR_TOKEN",
    "DepToken",
    "open_token_file",
    "parse_token",
    "read_time",
]

MAX_TOKEN_FILE_BYTES = 1 << 18
FIELD = "p7m_content"

_BEGIN, _END = b"-----BEGIN MESSAGE-----", b"-----END MESSAGE-----"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class DepToken:
    """The credentials of a server.

    Attributes:
        consumer_key: who the server is; it stays when the token is renewed.
        consumer_secret, access_token, access_secret: what calls are signed with.
        expires_at: Apple gives a token one year; None when unknown.
    """

    consumer_key: str
    consumer_secret: str = field(repr=False)
    access_token: str = field(repr=False)
    access_secret: str = field(repr=False)
    expires_at: datetime | None


SIMULATOR_TOKEN = DepToken(
    "CK_48dd68d198350f51258e885ce9a5c37ab7f98543c4a697323d75682a6c10a32501cb247e3db08105db868f73f2c972bdb6ae77112"
    "aea803b9219eb52689d42e6",
    "CS_34c7b2b531a600d99a0e4edcf4a78ded79b86ef318118c2f5bcfee1b011108c32d5302df801adbe29d446eb78f02b13144e323eb9"
    "aad51c79f01e50cb45c3a68",
    "AT_927696831c59ba510cfe4ec1a69e5267c19881257d4bca2906a99d0785b785a6f6fdeb09774954fdd5e2d0ad952e3af52c6d8d2f2"
    "1c924ba0caf4a031c158b89",
    "AS_c31afd7a09691d83548489336e8ff1cb11b82b6bca13f793344496a556b1f4972eaff4dde6deb5ac9cf076fdfa97ec97699c34d51"
    "5947b9cf9ed31c99dded6ba",
    None,
)
"""What simulators of the service accept, including MicroMDM's; of no use anywhere else."""


def open_token_file(content: bytes, keys: Iterable[tuple[rsa.RSAPrivateKey, Certificate]]) -> DepToken:
    """Open the portal's token file.

    Args:
        content: the S/MIME file (.p7m).
        keys: our key pairs, each with the certificate that may have been uploaded.
    Raises: MalformedField for `p7m_content`.
    """
    if len(content) > MAX_TOKEN_FILE_BYTES:
        raise MalformedField(FIELD, f"is larger than {MAX_TOKEN_FILE_BYTES} bytes")
    envelope = _envelope(content)
    reason = "there is no key pair"
    for key, certificate in keys:
        try:
            return parse_token(_message(decrypt(envelope, key, certificate).content))
        except MalformedField:
            raise
        except MalformedRequest as fault:
            reason = str(fault)
    raise MalformedField(FIELD, f"is not a token file for this server's public key: {reason}")


def parse_token(document: bytes) -> DepToken:
    """Read a token's JSON. Raises: MalformedField."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MalformedField(FIELD, "contains no token")
    names = ("consumer_key", "consumer_secret", "access_token", "access_secret")
    values = [found.get(name) for name in names]
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 300:
            raise MalformedField(FIELD, f"contains a token without {name}")
    expiry = found.get("access_token_expiry")
    key, secret, access, access_secret = map(str, values)
    return DepToken(
        key, secret, access, access_secret, read_time(expiry) if isinstance(expiry, str) else None
    )


def read_time(text: str) -> datetime | None:
    """An RFC 3339 time as aware UTC, whole microseconds; None for anything else and for Go's unset time."""
    if not _TIME.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None if at.year == 1 else at


def _envelope(content: bytes) -> bytes:
    """The CMS message in an S/MIME file, which may also come without its headers or as plain DER."""
    if content[:1] == b"\x30":
        return content
    text = content.replace(b"\r\n", b"\n")
    head, mark, rest = text.partition(b"\n\n")
    packed = rest if mark and b":" in head else text
    try:
        return base64.b64decode(b"".join(packed.split()), validate=True)
    except binascii.Error:
        raise MalformedField(FIELD, "is not an S/MIME file") from None


def _message(content: bytes) -> bytes:
    """The JSON between the two marks, with its line breaks removed."""
    _, begin, rest = content.partition(_BEGIN)
    inside, end, _ = rest.partition(_END)
    if not begin or not end:
        raise MalformedField(FIELD, "contains no message")
    return b"".join(inside.splitlines())
