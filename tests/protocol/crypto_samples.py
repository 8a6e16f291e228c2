"""Identities and recorded messages that the cryptographic tests share; see tests/data/cms/README.md."""

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import strategies as st

from micromdm_py.protocol import der, oids
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.cms import attribute

DATA = Path(__file__).parent.parent / "data" / "cms"
NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2036, 1, 1, tzinfo=UTC)
SIGNED_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


@cache
def sample(name: str) -> bytes:
    return (DATA / name).read_bytes()


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(sample(f"{name}.key.pem"), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(sample("ec.key.pem"), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def certificate(name: str) -> Certificate:
    return load_certificate(sample(f"{name}.der"))


def header(cms: bytes) -> str:
    return base64.b64encode(cms).decode()


def random_bytes(seed: int = 0) -> Callable[[int], bytes]:
    """A source that gives the same bytes in every run."""
    return Random(seed).randbytes


BODY = sample("body.plist")


def forge(
    body: bytes = BODY,
    *,
    digest: str = "sha256",
    algorithm: bytes | None = None,
    attributes: list[bytes] | None = None,
    signed: bytes | None = None,
    certificates: list[bytes] | None = None,
    sid: bytes | None = None,
    signers: int = 1,
    content: bytes | None = None,
) -> bytes:
    """A SignedData of the RSA device in which every part can be made wrong; the signature fits what is said.

    `attributes` are put as given and signed in the order of DER, or as `signed` says; None means none.
    """
    device = certificate("device")
    name = oids.DIGEST_ALGORITHMS.get(_digest_algorithm(digest), "sha256")
    implicit, covered = b"", body
    if attributes is not None:
        implicit, covered = der.tlv(0xA0, *attributes), signed or der.set_of(*attributes)
    signature = rsa_key("device").sign(covered, PKCS1v15(), oids.DIGESTS[name])
    info = der.sequence(
        der.encode_integer(1),
        der.sequence(device.issuer_and_serial) if sid is None else sid,
        _digest_algorithm(digest),
        implicit,
        algorithm or der.sequence(oids.RSA_ENCRYPTION, der.NULL),
        der.tlv(der.OCTETS, signature),
    )
    carried = b"" if content is None else der.tlv(0xA0, der.tlv(der.OCTETS, content))
    embedded = [device.der] if certificates is None else certificates
    inner = der.sequence(
        der.encode_integer(1),
        der.tlv(der.SET, _digest_algorithm(digest)),
        der.sequence(oids.DATA, carried),
        der.tlv(0xA0, *embedded) if embedded else b"",
        der.tlv(der.SET, *[info] * signers),
    )
    return der.sequence(oids.SIGNED_DATA, der.tlv(0xA0, inner))


def _digest_algorithm(name: str) -> bytes:
    oid = {"md5": "1.2.840.113549.2.5", "sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1"}[name]
    return der.sequence(der.encode_oid(oid), der.NULL)


def usual_attributes(body: bytes = BODY, digest: str = "sha256", moment: bytes | None = None) -> list[bytes]:
    """contentType, messageDigest and signingTime, the time already encoded."""
    found = [
        attribute(oids.CONTENT_TYPE, oids.DATA),
        attribute(oids.MESSAGE_DIGEST, der.tlv(der.OCTETS, hashlib.new(digest, body).digest())),
    ]
    return found if moment is None else [*found, attribute(oids.SIGNING_TIME, moment)]


@st.composite
def mutations(draw: st.DrawFn, message: bytes) -> bytes:
    """The message with one to four small changes."""
    changed = bytearray(message)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        piece = draw(st.binary(min_size=1, max_size=6))
        kind = draw(st.sampled_from(["set", "cut", "insert", "double"]))
        if kind == "set":
            changed[at : at + len(piece)] = piece
        elif kind == "cut":
            del changed[at : at + len(piece)]
        elif kind == "insert":
            changed[at:at] = piece
        else:
            changed[at:at] = changed[at : at + 40]
    return bytes(changed)
