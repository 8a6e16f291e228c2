"""Certificate requests, and the certificates that are issued."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import cms, der, issuing, oids
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.oids import Digest
from tests.protocol.crypto_samples import (
    NOT_AFTER,
    NOT_BEFORE,
    certificate,
    ec_key,
    mutations,
    rsa_key,
    sample,
)

DIGESTS: tuple[Digest, ...] = get_args(Digest)
CSR = issuing.make_request(rsa_key("device"), "device-1", "Lab", "secret")


def issue(csr: x509.CertificateSigningRequest) -> bytes:
    return issuing.issue_certificate(csr, rsa_key("ca"), certificate("ca"), 7, NOT_BEFORE, NOT_AFTER)


def request(
    attributes: list[bytes] | None = None,
    algorithm: str = "sha256",
    signer: str = "device",
    omit: bool = False,
) -> bytes:
    """A certificate request of the device with any attributes, in the order given."""
    parts = der.children(CSR, der.first(CSR))
    fields = [der.raw(CSR, kid) for kid in der.children(CSR, parts[0])]
    info = der.sequence(*fields[:3], b"" if omit else der.tlv(0xA0, *(attributes or [])))
    digest: hashes.HashAlgorithm = hashes.MD5() if algorithm == "md5" else oids.DIGESTS[algorithm]  # type: ignore[index]
    oid = der.encode_oid("1.2.840.113549.1.1.4") if algorithm == "md5" else oids.RSA_SIGNATURES[algorithm]  # type: ignore[index]
    signature = rsa_key(signer).sign(info, PKCS1v15(), digest)
    return der.sequence(info, der.sequence(oid, der.NULL), der.tlv(0x03, b"\0" + signature))


def challenge(value: bytes) -> bytes:
    return cms.attribute(oids.CHALLENGE_PASSWORD, value)


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_request_may_be_signed_with_any_accepted_digest(algorithm: str) -> None:
    csr, found = issuing.check_request(request([challenge(b"\x13\x01x")], algorithm))
    assert found == "x"
    assert load_certificate(issue(csr)).common_name == "device-1"


@pytest.mark.parametrize(("algorithm", "signer"), [("md5", "device"), ("sha256", "ca")])
def test_request_with_a_weak_or_foreign_signature_is_refused(algorithm: str, signer: str) -> None:
    with pytest.raises(MalformedRequest, match="signature"):
        issuing.check_request(request(algorithm=algorithm, signer=signer))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x0c\x02\xc3\xa4", "ä"),
        (b"\x13\x03a b", "a b"),
        (b"\x14\x01t", "t"),
        (b"\x16\x01i", "i"),
        (b"\x1e\x04\x00a\x00b", "ab"),
        (b"\x0c\x00", ""),
        (b"\x0c\x01\xff", None),
        (b"\x1e\x01a", None),
        (b"\x04\x01o", None),
    ],
)
def test_challenge_may_be_any_kind_of_string(value: bytes, text: str | None) -> None:
    assert issuing.check_request(request([challenge(value)]))[1] == text


def test_request_without_challenge() -> None:
    assert issuing.check_request(request([]))[1] is None
    assert issuing.check_request(request(omit=True))[1] is None
    assert issuing.check_request(issuing.make_request(rsa_key("device"), "x", "Lab", None))[1] is None


def test_request_of_an_ec_key() -> None:
    csr, _ = issuing.check_request(issuing.make_request(ec_key(), "x", "Lab", None))
    assert load_certificate(issue(csr)).key_kind == "ec"


def test_attributes_may_come_in_any_order() -> None:
    extension = der.sequence(
        der.sequence(der.encode_oid("2.5.29.17"), der.tlv(der.OCTETS, b"\x30\x03\x82\x01a"))
    )
    attributes = [cms.attribute(der.encode_oid("1.2.840.113549.1.9.14"), extension), challenge(b"\x13\x01x")]
    for order in (attributes, attributes[::-1]):
        csr, found = issuing.check_request(request(order))
        assert found == "x"
        assert certificate_names(issue(csr)) == ["a"]


def certificate_names(raw: bytes) -> list[str]:
    extensions = x509.load_der_x509_certificate(raw).extensions
    return extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


def test_requests_for_other_keys_are_refused() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    ed = builder.sign(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), None)
    curve = builder.sign(ec.derive_private_key(5, ec.SECP256K1()), hashes.SHA256())
    for csr in (ed, curve):
        with pytest.raises(MalformedRequest, match="kind or size"):
            issuing.check_request(csr.public_bytes(Encoding.DER))


@pytest.mark.parametrize("raw", [b"", b"0", b"0\0", sample("ca.der"), bytes(issuing.MAX_REQUEST_BYTES + 1)])
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        issuing.check_request(raw)


def test_profile_of_an_issued_certificate() -> None:
    not_before = datetime(2026, 5, 1, 12, 0, 0, 999, tzinfo=UTC)
    csr, _ = issuing.check_request(CSR)
    raw = issuing.issue_certificate(
        csr, rsa_key("ca"), certificate("ca"), 42, not_before, not_before + timedelta(days=365)
    )
    leaf = x509.load_der_x509_certificate(raw)
    ca = x509.load_der_x509_certificate(certificate("ca").der)
    assert (leaf.serial_number, leaf.version, leaf.subject, leaf.issuer) == (
        42,
        x509.Version.v3,
        csr.subject,
        ca.subject,
    )
    assert leaf.not_valid_before_utc == not_before.replace(microsecond=0)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=365)
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
    assert {e.oid.dotted_string: e.critical for e in leaf.extensions} == {
        "2.5.29.15": True,
        "2.5.29.37": False,
        "2.5.29.14": False,
        "2.5.29.35": False,
    }
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not (usage.key_encipherment or usage.key_cert_sign or usage.crl_sign)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    key_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == key_id
    leaf.verify_directly_issued_by(ca)


def test_profile_of_the_authority() -> None:
    raw = issuing.make_ca(rsa_key("ca"), NOT_BEFORE, NOT_AFTER)
    assert raw == certificate("ca").der
    ca = x509.load_der_x509_certificate(raw)
    assert ca.subject.rfc4514_string() == "OU=MICROMDM SCEP CA,O=MicroMDM,C=US"
    assert (ca.serial_number, ca.issuer) == (1, ca.subject)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert (
        usage.critical
        and usage.value.digital_signature
        and usage.value.key_cert_sign
        and usage.value.crl_sign
    )
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_authority_without_key_identifier_and_subject_without_names() -> None:
    ca = load_certificate(issuing.self_signed(rsa_key("ca"), "old CA", 5, NOT_BEFORE, NOT_AFTER))
    alternative = x509.SubjectAlternativeName([x509.DNSName("a.example.com")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.add_extension(alternative, critical=False).sign(rsa_key("device"), hashes.SHA256())
    csr, _ = issuing.check_request(signed.public_bytes(Encoding.DER))
    leaf = x509.load_der_x509_certificate(
        issuing.issue_certificate(csr, rsa_key("ca"), ca, 5, NOT_BEFORE, NOT_AFTER)
    )
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


@pytest.mark.parametrize(
    "names",
    [
        b"\x30\x02\x82\x01",  # cut off
        b"\x30\x02\xa3\x00",  # a kind of name that is not supported
        b"\x30\x03\x82\x01\xff",
    ],
)
def test_names_that_cannot_be_issued_are_refused(names: bytes) -> None:
    extension = der.sequence(der.sequence(der.encode_oid("2.5.29.17"), der.tlv(der.OCTETS, names)))
    attributes = [cms.attribute(der.encode_oid("1.2.840.113549.1.9.14"), extension)]
    with pytest.raises(MalformedRequest):
        csr, _ = issuing.check_request(request(attributes))
        issue(csr)


def test_challenge_made_here_is_a_standard_one() -> None:
    csr = x509.load_der_x509_csr(CSR)
    assert csr.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value == b"secret"
    assert csr.is_signature_valid


@given(st.one_of(st.binary(max_size=300), st.sampled_from([CSR, request([])]).flatmap(mutations)))
def test_any_request_is_issued_or_refused(raw: bytes) -> None:
    try:
        csr, _ = issuing.check_request(raw)
        issue(csr)
    except MalformedRequest:
        pass
