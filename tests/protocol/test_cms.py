"""Making signatures and envelopes, opening envelopes; tests/data/cms/README.md says what openssl thought."""

from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import cms, der, enveloped, oids
from micromdm_py.protocol.oids import Cipher
from micromdm_py.protocol.signature import verify_attached
from micromdm_py.protocol.signed import embedded_certificates
from tests.protocol.crypto_samples import (
    BODY,
    SIGNED_AT,
    certificate,
    ec_key,
    mutations,
    random_bytes,
    rsa_key,
    sample,
)

CIPHERS: tuple[Cipher, ...] = get_args(Cipher)


def test_detached_forms_are_the_recorded_ones() -> None:
    device = (rsa_key("device"), certificate("device"))
    assert cms.sign_detached(BODY, *device, signing_time=SIGNED_AT) == sample("own-der.der")
    assert cms.sign_detached(BODY, *device, form="apple") == sample("own-apple.der")


def test_apple_form_begins_and_ends_as_devices_write_it() -> None:
    message = cms.sign_detached(BODY, rsa_key("device"), certificate("device"), form="apple")
    assert message.startswith(
        bytes.fromhex("3080 06092a864886f70d010702 a080 3080 020101 310b 3009 06052b0e03021a 0500")
    )
    assert message.endswith(bytes(6))
    assert oids.SIGNING_TIME not in message and oids.MESSAGE_DIGEST not in message


def test_attached_content_and_certificates_keep_their_order() -> None:
    embedded = [certificate("device").der, certificate("ca").der]
    message = cms.sign_attached(b"content", rsa_key("ca"), certificate("ca"), certificates=embedded)
    found = verify_attached(message)
    assert (found.content, found.signer) == (b"content", certificate("ca"))
    assert [c.der for c in found.certificates] == embedded


def test_ec_key_can_sign_attached() -> None:
    message = cms.sign_attached(BODY, ec_key(), certificate("ec"), digest="sha384", signing_time=SIGNED_AT)
    assert verify_attached(message).signer == certificate("ec")


def test_certificates_without_a_signer() -> None:
    embedded = [certificate("device").der, certificate("ca").der]
    assert embedded_certificates(cms.degenerate(embedded)) == embedded
    assert embedded_certificates(cms.degenerate([])) == []


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("content", [b"", b"x" * 8, b"x" * 16, BODY])
def test_envelope_is_opened_again(cipher: Cipher, content: bytes) -> None:
    message = enveloped.encrypt(content, certificate("ca"), cipher, random_bytes())
    opened = enveloped.decrypt(message, rsa_key("ca"), certificate("ca"))
    assert (opened.content, opened.cipher) == (content, cipher)
    assert content == b"" or content not in message


@pytest.mark.parametrize("cipher", [*CIPHERS, "oaep"])
def test_envelopes_of_openssl_are_opened(cipher: str) -> None:
    opened = enveloped.decrypt(sample(f"openssl-{cipher}.der"), rsa_key("ca"), certificate("ca"))
    assert opened.content == BODY
    assert opened.cipher == ("aes256-cbc" if cipher == "oaep" else cipher)


def test_key_and_iv_come_from_the_given_source() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return random_bytes(len(asked))(count)

    message = enveloped.encrypt(BODY, certificate("ca"), "aes192-cbc", source)
    assert asked == [24, 16]
    assert der.tlv(der.OCTETS, random_bytes(2)(16)) in message


def test_envelope_needs_an_rsa_certificate() -> None:
    with pytest.raises(MalformedRequest, match="RSA"):
        enveloped.encrypt(BODY, certificate("ec"), "aes256-cbc", random_bytes())


def test_envelope_for_somebody_else_is_refused() -> None:
    message = enveloped.encrypt(BODY, certificate("device"), "aes256-cbc", random_bytes())
    with pytest.raises(MalformedRequest, match="not encrypted for this certificate"):
        enveloped.decrypt(message, rsa_key("ca"), certificate("ca"))


def envelope(wrapped: bytes, secret: bytes, cipher: Cipher = "aes128-cbc", iv: bytes = bytes(16)) -> bytes:
    """An envelope for the authority out of any parts."""
    who = der.sequence(certificate("ca").issuer_and_serial)
    transport = der.sequence(oids.RSA_ENCRYPTION, der.NULL)
    recipient = der.sequence(der.encode_integer(0), who, transport, der.tlv(der.OCTETS, wrapped))
    scheme = der.sequence(oids.CIPHERS[cipher], der.tlv(der.OCTETS, iv))
    inner = der.sequence(oids.DATA, scheme, der.tlv(0x80, secret))
    data = der.sequence(der.encode_integer(0), der.tlv(der.SET, recipient), inner)
    return der.sequence(oids.ENVELOPED_DATA, der.tlv(0xA0, data))


def wrap(key: bytes) -> bytes:
    return rsa_key("ca").public_key().encrypt(key, padding.PKCS1v15())


@pytest.mark.parametrize(
    ("wrapped", "secret"),
    [
        (bytes(256), bytes(16)),  # no key inside
        (bytes(255), bytes(16)),
        (b"", bytes(16)),
        (wrap(bytes(15)), bytes(16)),
        (wrap(bytes(24)), bytes(16)),
        (wrap(bytes(16)), bytes(16)),  # wrong padding
        (wrap(bytes(16)), bytes(15)),
        (wrap(bytes(16)), b""),
    ],
)
def test_every_failure_behind_the_key_has_the_same_text(wrapped: bytes, secret: bytes) -> None:
    with pytest.raises(MalformedRequest) as caught:
        enveloped.decrypt(envelope(wrapped, secret), rsa_key("ca"), certificate("ca"))
    assert str(caught.value) == enveloped.DECRYPT_FAILED


def test_iv_must_have_the_length_of_a_block() -> None:
    message = envelope(wrap(bytes(16)), bytes(16), iv=bytes(8))
    with pytest.raises(MalformedRequest, match="not accepted"):
        enveloped.decrypt(message, rsa_key("ca"), certificate("ca"))


def test_number_of_recipients_is_bounded() -> None:
    other = der.sequence(*[der.NULL] * 4)
    data = der.sequence(
        der.encode_integer(0),
        der.tlv(der.SET, *[other] * (enveloped.MAX_RECIPIENTS + 1)),
        der.sequence(
            oids.DATA, der.sequence(oids.CIPHERS["des-cbc"], der.tlv(der.OCTETS, bytes(8))), b"\x80\x00"
        ),
    )
    with pytest.raises(MalformedRequest, match="too many"):
        enveloped.decrypt(
            der.sequence(oids.ENVELOPED_DATA, der.tlv(0xA0, data)), rsa_key("ca"), certificate("ca")
        )


SAMPLES = [sample("openssl-aes128-cbc.der"), sample("openssl-des-cbc.der"), sample("openssl-oaep.der")]


@given(st.one_of(st.binary(max_size=200), st.sampled_from(SAMPLES).flatmap(mutations)))
def test_any_envelope_is_opened_or_refused(message: bytes) -> None:
    try:
        enveloped.decrypt(message, rsa_key("ca"), certificate("ca"))
    except MalformedRequest:
        pass


@given(st.one_of(st.binary(max_size=200), mutations(cms.degenerate([certificate("device").der]))))
def test_any_certificate_message_is_read_or_refused(message: bytes) -> None:
    try:
        embedded_certificates(message)
    except MalformedRequest:
        pass
