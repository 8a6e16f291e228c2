"""The manifest of a package: where a Mac downloads it, and the digests to check meanwhile.

Source: Apple, "ManifestURL"; MicroMDM's `mdm/appmanifest` for what may be left out.
"""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Literal

from micromdm_py.protocol import plist

__all__ = ["CHUNK_BYTES", "make_manifest", "manifest_name"]

CHUNK_BYTES = 10 << 20
"""How much of a package one digest covers, as in MicroMDM's manifests."""

_PIECE_BYTES = 1 << 20

Algorithm = Literal["sha256", "md5"]


def manifest_name(package: str) -> str:
    """The name of a package's manifest, as mdmctl makes it: ``tool-1.2.pkg`` has ``tool-1.2.plist``."""
    stem, dot, _ = package.rpartition(".")
    return f"{stem if dot else package}.plist"


def make_manifest(
    package: BinaryIO, url: str, *, chunk_bytes: int = CHUNK_BYTES, algorithm: Algorithm = "sha256"
) -> bytes:
    """Make the manifest of a package.

    Args:
        package: open for reading, at its beginning; read to the end, a piece at a time.
        url: where devices download it.
        chunk_bytes: size of the chunks, each of which has a digest; at least 1.
        algorithm: ``sha256``, or ``md5`` for macOS before 10.15.
    Returns: an XML property list.
    """
    size, digests = 0, []
    for length, digest in _digests(package, chunk_bytes, algorithm):
        size += length
        digests.append(digest)
    asset = {
        "kind": "software-package",
        f"{algorithm}-size": min(chunk_bytes, size),
        f"{algorithm}s": digests,
        "url": url,
    }
    return plist.dumps_indented({"items": [{"assets": [asset]}]})


def _digests(package: BinaryIO, chunk_bytes: int, algorithm: Algorithm) -> Iterator[tuple[int, str]]:
    """Length and digest of each chunk."""
    while True:
        digest, length = hashlib.new(algorithm, usedforsecurity=False), 0
        while piece := package.read(min(_PIECE_BYTES, chunk_bytes - length)):
            digest.update(piece)
            length += len(piece)
        if not length:
            return
        yield length, digest.hexdigest()
