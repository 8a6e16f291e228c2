"""/v1/profiles, /v1/blueprints and /v1/users over HTTP; what they mean is tested with the services."""

import base64
import json

import pytest

from micromdm_py.service.ca import create_authority
from tests.http.bench import Bench
from tests.service.test_profiles import profile

BODY = json.dumps(
    {"profile": {"Identifier": "com.example.a", "Mobileconfig": base64.b64encode(profile()).decode()}}
).encode()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def stored(bench: Bench) -> list[bytes]:
    found = bench.ask("POST", "/v1/profiles", b"{}").json()["profiles"] or []
    return [base64.b64decode(one["Mobileconfig"]) for one in found]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_profile_is_stored_and_removed(bench: Bench, chunked: bool) -> None:
    answer = bench.ask("PUT", "/v1/profiles", BODY, chunked=chunked)
    assert (answer.status, answer.body) == (200, b"{}\n")
    assert stored(bench) == [profile()]
    answer = bench.ask("DELETE", "/v1/profiles", b'{"ids": ["com.example.a"]}', chunked=chunked)
    assert (answer.status, answer.body) == (200, b"{}\n")
    assert stored(bench) == []


def test_the_server_signs_when_asked(bench: Bench) -> None:
    create_authority(bench.store, bench.clock())
    assert bench.ask("PUT", "/v1/profiles?sign=true", BODY).status == 200
    (kept,) = stored(bench)
    assert kept.startswith(b"\x30")
    assert bench.ask("PUT", "/v1/profiles?sign=maybe", BODY).error.startswith("sign: ")


def test_errors_have_their_status(bench: Bench) -> None:
    assert bench.ask("PUT", "/v1/profiles", b"{}").status == 400
    assert bench.ask("POST", "/v1/profiles").status == 400
    answer = bench.ask("POST", "/v1/profiles", b'{"id": "nope"}')
    assert (answer.status, answer.error) == (404, "not found: Profile id nope")
    assert bench.ask("DELETE", "/v1/profiles", b'{"ids": ["nope"]}').status == 404
    assert bench.ask("PUT", "/v1/profiles", BODY, key=None).status == 401
    assert bench.ask("GET", "/v1/profiles").status == 405
