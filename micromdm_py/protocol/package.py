"""Installer packages: whether a file is one, is signed, and can be installed by MDM.

A package is a xar archive: a header, a compressed table of contents in XML, then the heap. The signature
covers the table as stored; the table has digests of everything else. As in `mdmctl`, the signer is not
checked: whom to trust is up to the Mac.

Source: the xar format (github.com/mackyle/xar, wiki); `mdmctl apply app`.
"""

import base64
import binascii
import hashlib
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from cryptography.hazmat.primitives import hashes

from micromdm_py.errors import MalformedRequest, SignatureInvalid
from micromdm_py.protocol.certificates import Certificate, load_certificate, verify_signature

__all__ = ["Package", "read_package"]

_HEADER = struct.Struct(">4sHHQQI")
_MAGIC = b"xar!"
MAX_TABLE_BYTES = 16 << 20
"""Largest table of contents that is read, compressed or not."""
MAX_VALUE_BYTES = 1 << 16

_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what Apple's own tools still sign with
    "sha256": hashes.SHA256(),
    "sha512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Package:
    """What a package says about itself.

    Attributes:
        signer: certificate of the verified signature; None for an unsigned package.
        distribution: whether it is a distribution package, the only kind that MDM installs.
    """

    signer: Certificate | None
    distribution: bool


def read_package(file: BinaryIO) -> Package:
    """Inspect a package.

    Args:
        file: open for reading, seekable; its position afterwards is undefined.
    Raises: MalformedRequest when it is not a package; SignatureInvalid when its signature is wrong.
    """
    table, heap = _table(file)
    root = _parse(table)
    names = [name.text for name in root.iterfind("./toc/file/name")]
    return Package(_signer(file, root, table, heap), "Distribution" in names)


def _table(file: BinaryIO) -> tuple[bytes, int]:
    """The compressed table of contents, and where the heap begins."""
    file.seek(0)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise MalformedRequest("not an installer package (xar archive)")
    _, header_bytes, _, packed_bytes, _, _ = _HEADER.unpack(header)
    if packed_bytes > MAX_TABLE_BYTES or header_bytes < _HEADER.size:
        raise MalformedRequest("the package's table of contents is too large")
    file.seek(header_bytes)
    table = file.read(packed_bytes)
    if len(table) < packed_bytes:
        raise MalformedRequest("the package ends early")
    return table, header_bytes + packed_bytes


def _parse(table: bytes) -> ElementTree.Element:
    try:
        unpacked = zlib.decompressobj().decompress(table, MAX_TABLE_BYTES)
        if b"<!DOCTYPE" in unpacked or b"\0" in unpacked:  # zeros: UTF-16, which could hide one
            raise ValueError("document type")
        return ElementTree.fromstring(unpacked)  # noqa: S314 - without a document type it is harmless
    except (zlib.error, ValueError, ElementTree.ParseError) as fault:
        raise MalformedRequest("the package's table of contents cannot be read") from fault


def _signer(file: BinaryIO, root: ElementTree.Element, table: bytes, heap: int) -> Certificate | None:
    signature = root.find("./toc/signature[@style='RSA']")
    if signature is None:
        return None
    checksum = root.find("./toc/checksum")
    style = (checksum.get("style") or "").lower() if checksum is not None else ""
    if checksum is None or style not in _DIGESTS:
        raise SignatureInvalid("the package's checksum is of an unknown kind")
    digest = hashlib.new(style, table).digest()
    if _value(file, checksum, heap) != digest:
        raise SignatureInvalid("the package's checksum does not match its table of contents")
    certificate = _certificate(signature)
    key = certificate.public_key
    if key is None or not verify_signature(key, _value(file, signature, heap), table, _DIGESTS[style]):
        raise SignatureInvalid("the package's signature is wrong")
    return certificate


def _certificate(signature: ElementTree.Element) -> Certificate:
    """The signer's certificate, which comes first."""
    for element in signature.iter():
        if element.tag.rpartition("}")[2] == "X509Certificate":
            try:
                return load_certificate(base64.b64decode("".join((element.text or "").split())))
            except (binascii.Error, MalformedRequest) as fault:
                raise SignatureInvalid("the package's certificate cannot be read") from fault
    raise SignatureInvalid("the package's signature has no certificate")


def _value(file: BinaryIO, element: ElementTree.Element, heap: int) -> bytes:
    """Bytes of the heap that an element points to."""
    texts = element.findtext("offset", "").strip(), element.findtext("size", "").strip()
    if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in texts):
        raise SignatureInvalid("the package's signature points nowhere")
    offset, size = map(int, texts)
    if size > MAX_VALUE_BYTES:
        raise SignatureInvalid("the package's signature is too large")
    file.seek(heap + offset)
    return file.read(size)
