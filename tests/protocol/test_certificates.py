"""Certificates as values: fields, cache, who issued what."""

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import der
from micromdm_py.protocol.certificates import (
    MAX_CERTIFICATE_BYTES,
    Certificate,
    check_public_key,
    issued_by,
    load_certificate,
)
from tests.protocol.crypto_samples import (
    NOT_AFTER,
    NOT_BEFORE,
    certificate,
    ec_key,
    mutations,
    rsa_key,
    sample,
)

CA_NAME = x509.load_der_x509_certificate(sample("ca.der")).subject


def make(
    key: object,
    signer: object,
    issuer: x509.Name = CA_NAME,
    digest: hashes.HashAlgorithm | None = None,
    **options: object,
) -> Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).serial_number(77)
    builder = builder.public_key(key).not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER)  # type: ignore[arg-type]
    return load_certificate(builder.sign(signer, digest, **options).public_bytes(Encoding.DER))  # type: ignore[arg-type]


def test_fields() -> None:
    device = certificate("device")
    assert (device.common_name, device.serial, device.key_kind) == ("Device 1", 2, "rsa")
    assert (device.not_before, device.not_after) == (NOT_BEFORE, NOT_AFTER)
    assert device.issuer == "OU=MICROMDM SCEP CA,O=MicroMDM,C=US"
    assert device.issuer_der == certificate("ca").subject_der == CA_NAME.public_bytes()
    assert device.issuer_and_serial == CA_NAME.public_bytes() + b"\x02\x01\x02"
    parsed = x509.load_der_x509_certificate(device.der)
    assert device.fingerprint == parsed.fingerprint(hashes.SHA256()).hex()
    assert certificate("ec").key_kind == "ec"


def test_neither_key_nor_bytes_are_shown() -> None:
    assert "der" not in repr(certificate("device")) and "public_key" not in repr(certificate("device"))


def test_same_bytes_give_the_same_object_in_every_thread() -> None:
    raw = sample("device.der")
    found: list[Certificate] = []
    threads = [Thread(target=lambda: found.append(load_certificate(bytes(bytearray(raw))))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {load_certificate(raw)}
    assert load_certificate(bytes(bytearray(raw))) is load_certificate(raw)


def test_certificate_without_common_name() -> None:
    key = rsa_key("device")
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(CA_NAME).serial_number(1)
    builder = builder.public_key(key.public_key())
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2060, 1, 1, tzinfo=UTC) + timedelta(seconds=1))
    loaded = load_certificate(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    assert loaded.common_name == ""
    assert loaded.not_after == datetime(2060, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"0",
        b"0\x00",
        b"garbage",
        sample("device.der") + b"\0",
        sample("device.der")[:-1],
        der.sequence(der.sequence(der.encode_integer(1))),
        der.sequence(der.sequence(*[der.encode_integer(1)] * 7)),
        der.sequence(bytes(MAX_CERTIFICATE_BYTES)),
        sample("openssl-sha256.der"),
    ],
)
def test_what_is_no_certificate_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        load_certificate(raw)


@given(mutations(sample("device.der")))
def test_changed_certificates_are_read_or_refused_and_never_believed(raw: bytes) -> None:
    if raw == sample("device.der"):
        return
    try:
        changed = load_certificate(raw)
    except MalformedRequest:
        return
    assert not issued_by(changed, certificate("ca"))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        load_certificate(raw)


def test_issued_by_asks_name_and_signature() -> None:
    ca = certificate("ca")
    assert issued_by(certificate("device"), ca)
    assert issued_by(certificate("ec"), ca)
    assert issued_by(ca, ca)
    assert not issued_by(certificate("device-self"), ca)
    assert not issued_by(certificate("device"), certificate("micromdm-ca"))
    forged = make(rsa_key("device").public_key(), rsa_key("device"), digest=hashes.SHA256())
    assert not issued_by(forged, ca)
    other_name = make(
        rsa_key("device").public_key(), rsa_key("ca"), issuer=x509.Name([]), digest=hashes.SHA256()
    )
    assert not issued_by(other_name, ca)


@pytest.mark.parametrize("scheme", [None, padding.PSS(padding.MGF1(hashes.SHA256()), 32)])
def test_issuer_signature_may_be_pss(scheme: padding.PSS | None) -> None:
    leaf = make(rsa_key("device").public_key(), rsa_key("ca"), digest=hashes.SHA256(), rsa_padding=scheme)
    assert issued_by(leaf, certificate("ca"))


def resigned(leaf: Certificate, algorithm: bytes, digest: hashes.HashAlgorithm) -> Certificate:
    """The certificate signed anew by the authority with an algorithm that certificate builders refuse."""
    parts = der.children(leaf.der, der.first(leaf.der))
    fields = [der.raw(leaf.der, kid) for kid in der.children(leaf.der, parts[0])]
    fields[2] = algorithm
    tbs = der.sequence(*fields)
    signature = rsa_key("ca").sign(tbs, padding.PKCS1v15(), digest)
    return load_certificate(der.sequence(tbs, algorithm, der.tlv(0x03, b"\0" + signature)))


def test_issuer_signature_may_be_sha1_but_not_md5() -> None:
    sha1 = der.sequence(der.encode_oid("1.2.840.113549.1.1.5"), der.NULL)
    assert issued_by(resigned(certificate("device"), sha1, hashes.SHA1()), certificate("ca"))
    md5 = der.sequence(der.encode_oid("1.2.840.113549.1.1.4"), der.NULL)
    assert not issued_by(resigned(certificate("device"), md5, hashes.MD5()), certificate("ca"))


def test_ec_authority() -> None:
    ca = make(ec_key().public_key(), ec_key(), digest=hashes.SHA256(), issuer=CA_NAME)
    name = x509.load_der_x509_certificate(ca.der).subject
    assert issued_by(make(rsa_key("device").public_key(), ec_key(), issuer=name, digest=hashes.SHA384()), ca)
    assert not issued_by(make(rsa_key("device").public_key(), rsa_key("ca"), name, hashes.SHA384()), ca)
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert not issued_by(make(rsa_key("device").public_key(), ed, issuer=name), ca)


def test_keys_of_other_kinds_and_sizes_are_not_accepted() -> None:
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    huge_exponent = rsa.RSAPublicNumbers((1 << 32) + 1, rsa_key("device").public_key().public_numbers().n)
    huge_modulus = rsa.RSAPublicNumbers(65537, (1 << 8200) + 1)
    other_curve = ec.derive_private_key(5, ec.SECP256K1()).public_key()
    for key in (ed, huge_exponent.public_key(), huge_modulus.public_key(), other_curve):
        with pytest.raises(MalformedRequest):
            check_public_key(key)
    loaded = make(ed, rsa_key("ca"), digest=hashes.SHA256())
    assert (loaded.public_key, loaded.key_kind) == (None, "")
    assert issued_by(loaded, certificate("ca"))
    assert not issued_by(certificate("device"), loaded)
