"""Installer packages and their manifests."""

import hashlib
import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest, SignatureInvalid
from micromdm_py.protocol import plist
from micromdm_py.protocol.manifest import make_manifest, manifest_name
from micromdm_py.protocol.package import MAX_TABLE_BYTES, Package, read_package
from tests.fakes.packages import package
from tests.protocol.crypto_samples import certificate


def read(data: bytes) -> Package:
    return read_package(io.BytesIO(data))


@pytest.mark.parametrize("style", ["sha1", "sha256"])
def test_a_signed_package_has_its_signer(style: str) -> None:
    found = read(package(style=style))
    assert found == Package(certificate("device"), distribution=True)


def test_an_unsigned_package_has_none() -> None:
    assert read(package(signed=False)).signer is None


def test_a_component_package_is_no_distribution() -> None:
    assert not read(package(name="PackageInfo")).distribution


@pytest.mark.parametrize("data", [b"", b"xar!", b"PKGDATA" * 10, package()[:100], package()[:27]])
def test_what_is_no_package_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(data)


def table_of(text: bytes) -> bytes:
    table = zlib.compress(text)
    return struct.pack(">4sHHQQI", b"xar!", 28, 1, len(table), len(text), 1) + table


@pytest.mark.parametrize(
    "text",
    [
        b"not xml",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><xar><toc>&a;</toc></xar>',
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><xar><toc>&a;</toc></xar>'.encode("utf-16"),
        b" " * (MAX_TABLE_BYTES + 1) + b"<xar/>",
    ],
    ids=["text", "entities", "hidden entities", "bomb"],
)
def test_tables_that_could_do_harm_are_refused(text: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(table_of(text))


def test_a_table_that_claims_to_be_huge_is_refused() -> None:
    with pytest.raises(MalformedRequest):
        read(struct.pack(">4sHHQQI", b"xar!", 28, 1, 1 << 60, 1 << 60, 1))


def test_a_signature_that_does_not_fit_is_refused() -> None:
    data = package()
    table_bytes = struct.unpack(">Q", data[8:16])[0]
    digest_at = 28 + table_bytes
    for position in (digest_at, digest_at + 20, digest_at + 200):
        broken = bytearray(data)
        broken[position] ^= 1
        with pytest.raises(SignatureInvalid):
            read(bytes(broken))


@pytest.mark.parametrize(
    "signature",
    [
        b'<signature style="RSA"/>',
        b'<checksum style="md2"/><signature style="RSA"/>',
        b'<checksum style="sha1"><offset>-1</offset><size>20</size></checksum><signature style="RSA"/>',
        b'<checksum style="sha1"><offset>0</offset><size>99999999</size></checksum><signature style="RSA"/>',
    ],
)
def test_signatures_that_point_nowhere_are_refused(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        read(table_of(b"<xar><toc>" + signature + b"</toc></xar>"))


@given(st.data())
def test_no_bytes_do_harm(data: st.DataObject) -> None:
    broken = bytearray(package())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(broken))
    except (MalformedRequest, SignatureInvalid):
        pass


@pytest.mark.parametrize(
    ("size", "lengths"), [(0, []), (1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
)
def test_a_manifest_has_a_digest_for_each_chunk(size: int, lengths: list[int]) -> None:
    content, url = bytes(range(size)), "https://mdm.example.com/repo/a.pkg"
    manifest = plist.loads(make_manifest(io.BytesIO(content), url, chunk_bytes=10))
    chunks = [content[start : start + 10] for start in range(0, size, 10)]
    assert [len(chunk) for chunk in chunks] == lengths
    assert manifest == {
        "items": [
            {
                "assets": [
                    {
                        "kind": "software-package",
                        "sha256-size": min(10, size),
                        "sha256s": [hashlib.sha256(chunk).hexdigest() for chunk in chunks],
                        "url": url,
                    }
                ]
            }
        ]
    }


def test_a_manifest_for_older_systems() -> None:
    manifest = make_manifest(io.BytesIO(b"abc"), "https://x.example.com/a", algorithm="md5")
    assert hashlib.md5(b"abc").hexdigest().encode() in manifest
    assert b"md5-size" in manifest


@pytest.mark.parametrize(
    ("package_name", "wanted"), [("a-1.2.pkg", "a-1.2.plist"), ("a", "a.plist"), ("a.tar.gz", "a.tar.plist")]
)
def test_the_manifest_is_named_after_the_package(package_name: str, wanted: str) -> None:
    assert manifest_name(package_name) == wanted
