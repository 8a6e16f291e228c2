"""/v1/config/certificate and /v1/challenge over HTTP."""

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.protocol.jsonreply import rfc3339
from tests.builders import Device
from tests.fakes.push_pair import certificate, upload
from tests.http.bench import Bench

OTHER = "com.apple.mgmt.External.99999999-2222-3333-4444-555555555555"
PATH = "/v1/config/certificate"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_certificate_that_nobody_stored_is_404(bench: Bench) -> None:
    answer = bench.ask("GET", PATH)
    assert answer.status == 404
    assert answer.error.startswith("not found: ")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_stored_certificate_is_shown(bench: Bench, chunked: bool) -> None:
    answer = bench.ask("PUT", PATH, upload(), chunked=chunked)
    assert (answer.status, answer.body) == (200, b"{}\n")
    der = certificate().public_bytes(Encoding.DER)
    assert bench.ask("GET", PATH).json() == {"cert": base64.b64encode(der).decode()}


def test_a_certificate_that_cannot_push_is_400_and_the_good_one_stays(bench: Bench) -> None:
    bench.ask("PUT", PATH, upload())
    answer = bench.ask("PUT", PATH, b'{"cert": "eA==", "key": "eQ=="}')
    assert (answer.status, answer.error) == (400, "cert: is not a PEM certificate")
    assert bench.ask("GET", PATH).status == 200


def test_another_topic_needs_force(bench: Bench) -> None:
    bench.ask("PUT", PATH, upload())
    Device(bench.store).enrolls()
    answer = bench.ask("PUT", PATH, upload(certificate(OTHER)))
    assert answer.status == 409
    assert "1 with com.apple.mgmt" in answer.error
    assert bench.ask("PUT", PATH + "?force=true", upload(certificate(OTHER))).status == 200


def test_certificates_of_all_topics_are_listed_with_their_devices(bench: Bench) -> None:
    assert bench.ask("GET", PATH + "s").json() == {"certificates": []}
    bench.ask("PUT", PATH, upload())
    Device(bench.store).enrolls()
    bench.ask("PUT", PATH + "?force=true", upload(certificate(OTHER)))
    old, new = bench.ask("GET", PATH + "s").json()["certificates"]
    assert (old["current"], old["enrolled"], new["topic"]) == (False, 1, OTHER)
    assert (new["current"], new["enrolled"]) == (True, 0)
    assert old["not_after"] == rfc3339(certificate().not_valid_after_utc)
    assert not {"cert", "key"} & old.keys()


def test_a_challenge_is_good_once(bench: Bench) -> None:
    answer = bench.ask("POST", "/v1/challenge", b"ignored")
    assert (answer.status, list(answer.json())) == (200, ["string"])
    challenge = answer.json()["string"]
    assert len(base64.b64decode(challenge)) == 24
    assert bench.store.take_challenge(challenge)
    assert not bench.store.take_challenge(challenge)
