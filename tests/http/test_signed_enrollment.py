"""POST /mdm/enroll and /ota/phase23: who gets which profile, by the certificate that signed."""

import plistlib
from typing import Any

import pytest
from cryptography import x509

from micromdm_py.compose_parts import device_authorities
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.cms import sign_attached
from micromdm_py.protocol.issuing import issue_certificate
from micromdm_py.protocol.scep import check_request
from micromdm_py.storage.base import Documents
from tests.fakes import push_pair
from tests.http.bench import Answer
from tests.http.device_bench import DAY, DeviceBench, make_identity, make_request
from tests.protocol.crypto_samples import rsa_key

INFO = plistlib.dumps({"SERIAL": "C02XX", "PRODUCT": "Mac14,2", "VERSION": "23A344", "UDID": "UDID-1"})
ENROLL, PHASES = "/mdm/enroll", "/ota/phase23"
PREFIX = "com.github.micromdm.micromdm"


def der(certificate: x509.Certificate) -> Certificate:
    return load_certificate(certificate.public_bytes(push_pair.Encoding.DER))


FACTORY = der(push_pair.certificate("factory", key=push_pair.rsa_key(2), begin=push_pair.NOW - 9999 * DAY))
"""An authority like Apple's, whose time is over."""


def from_factory() -> Certificate:
    csr, _ = check_request(make_request(rsa_key("device"), "phone", "Lab", None))
    now = push_pair.NOW
    return load_certificate(
        issue_certificate(csr, push_pair.rsa_key(2), FACTORY, 7, now - 3 * DAY, now - 2 * DAY)
    )


def keep(shelf: Documents, name: str, body: bytes) -> None:
    shelf.put("profile", name, body)


@pytest.fixture
def bench() -> DeviceBench:
    return DeviceBench(device_authorities=(FACTORY,))


def post(bench: DeviceBench, path: str, who: Certificate, info: bytes = INFO) -> Answer:
    return bench.ask("POST", path, sign_attached(info, rsa_key("device"), who), key=None)


def profile(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/x-apple-aspen-config"
    found: dict[str, Any] = plistlib.loads(answer.body)
    return found


def test_device_in_automated_enrollment_gets_the_enrollment_profile(bench: DeviceBench) -> None:
    assert profile(post(bench, ENROLL, from_factory()))["PayloadIdentifier"] == f"{PREFIX}.enroll"


def test_second_phase_gets_an_identity_and_the_third_the_enrollment_profile(bench: DeviceBench) -> None:
    second = profile(post(bench, PHASES, from_factory()))
    assert (second["PayloadIdentifier"], second["PayloadScope"]) == (f"{PREFIX}.ota.phase2", "System")
    (scep,) = second["PayloadContent"]
    assert scep["PayloadIdentifier"] == f"{PREFIX}.ota.phase2.scep"
    assert scep["PayloadContent"]["Name"] == "OTA Phase 2 Certificate"
    assert scep["PayloadContent"]["Challenge"] == "micromdm"
    third = profile(post(bench, PHASES, bench.issue("phone")))
    assert third["PayloadIdentifier"] == f"{PREFIX}.enroll"


def test_stored_profiles_take_the_place_of_ours(bench: DeviceBench) -> None:
    for part, path, who in (("enroll", ENROLL, from_factory()), ("ota.phase2", PHASES, from_factory())):
        mine = plistlib.dumps({"PayloadIdentifier": f"{PREFIX}.{part}", "Mine": True})
        bench.store.change_documents(
            lambda shelf, mine=mine, part=part: shelf.put("profile", f"{PREFIX}.{part}", mine)
        )  # type: ignore[misc]
        assert post(bench, path, who).body == mine


@pytest.mark.parametrize("path", [ENROLL, PHASES])
def test_stranger_gets_nothing(bench: DeviceBench, path: str) -> None:
    stranger = der(push_pair.certificate("stranger", key=push_pair.rsa_key(3)))
    forged = sign_attached(INFO, push_pair.rsa_key(3), stranger)
    answer = bench.ask("POST", path, forged, key=None)
    assert answer.status == 500 and b"PayloadIdentifier" not in answer.body
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"unauthorized" in answer.body


def test_identity_of_ours_is_not_from_the_factory(bench: DeviceBench) -> None:
    answer = post(bench, ENROLL, make_identity("phone", 3))
    assert (answer.status, b"not signed by Apple Device CA" in answer.body) == (500, True)


@pytest.mark.parametrize("path", [ENROLL, PHASES])
@pytest.mark.parametrize("body", [b"", b"junk", INFO, b"\x30\x80\x00\x00"])
def test_what_is_no_cms_is_an_error_in_words(bench: DeviceBench, path: str, body: bytes) -> None:
    answer = bench.ask("POST", path, body, key=None)
    assert answer.status == 500 and answer.body.endswith(b"\n")
    assert bench.ask("POST", path, bytes(1 << 19), key=None).status == 413


def test_signed_content_must_be_a_property_list(bench: DeviceBench) -> None:
    assert post(bench, ENROLL, from_factory(), b"no property list").status == 500


def test_changed_message_is_never_taken(bench: DeviceBench) -> None:
    good = sign_attached(INFO, rsa_key("device"), from_factory())
    for position in range(0, len(good), 7):
        bad = good[:position] + bytes([good[position] ^ 0x41]) + good[position + 1 :]
        answer = bench.ask("POST", ENROLL, bad, key=None)
        assert answer.status in (200, 500)
        if answer.status == 200:
            assert b"SERIAL" in bad  # nothing that was signed has changed


def test_authority_of_apple_comes_with_the_program() -> None:
    (apple,) = device_authorities("")
    assert apple.common_name == "Apple iPhone Device CA"
