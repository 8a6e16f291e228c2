"""Mdm-Signature: what is accepted, what is refused, and that nothing else can come out."""

import base64
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import SignatureInvalid
from micromdm_py.protocol import cms, der, oids, signature
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.issuing import self_signed
from micromdm_py.protocol.signature import MAX_HEADER_CHARS, verify_attached, verify_detached
from micromdm_py.protocol.signed import MAX_ATTRIBUTES, MAX_CERTIFICATES
from tests.protocol.crypto_samples import (
    BODY,
    NOT_AFTER,
    NOT_BEFORE,
    SIGNED_AT,
    certificate,
    ec_key,
    forge,
    header,
    mutations,
    rsa_key,
    sample,
    usual_attributes,
)

SECOND = timedelta(seconds=1)


def sign(**options: object) -> bytes:
    options.setdefault("signing_time", SIGNED_AT)
    return cms.sign_detached(BODY, rsa_key("device"), certificate("device"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["der", "apple"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_both_forms_with_every_digest_are_accepted(form: str, digest: str) -> None:
    signature = sign(form=form, digest=digest)
    assert verify_detached(header(signature), BODY) == certificate("device")


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("form", ["der", "apple"])
def test_ec_signer_is_accepted(form: str, digest: str) -> None:
    signature = cms.sign_detached(BODY, ec_key(), certificate("ec"), form=form, digest=digest)  # type: ignore[arg-type]
    assert verify_detached(header(signature), BODY) == certificate("ec")


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha384", "sha512", "noattr", "attached-ber"])
def test_messages_of_openssl_are_accepted(name: str) -> None:
    assert verify_detached(header(sample(f"openssl-{name}.der")), BODY) == certificate("device")


def test_ec_message_of_openssl_is_accepted() -> None:
    assert verify_detached(header(sample("openssl-ec.der")), BODY) == certificate("ec")


@pytest.mark.parametrize("name", ["md5", "keyid", "nocerts", "pss", "two-signers"])
def test_messages_outside_the_rules_are_refused(name: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(header(sample(f"openssl-{name}.der")), BODY)


@pytest.mark.parametrize("form", ["der", "apple"])
@pytest.mark.parametrize("body", [BODY + b"\n", BODY[:-1], b""])
def test_another_body_is_refused(form: str, body: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(header(sign(form=form)), body)


def test_empty_body_can_be_signed() -> None:
    signature = cms.sign_detached(b"", rsa_key("device"), certificate("device"), form="apple")
    assert verify_detached(header(signature), b"") == certificate("device")


@pytest.mark.parametrize("value", [None, "", "!!!not-base64!!!", "aGVsbG8=", "ä", "=", "AA", "\ud800"])
def test_missing_or_garbled_header_is_refused(value: str | None) -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(value, BODY)


def test_base64_must_be_standard_padded_and_in_one_piece() -> None:
    texts = [header(forge(body + b" " * pad)) for body in (BODY,) for pad in range(12)]
    padded = next(text for text in (header(forge() + b"\0" * n) for n in range(3)) if text.endswith("="))
    odd = next(text for text in texts if "+" in text or "/" in text)
    urlsafe = odd.translate(str.maketrans("+/", "-_"))
    spaced = " ".join(odd[i : i + 76] for i in range(0, len(odd), 76))
    verify_detached(padded, BODY)
    for text in (urlsafe, spaced, odd.replace("A", "A\n", 1), padded.rstrip("="), padded + "=", "=" + padded):
        with pytest.raises(SignatureInvalid, match="base64"):
            verify_detached(text, BODY)


def test_too_long_a_header_is_not_decoded() -> None:
    with pytest.raises(SignatureInvalid, match="too long"):
        verify_detached("A" * (MAX_HEADER_CHARS + 4), BODY)


def test_bytes_behind_the_message_are_ignored() -> None:
    assert verify_detached(header(sign() + b"\0\0"), BODY) == certificate("device")


def test_content_inside_is_ignored_and_the_body_counts() -> None:
    carried = forge(attributes=usual_attributes(), content=b"something else")
    assert verify_detached(header(carried), BODY) == certificate("device")
    other = forge(b"something else", attributes=usual_attributes(b"something else"), content=BODY)
    with pytest.raises(SignatureInvalid):
        verify_detached(header(other), BODY)


@pytest.mark.parametrize(
    ("moment", "accepted"),
    [
        (NOT_BEFORE, True),
        (NOT_AFTER, True),
        (NOT_BEFORE - SECOND, False),
        (NOT_AFTER + SECOND, False),
        (None, True),
    ],
)
def test_signing_time_must_lie_inside_the_validity(moment: object, accepted: bool) -> None:
    signature = header(sign(signing_time=moment))
    if accepted:
        assert verify_detached(signature, BODY) == certificate("device")
    else:
        with pytest.raises(SignatureInvalid, match="validity"):
            verify_detached(signature, BODY)


@pytest.mark.parametrize(
    ("moment", "accepted"),
    [
        (b"\x18\x0f20260601120000Z", True),
        (b"\x17\x0b2606011200Z", True),  # without seconds
        (b"\x17\x11260101003000+0100", False),  # half an hour before the validity begins
        (b"\x17\x11251231233000-0100", True),
        (b"\x17\x0d500601120000Z", False),  # 1950
        (b"\x17\x0d261301120000Z", False),
        (b"\x18\x0f00000601120000Z", False),
        (b"\x18\x1300010101000000+2359", False),
        (b"\x17\x0d26060112000\xb2Z", False),
        (b"\x17\x0c260601120000", False),
        (b"\x18\x0d260601120000Z", False),
        (b"\x04\x0d260601120000Z", False),
        (b"\x17\x00", False),
    ],
)
def test_forms_of_signing_time(moment: bytes, accepted: bool) -> None:
    signature = header(forge(attributes=usual_attributes(moment=moment)))
    if accepted:
        assert verify_detached(signature, BODY) == certificate("device")
    else:
        with pytest.raises(SignatureInvalid):
            verify_detached(signature, BODY)


def test_content_type_is_not_compared() -> None:
    odd = cms.attribute(oids.CONTENT_TYPE, oids.SIGNED_DATA)
    verify_detached(header(forge(attributes=[odd, usual_attributes()[1]])), BODY)
    verify_detached(header(forge(attributes=[usual_attributes()[1]])), BODY)


@pytest.mark.parametrize(
    "attributes",
    [
        [],
        usual_attributes()[:1],
        usual_attributes(b"other"),
        usual_attributes(digest="sha1"),
        [*usual_attributes(), usual_attributes()[1]],
        [der.sequence(oids.MESSAGE_DIGEST, der.tlv(der.SET))],
        [der.sequence(oids.MESSAGE_DIGEST)],
        [der.sequence(oids.MESSAGE_DIGEST, der.tlv(der.SET, oids.DATA))],
        [oids.DATA],
        [
            *usual_attributes(),
            *(cms.attribute(der.encode_oid(f"1.2.{n}"), der.NULL) for n in range(MAX_ATTRIBUTES)),
        ],
    ],
)
def test_attributes_that_do_not_fit_are_refused(attributes: list[bytes]) -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(header(forge(attributes=attributes)), BODY)


def test_attributes_may_be_signed_sorted_or_as_sent() -> None:
    attributes = list(reversed(sorted(usual_attributes())))
    for signed in (der.set_of(*attributes), der.tlv(der.SET, *attributes)):
        verify_detached(header(forge(attributes=attributes, signed=signed)), BODY)


def test_long_attributes_are_read() -> None:
    long = cms.attribute(der.encode_oid("1.2.3"), der.tlv(der.OCTETS, bytes(300)))
    several = der.sequence(der.encode_oid("1.2.4"), der.set_of(der.NULL, b"\x01\x01\xff"))
    verify_detached(header(forge(attributes=[*usual_attributes(), long, several])), BODY)


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_md5_is_refused_and_sha1_is_not(digest: str) -> None:
    signature = header(forge(digest=digest, attributes=usual_attributes(digest=digest)))
    if digest == "sha1":
        verify_detached(signature, BODY)
    else:
        with pytest.raises(SignatureInvalid, match="not accepted"):
            verify_detached(signature, BODY)


@pytest.mark.parametrize("parameters", [der.NULL, b""])
def test_signature_algorithm_may_name_the_digest(parameters: bytes) -> None:
    named = der.sequence(oids.RSA_SIGNATURES["sha256"], parameters)
    verify_detached(header(forge(algorithm=named)), BODY)
    other = der.sequence(oids.RSA_SIGNATURES["sha1"], parameters)
    with pytest.raises(SignatureInvalid):
        verify_detached(header(forge(algorithm=other)), BODY)


def test_algorithm_must_fit_the_key() -> None:
    with pytest.raises(SignatureInvalid, match="does not match the signature algorithm"):
        verify_detached(header(forge(algorithm=der.sequence(oids.EC_SIGNATURES["sha256"]))), BODY)


@pytest.mark.parametrize("signers", [0, 2])
def test_there_must_be_one_signer(signers: int) -> None:
    with pytest.raises(SignatureInvalid, match="one signer"):
        verify_detached(header(forge(signers=signers)), BODY)


def test_signer_certificate_must_be_embedded_and_is_found_among_others() -> None:
    others = [certificate("ca").der, certificate("ec").der]
    verify_detached(header(forge(certificates=[*others, certificate("device").der])), BODY)
    for embedded in ([], others):
        with pytest.raises(SignatureInvalid, match="not embedded"):
            verify_detached(header(forge(certificates=embedded)), BODY)


def test_signature_of_another_key_with_the_same_names_is_refused() -> None:
    twin = self_signed(rsa_key("ca"), "x", 5, NOT_BEFORE, NOT_AFTER)
    own = self_signed(rsa_key("device"), "x", 5, NOT_BEFORE, NOT_AFTER)
    sid = der.sequence(load_certificate(own).issuer_and_serial)
    verify_detached(header(forge(certificates=[own], sid=sid)), BODY)
    with pytest.raises(SignatureInvalid, match="does not match"):
        verify_detached(header(forge(certificates=[twin], sid=sid)), BODY)


def test_number_and_size_of_certificates_are_bounded() -> None:
    one = certificate("device").der
    verify_detached(header(forge(certificates=[one] * MAX_CERTIFICATES)), BODY)
    for embedded in ([one] * (MAX_CERTIFICATES + 1), [der.sequence(bytes(20_000)), one]):
        with pytest.raises(SignatureInvalid):
            verify_detached(header(forge(certificates=embedded)), BODY)


@pytest.mark.parametrize("name", ["openssl-attached-ber", "micromdm-success"])
def test_attached_content_is_returned_with_all_certificates(name: str) -> None:
    found = verify_attached(sample(f"{name}.der"))
    assert found.signer in found.certificates
    assert len(found.certificates) == 2
    if name.startswith("openssl"):
        assert (found.content, found.signer) == (BODY, certificate("device"))
        assert found.certificates == (certificate("ca"), certificate("device"))


def test_attached_needs_content_that_fits() -> None:
    for message in (forge(), forge(content=b"other"), b"", b"x"):
        with pytest.raises(SignatureInvalid):
            verify_attached(message)
    assert verify_attached(forge(content=BODY)).content == BODY
    empty = cms.sign_attached(b"", rsa_key("device"), certificate("device"))
    assert verify_attached(empty).content == b""


BOMBS = {
    "indefinite levels": b"\x30\x80" * 90_000,
    "indefinite levels, closed": b"\x30\x80" * 40_000 + b"\0\0" * 40_000,
    "definite levels": b"\x30\x84\x7f\xff\xff\xff" * 30_000,
    "huge length": b"\x30\x88" + b"\xff" * 8,
    "many elements": b"\x30\x80" + b"\x05\x00" * 90_000,
    "many signers": forge()[:30] + b"\x31\x80" + b"\x30\x00" * 80_000,
    "segments in segments": b"\x30\x80"
    + oids.SIGNED_DATA
    + b"\xa0\x80\x30\x80\x02\x01\x01"
    + b"\x24\x80" * 80_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_refused(bomb: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(header(bomb), BODY)
    with pytest.raises(SignatureInvalid):
        verify_attached(bomb)


@given(st.one_of(st.text(max_size=300), st.binary(max_size=300).map(lambda b: base64.b64encode(b).decode())))
def test_any_header_is_refused_cleanly(value: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(value, BODY)


VALID = [sign(form="apple"), sign(), sample("openssl-attached-ber.der"), sample("openssl-ec.der")]


@given(st.sampled_from(VALID), st.data())
def test_changed_messages_are_refused_or_still_signed_by_their_key(
    message: bytes, data: st.DataObject
) -> None:
    changed = data.draw(mutations(message))
    try:
        found = verify_detached(header(changed), BODY)
    except SignatureInvalid:
        return
    # bytes that no signature covers may differ, even inside the certificate; the key may not
    assert found.public_key in (certificate("device").public_key, certificate("ec").public_key)


@pytest.mark.parametrize("moment", [NOT_BEFORE - 5 * SECOND, NOT_AFTER + 5 * SECOND])
def test_a_skew_lets_the_signing_time_lie_outside_the_validity(moment: datetime) -> None:
    signature = header(sign(signing_time=moment))
    with pytest.raises(SignatureInvalid):
        verify_detached(signature, BODY, 4 * SECOND)
    assert verify_detached(signature, BODY, 5 * SECOND) == certificate("device")


def other_signature() -> bytes:
    """A message of the same device that differs in its signature alone."""
    return cms.sign_detached(b"another body", rsa_key("device"), certificate("device"), form="apple")


def test_a_message_like_one_seen_before_is_checked_like_any_other() -> None:
    first, second = sign(form="apple", signing_time=None), other_signature()
    assert len(first) == len(second)
    for _ in range(2):
        assert verify_detached(header(first), BODY) == certificate("device")
        assert verify_detached(header(second), b"another body") == certificate("device")
        with pytest.raises(SignatureInvalid):
            verify_detached(header(second), BODY)
        with pytest.raises(SignatureInvalid):
            verify_detached(header(first), b"another body")


def test_one_changed_byte_beside_the_signature_makes_another_message() -> None:
    message = sign(form="apple", signing_time=None)
    for place in range(len(message)):
        verify_detached(header(message), BODY)
        changed = bytearray(message)
        changed[place] ^= 1
        remembered = outcome(bytes(changed))
        signature._known.clear()
        assert remembered == outcome(bytes(changed))


def outcome(message: bytes) -> object:
    try:
        return verify_detached(header(message), BODY)
    except SignatureInvalid as refusal:
        return str(refusal)


def test_only_so_many_messages_are_remembered() -> None:
    message = sign(form="apple", signing_time=None)
    for number in range(signature.MAX_KNOWN + 10):
        verify_detached(header(message + number.to_bytes(4, "big")), BODY)
    assert len(signature._known) <= signature.MAX_KNOWN
