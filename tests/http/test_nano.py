"""NanoMDM's API: shapes, statuses, and what is queued and pushed."""

import plistlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.errors import UpstreamFailed
from tests.builders import Device
from tests.fakes.push_pair import TOPIC, certificate, key_bytes
from tests.http.bench import API_KEY, Answer, Bench, basic

NANO = basic("nanomdm")
COMMAND = plistlib.dumps({"CommandUUID": "c-1", "Command": {"RequestType": "SecurityInfo"}})
FORM = b"serial=S&productType=iPad4%2C1&orgName=Example&guid=g&escrowKey=A-B&topic=" + TOPIC.encode()


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for letter in "AB":
        Device(bench.store, letter).enrolls()
    return bench


def enqueue(bench: Bench, ids: str, body: bytes = COMMAND, method: str = "PUT") -> Answer:
    return bench.ask(method, f"/nano/v1/enqueue/{ids}", body, key=NANO)


def waiting(bench: Bench, udid: str) -> list[str]:
    return [one.command_uuid for one in bench.store.waiting(udid)]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_command_is_queued_and_pushed_for_each_id(bench: Bench, method: str) -> None:
    answer = enqueue(bench, "A,B", method=method)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "status": {"A": {"push_result": "id-1"}, "B": {"push_result": "id-1"}},
        "command_uuid": "c-1",
        "request_type": "SecurityInfo",
    }
    assert waiting(bench, "A") == waiting(bench, "B") == ["c-1"]
    assert [one for one, _ in bench.push.asked] == ["A", "B"]
    assert bench.store.waiting("A")[0].payload == COMMAND


def test_same_id_twice_is_queued_once(bench: Bench) -> None:
    enqueue(bench, "A,A,,A")
    assert waiting(bench, "A") == ["c-1"]


def test_nopush_does_not_push(bench: Bench) -> None:
    answer = enqueue(bench, "A?nopush=1")
    assert answer.json()["no_push"] is True
    assert answer.json()["status"] == {"A": {}}
    assert bench.push.asked == []
    assert bench.store.push_target("A").due_at is None


def test_push_that_fails_is_told_and_left_to_the_courier(bench: Bench) -> None:
    bench.push.answer = UpstreamFailed("no answer")
    answer = enqueue(bench, "A")
    assert answer.status == 500
    assert answer.json()["status"] == {"A": {"push_error": "no answer"}}
    assert waiting(bench, "A") == ["c-1"]
    assert bench.store.push_target("A").due_at is not None


def test_some_failures_are_207(bench: Bench) -> None:
    answer = enqueue(bench, "A,FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF")
    assert answer.status == 207
    told = answer.json()["status"]
    assert "push_result" in told["A"]
    assert "Shared iPad" in told["FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"]["command_error"]


def test_command_that_cannot_be_read_changes_nothing(bench: Bench) -> None:
    answer = enqueue(bench, "A", b"no property list")
    assert answer.status == 400
    assert answer.json()["command_error"].startswith("decoding command: ")
    assert waiting(bench, "A") == [] and bench.push.asked == []


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_push_alone(bench: Bench, method: str) -> None:
    answer = bench.ask(method, "/nano/v1/push/A,B", key=NANO)
    assert (answer.status, answer.json()) == (
        200,
        {"status": {"A": {"push_result": "id-1"}, "B": {"push_result": "id-1"}}},
    )
    assert enqueue(bench, "A", b"").json() == {"status": {"A": {"push_result": "id-1"}}}


def test_nanomdm_is_a_user_here_and_nowhere_else(bench: Bench) -> None:
    assert bench.ask("GET", "/nano/v1/push/A", key=basic()).status == 200
    assert bench.ask("GET", "/nano/v1/push/A", key=basic("other")).status == 401
    assert bench.ask("GET", "/nano/v1/push/A", key=None).status == 401
    assert bench.ask("GET", "/v1/commands/A", key=NANO).status == 401
    assert bench.ask("GET", "/nano/version", key=None).json() == {"version": "1"}


def test_token_that_is_narrowed_is_narrowed_here_too(bench: Bench) -> None:
    body = b'{"name": "ci", "permissions": ["mdm.apple.command.create:DeviceLock"]}'
    token = bench.ask("POST", "/v1/tokens", body).json()["token"]
    answer = bench.ask("PUT", "/nano/v1/enqueue/A", COMMAND, key=f"Bearer {token}")
    assert answer.status == 403
    assert waiting(bench, "A") == []


def pem() -> bytes:
    return certificate().public_bytes(Encoding.PEM)


def test_push_certificate_is_one_file(bench: Bench) -> None:
    assert bench.ask("GET", f"/nano/v1/pushcert?topic={TOPIC}", key=NANO).status == 404
    assert bench.ask("GET", "/nano/v1/pushcert", key=NANO).status == 400
    for body in (pem() + key_bytes(), key_bytes() + pem(), (pem().strip() + key_bytes())):
        answer = bench.ask("PUT", "/nano/v1/pushcert", body, key=NANO)
        assert (answer.status, answer.json()["topic"]) == (200, TOPIC)
    shown = bench.ask("GET", f"/nano/v1/pushcert?topic={TOPIC}", key=NANO).json()
    assert shown == {"not_after": "2026-11-24T08:00:00Z", "topic": TOPIC}
    assert bench.store.push_certificate().topic == TOPIC


@pytest.mark.parametrize("body", [b"", b"garbage", pem(), key_bytes(), pem() + key_bytes(password=b"x")])
def test_half_a_pair_is_refused(bench: Bench, body: bytes) -> None:
    assert bench.ask("PUT", "/nano/v1/pushcert", body, key=NANO).status == 400


def test_unlock_goes_to_apple_with_the_certificate_of_the_topic(bench: Bench) -> None:
    assert bench.ask("POST", "/nano/v1/escrowkeyunlock", FORM, key=NANO).status == 404
    bench.ask("PUT", "/nano/v1/pushcert", pem() + key_bytes(), key=NANO)
    answer = bench.ask("POST", "/nano/v1/escrowkeyunlock", FORM, key=NANO)
    assert (answer.status, answer.body) == (200, b"unlocked")
    query = {"serial": "S", "productType": "iPad4,1"}
    form = {"orgName": "Example", "guid": "g", "escrowKey": "A-B"}
    assert bench.unlocked == [(TOPIC, query, form)]
    assert API_KEY not in str(bench.unlocked)


@pytest.mark.parametrize("body", [b"", b"serial=S", FORM.partition(b"&topic")[0], b"\xff=\xff"])
def test_unlock_without_its_fields_is_400(bench: Bench, body: bytes) -> None:
    assert bench.ask("POST", "/nano/v1/escrowkeyunlock", body, key=NANO).status == 400
    assert bench.unlocked == []
