"""SCEP messages in both directions, and the certificates that come of them."""

from typing import get_args

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import cms, der, enveloped, issuing, oids, scep
from micromdm_py.protocol.certificates import Certificate, issued_by, load_certificate
from micromdm_py.protocol.oids import Cipher, Digest
from micromdm_py.protocol.signature import verify_attached
from micromdm_py.protocol.signed import parse_signed
from tests.protocol.crypto_samples import (
    NOT_AFTER,
    NOT_BEFORE,
    SIGNED_AT,
    certificate,
    ec_key,
    mutations,
    random_bytes,
    rsa_key,
    sample,
)

CIPHERS: tuple[Cipher, ...] = get_args(Cipher)
DIGESTS: tuple[Digest, ...] = get_args(Digest)
NONCE = b"0123456789abcdef"
CSR = issuing.make_request(rsa_key("device"), "device-1", "Lab", "secret")


def ask(csr: bytes = CSR, **options: object) -> bytes:
    options = {"transaction_id": "T-1", "nonce": NONCE, "random_bytes": random_bytes(), **options}
    return scep.build_request(
        csr,
        rsa_key("device"),
        certificate("device-self"),
        certificate("ca"),
        **options,  # type: ignore[arg-type]
    )


def parse(message: bytes) -> scep.ScepRequest:
    return scep.parse_pki_message(message, certificate("ca"), rsa_key("ca"))


def read(message: bytes, ca: Certificate | None = None) -> scep.ScepReply:
    return scep.parse_reply(message, rsa_key("device"), certificate("device-self"), ca or certificate("ca"))


def issue(csr: x509.CertificateSigningRequest, serial: int = 7) -> bytes:
    return issuing.issue_certificate(csr, rsa_key("ca"), certificate("ca"), serial, NOT_BEFORE, NOT_AFTER)


def answer(request: scep.ScepRequest) -> bytes:
    leaf = issue(request.csr)
    return scep.build_success(request, leaf, certificate("ca"), rsa_key("ca"), random_bytes(), SIGNED_AT)


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("digest", DIGESTS)
def test_answer_uses_cipher_and_digest_of_the_request(cipher: Cipher, digest: Digest) -> None:
    request = parse(ask(cipher=cipher, digest=digest, signing_time=SIGNED_AT))
    assert (request.cipher, request.digest, request.challenge) == (cipher, digest, "secret")
    message = answer(request)
    assert parse_signed(message, with_content=False).digest == digest
    reply = read(message)
    assert (reply.status, reply.fail_info, reply.cipher) == (scep.PkiStatus.SUCCESS, None, cipher)
    assert (reply.transaction_id, reply.recipient_nonce) == ("T-1", NONCE)
    assert reply.certificate is not None
    leaf = load_certificate(reply.certificate)
    assert issued_by(leaf, certificate("ca")) and leaf.common_name == "device-1"


def test_success_carries_the_attributes_that_clients_expect() -> None:
    request = parse(ask())
    message = answer(request)
    found = parse_signed(message, with_content=True).attributes
    assert found[oids.SCEP_MESSAGE_TYPE] == b"\x13\x013"
    assert found[oids.SCEP_PKI_STATUS] == b"\x13\x010"
    assert found[oids.SCEP_TRANSACTION_ID] == b"\x13\x03T-1"
    assert found[oids.SCEP_SENDER_NONCE] == found[oids.SCEP_RECIPIENT_NONCE] == b"\x04\x10" + NONCE
    assert oids.SCEP_FAIL_INFO not in found
    leaf, ca = verify_attached(message).certificates
    assert (leaf.common_name, ca) == ("device-1", certificate("ca"))


def test_failure_has_a_reason_and_no_content() -> None:
    request = parse(ask())
    message = scep.build_failure(request, scep.FailInfo.BAD_REQUEST, certificate("ca"), rsa_key("ca"))
    reply = read(message)
    assert (reply.status, reply.fail_info) == (scep.PkiStatus.FAILURE, scep.FailInfo.BAD_REQUEST)
    assert (reply.certificate, reply.transaction_id, reply.recipient_nonce) == (None, "T-1", NONCE)
    opened = verify_attached(message)
    assert (opened.content, opened.certificates) == (b"", (certificate("ca"),))


@pytest.mark.parametrize("kind", ["pkcsreq", "renewalreq"])
def test_requests_of_scepclient_are_read(kind: str) -> None:
    request = parse(sample(f"scepclient-{kind}.der"))
    assert request.message_type.name == {"pkcsreq": "PKCS_REQ", "renewalreq": "RENEWAL_REQ"}[kind]
    assert (request.cipher, request.digest, request.challenge) == ("des-cbc", "sha1", "micromdm")
    assert issued_by(request.signer, certificate("ca")) == (kind == "renewalreq")
    leaf = x509.load_der_x509_certificate(issue(request.csr))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["device-1.example.com"]


def test_answers_of_micromdm_are_read() -> None:
    ca = certificate("micromdm-ca")
    good = read(sample("micromdm-success.der"), ca)
    assert (good.status, good.cipher, good.recipient_nonce) == (scep.PkiStatus.SUCCESS, "des-cbc", NONCE)
    assert good.certificate is not None and issued_by(load_certificate(good.certificate), ca)
    bad = read(sample("micromdm-failure.der"), ca)
    assert (bad.status, bad.fail_info, bad.certificate) == (
        scep.PkiStatus.FAILURE,
        scep.FailInfo.BAD_REQUEST,
        None,
    )


def test_answer_of_another_authority_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="not signed by the authority"):
        read(sample("micromdm-success.der"))


def test_answer_without_the_authority_inside_is_read() -> None:
    message = cms.sign_attached(
        b"",
        rsa_key("ca"),
        certificate("ca"),
        attributes=scep_attributes(kind="3", status="3"),
        certificates=(),
    )
    assert read(message).status is scep.PkiStatus.PENDING


@pytest.mark.parametrize("kind", [17, 18, 19])
def test_renewal_and_update_are_read_like_a_first_request(kind: int) -> None:
    request = parse(ask(message_type=scep.MessageType(kind)))
    assert (request.message_type, request.challenge) == (kind, "secret")


@pytest.mark.parametrize("transaction_id", ["x" * 255, "ä/+=", "a_b"])
def test_transaction_id_comes_back_as_sent(transaction_id: str) -> None:
    request = parse(ask(transaction_id=transaction_id))
    assert read(answer(request)).transaction_id == transaction_id


def scep_attributes(
    kind: str | None = "19",
    transaction: str | None = "T-1",
    nonce: bytes | None = NONCE,
    status: str | None = None,
) -> list[bytes]:
    found = []
    if kind is not None:
        found.append(cms.attribute(oids.SCEP_MESSAGE_TYPE, der.tlv(der.PRINTABLE, kind.encode())))
    if transaction is not None:
        found.append(cms.attribute(oids.SCEP_TRANSACTION_ID, der.encode_text(transaction)))
    if nonce is not None:
        found.append(cms.attribute(oids.SCEP_SENDER_NONCE, der.tlv(der.OCTETS, nonce)))
    if status is not None:
        found.append(cms.attribute(oids.SCEP_PKI_STATUS, der.tlv(der.PRINTABLE, status.encode())))
    return found


def message(attributes: list[bytes], content: bytes | None = None) -> bytes:
    if content is None:
        content = enveloped.encrypt(CSR, certificate("ca"), "aes128-cbc", random_bytes())
    return cms.sign_attached(content, rsa_key("device"), certificate("device-self"), attributes=attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        [],
        scep_attributes(kind=None),
        scep_attributes(kind="3"),
        scep_attributes(kind="20"),
        scep_attributes(kind=""),
        scep_attributes(kind="-1"),
        scep_attributes(kind="9" * 5000),
        scep_attributes(transaction=None),
        scep_attributes(transaction=""),
        scep_attributes(transaction="x" * 256),
        scep_attributes(nonce=None),
        scep_attributes(nonce=b""),
        scep_attributes(nonce=bytes(65)),
        [*scep_attributes(nonce=None), cms.attribute(oids.SCEP_SENDER_NONCE, der.NULL)],
        [*scep_attributes(kind=None), cms.attribute(oids.SCEP_MESSAGE_TYPE, der.tlv(der.OCTETS, b"19"))],
        [*scep_attributes(kind=None), cms.attribute(oids.SCEP_MESSAGE_TYPE, b"\x0c\x01\xff")],
    ],
)
def test_attributes_that_do_not_fit_are_refused(attributes: list[bytes]) -> None:
    with pytest.raises(MalformedRequest):
        parse(message(attributes))


def test_signature_of_the_message_is_checked() -> None:
    good = message(scep_attributes())
    assert parse(good).transaction_id == "T-1"
    with pytest.raises(MalformedRequest):
        parse(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(MalformedRequest):
        parse(good.replace(b"T-1", b"T-2"))


def test_message_without_signed_attributes_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="no signed attributes"):
        parse(cms.sign_detached(b"", rsa_key("device"), certificate("device-self"), form="apple"))


def test_signer_must_have_an_rsa_key() -> None:
    content = enveloped.encrypt(CSR, certificate("ca"), "aes128-cbc", random_bytes())
    signed = cms.sign_attached(content, ec_key(), certificate("ec"), attributes=scep_attributes())
    with pytest.raises(MalformedRequest, match="RSA"):
        parse(signed)


@pytest.mark.parametrize("raw", [b"", b"garbage", b"hello", sample("ca.der"), sample("openssl-sha256.der")])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse(raw)
    with pytest.raises(MalformedRequest):
        read(raw)


def test_wrong_key_and_wrong_content_look_alike() -> None:
    broken = enveloped.encrypt(CSR, certificate("ca"), "aes128-cbc", random_bytes())
    texts = set()
    for content in (
        broken[:-1] + bytes([broken[-1] ^ 1]),
        enveloped.encrypt(b"no request", certificate("ca"), "aes128-cbc", random_bytes()),
        enveloped.encrypt(CSR[:-1] + b"\0", certificate("ca"), "aes128-cbc", random_bytes()),
    ):
        with pytest.raises(MalformedRequest) as caught:
            parse(message(scep_attributes(), content))
        texts.add(str(caught.value))
    assert texts == {enveloped.DECRYPT_FAILED}


@pytest.mark.parametrize("status", ["1", "9", "x"])
def test_answer_with_an_unknown_status_is_refused(status: str) -> None:
    attributes = scep_attributes(kind="3", status=status)
    with pytest.raises(MalformedRequest):
        read(cms.sign_attached(b"", rsa_key("ca"), certificate("ca"), attributes=attributes))


def test_success_without_a_certificate_is_refused() -> None:
    content = enveloped.encrypt(cms.degenerate(()), certificate("device-self"), "des3-cbc", random_bytes())
    for body in (b"", content):
        attributes = scep_attributes(kind="3", status="0")
        with pytest.raises(MalformedRequest):
            read(cms.sign_attached(body, rsa_key("ca"), certificate("ca"), attributes=attributes))


def test_request_is_no_answer() -> None:
    with pytest.raises(MalformedRequest, match="not a SCEP answer"):
        read(cms.sign_attached(b"", rsa_key("ca"), certificate("ca"), attributes=scep_attributes(status="0")))


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(parse(ask()))


REQUESTS = [ask(), sample("scepclient-pkcsreq.der")]


@given(st.one_of(st.binary(max_size=300), st.sampled_from(REQUESTS).flatmap(mutations)))
def test_any_message_is_read_or_refused(raw: bytes) -> None:
    try:
        parse(raw)
    except MalformedRequest:
        pass


@given(st.one_of(st.binary(max_size=300), mutations(sample("micromdm-success.der"))))
def test_any_answer_is_read_or_refused(raw: bytes) -> None:
    try:
        read(raw, certificate("micromdm-ca"))
    except MalformedRequest:
        pass


@given(st.binary(max_size=120), st.booleans())
def test_any_signed_content_is_refused(content: bytes, encrypted: bool) -> None:
    if encrypted:
        content = enveloped.encrypt(content, certificate("ca"), "des-cbc", random_bytes())
    with pytest.raises(MalformedRequest):
        parse(message(scep_attributes(), content))


@given(mutations(b"".join(scep_attributes())))
def test_any_signed_attributes_are_read_or_refused(attributes: bytes) -> None:
    try:
        parse(message([attributes]))
    except MalformedRequest:
        pass
