"""Installer packages, signed and not, as `productbuild` makes them."""

import base64
import hashlib
import struct
import zlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from tests.protocol.crypto_samples import certificate, rsa_key

_HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}
SIGNATURE_BYTES = 256


def package(
    *, signed: bool = True, content: bytes = b"payload" * 100, name: str = "Distribution", style: str = "sha1"
) -> bytes:
    """A xar archive with one file."""
    digest_bytes = hashlib.new(style).digest_size
    signature = (
        f'<signature style="RSA"><offset>{digest_bytes}</offset><size>{SIGNATURE_BYTES}</size>'
        '<KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>'
        f"{base64.b64encode(certificate('device').der).decode()}"
        "</X509Certificate></X509Data></KeyInfo></signature>"
    )
    start = digest_bytes + SIGNATURE_BYTES
    table = zlib.compress(
        '<?xml version="1.0" encoding="UTF-8"?><xar><toc>'
        f'<checksum style="{style}"><offset>0</offset><size>{digest_bytes}</size></checksum>'
        f"{signature if signed else ''}<file id='1'><data><offset>{start}</offset>"
        f"<size>{len(content)}</size></data><name>{name}</name></file></toc></xar>".encode()
    )
    mark = rsa_key("device").sign(table, PKCS1v15(), _HASHES[style])
    assert len(mark) == SIGNATURE_BYTES
    head = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(table), len(zlib.decompress(table)), 1)
    return head + table + hashlib.new(style, table).digest() + mark + content
