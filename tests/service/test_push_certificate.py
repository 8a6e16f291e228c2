"""Storing the push certificate: what is refused, what a change of topic means."""

import base64
import contextlib
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import Conflict, MalformedField, NotFound
from micromdm_py.service.push_certificate import PushCertificates
from micromdm_py.storage.memory.store import MemoryStore
from tests import builders
from tests.fakes.clock import Clock
from tests.fakes.push_pair import DAY, NOW, TOPIC, certificate, key_bytes, rsa_key, upload

OTHER = "com.apple.mgmt.External.99999999-2222-3333-4444-555555555555"


class Bench:
    def __init__(self) -> None:
        self.store, self.clock, self.wakes = MemoryStore(), Clock(), 0
        self.service = PushCertificates(self.store, self.store, wake=self._wake, now=self.clock)

    def _wake(self) -> None:
        self.wakes += 1

    def put(self, body: bytes, *, force: bool = False) -> None:
        assert self.service.store(body, force=force) == b"{}\n"

    def enroll(self, udid: str, topic: str) -> None:
        ref = builders.device(udid)
        self.store.authenticate(builders.authenticate(ref), builders.identity(udid), None, None, at=NOW)
        update = builders.token_update(ref, topic=topic)
        self.store.token_update(update, builders.identity(udid), None, at=NOW)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_shown_before_the_first_upload(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.service.show()


def test_the_certificate_is_shown_as_der_and_the_key_never(bench: Bench) -> None:
    one = certificate()
    bench.put(upload(one))
    shown = json.loads(bench.service.show())
    assert shown == {"cert": base64.b64encode(one.public_bytes(Encoding.DER)).decode()}


def test_the_courier_is_told_at_once(bench: Bench) -> None:
    bench.put(upload())
    assert bench.wakes == 1


@pytest.mark.parametrize("form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_key_and_certificate_are_taken_in_every_usual_form(
    bench: Bench, form: PrivateFormat, encoding: Encoding
) -> None:
    bench.put(upload(certificate().public_bytes(encoding), key_bytes(form, encoding)))
    stored = bench.store.push_certificate(TOPIC)
    assert stored.certificate == certificate().public_bytes(Encoding.PEM)
    assert load_pem_private_key(stored.key, None).private_numbers() == rsa_key().private_numbers()  # type: ignore[union-attr]  # an RSA key
    assert stored.stored_at == NOW


def test_base64_may_be_broken_into_lines(bench: Bench) -> None:
    fields = json.loads(upload())
    bench.put(
        json.dumps(
            {name: base64.encodebytes(base64.b64decode(text)).decode() for name, text in fields.items()}
        ).encode()
    )


def test_text_around_the_certificate_does_not_matter(bench: Bench) -> None:
    bench.put(upload(b"Bag Attributes\n    friendlyName: push\n" + certificate().public_bytes(Encoding.PEM)))


PEM_OF_ANOTHER_KEY = rsa_key(2).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
EC = ec.generate_private_key(ec.SECP256R1())
EC_KEY = EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ED_KEY = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b"{}", "cert", "is missing"),
        (b'{"cert": "", "key": ""}', "cert", "is missing"),
        (b'{"cert": 1, "key": 2}', "cert", "must be a string"),
        (b'{"cert": "@", "key": "@"}', "cert", "is not base64"),
        ('{"cert": "é", "key": "eA=="}'.encode(), "cert", "is not base64"),
        (b'{"cert": "eA==", "key": "eQ=="}', "cert", "is not a PEM certificate"),
        (upload(b"\x30\x03\x02\x01\x01"), "cert", "is not a PEM certificate"),
        (upload(key=b"eQ=="), "key", "is not a PEM private key"),
        (upload(key=b"\x30\x03\x02\x01\x01"), "key", "is not a PEM private key"),
        (upload(key=key_bytes(password=b"pass")), "key", "is encrypted"),
        (upload(key=key_bytes(PrivateFormat.PKCS8, password=b"pass")), "key", "is encrypted"),
        (upload(key=PEM_OF_ANOTHER_KEY), "key", "does not belong"),
        (upload(key=EC_KEY), "key", "does not belong"),
        (upload(key=ED_KEY), "key", "is neither RSA"),
        (upload(certificate(None)), "cert", "not an MDM push certificate"),
        (upload(certificate("com.example.app")), "cert", "not an MDM push certificate"),
        (upload(certificate("com.apple.mgmt" + "x" * 300)), "cert", "is longer"),
        (upload(certificate(end=NOW - timedelta(seconds=1))), "cert", "is valid only"),
        (upload(certificate(begin=NOW + timedelta(seconds=1))), "cert", "is valid only"),
    ],
)
def test_what_could_not_push_is_refused_and_leaves_the_good_one(
    bench: Bench, body: bytes, field: str, words: str
) -> None:
    bench.put(upload())
    shown = bench.service.show()
    with pytest.raises(MalformedField) as caught:
        bench.service.store(body, force=True)
    assert caught.value.field == field
    assert words in caught.value.reason
    assert bench.service.show() == shown


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_refused_not_suffered(noise: bytes, in_pem: bool) -> None:
    if in_pem:
        noise = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(noise) + b"\n-----END CERTIFICATE-----\n"
    bench = Bench()
    for body in (upload(noise), upload(key=noise)):
        with pytest.raises(MalformedField):
            bench.service.store(body, force=False)


def test_a_single_wrong_byte_of_a_certificate_is_refused_or_harmless(bench: Bench) -> None:
    der = certificate(key=EC).public_bytes(Encoding.DER)
    for position in range(len(der)):
        damaged = der[:position] + bytes([der[position] ^ 1 << position % 8]) + der[position + 1 :]
        with contextlib.suppress(MalformedField):
            bench.service.store(upload(damaged, EC_KEY), force=True)


def test_another_topic_is_refused_while_devices_have_the_old_one(bench: Bench) -> None:
    bench.put(upload())
    bench.enroll("UDID-1", TOPIC)
    bench.enroll("UDID-2", TOPIC)
    with pytest.raises(Conflict, match=f"2 with {TOPIC}"):
        bench.service.store(upload(certificate(OTHER)), force=False)
    assert bench.store.push_certificate().topic == TOPIC


def test_another_topic_is_taken_by_force(bench: Bench) -> None:
    bench.put(upload())
    bench.enroll("UDID-1", TOPIC)
    bench.put(upload(certificate(OTHER)), force=True)
    assert bench.store.push_certificate().topic == OTHER
    assert bench.store.push_certificate(TOPIC).topic == TOPIC, "old devices can still be pushed"


def test_another_topic_is_taken_while_nobody_depends_on_the_old_one(bench: Bench) -> None:
    bench.put(upload())
    bench.put(upload(certificate(OTHER)))


def test_a_renewal_is_taken_though_some_devices_never_changed_topic(bench: Bench) -> None:
    bench.put(upload())
    bench.enroll("OLD", TOPIC)
    bench.put(upload(certificate(OTHER)), force=True)
    bench.enroll("NEW", OTHER)
    bench.put(upload(certificate(OTHER, end=NOW + 2 * DAY)))


def test_the_first_certificate_must_fit_devices_that_were_imported(bench: Bench) -> None:
    bench.enroll("UDID-1", TOPIC)
    bench.put(upload())
    bench.clock.move(1)
    with pytest.raises(Conflict):
        bench.service.store(upload(certificate(OTHER)), force=False)
