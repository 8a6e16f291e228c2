"""/v1/commands over HTTP."""

import base64
import json

import pytest

from micromdm_py.errors import StorageUnavailable
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import Enqueued
from tests.http.bench import JSON, Bench

RAW = (
    b'<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Command</key><dict>'
    b"<key>RequestType</key><string>A&amp;B</string></dict>"
    b"<key>CommandUUID</key><string>raw-1</string></dict></plist>"
)
TYPED = b'{"udid": "U", "request_type": "ProfileList", "command_uuid": "cmd-1"}'


@pytest.fixture
def bench() -> Bench:
    return Bench()


def waiting(bench: Bench, udid: str = "U") -> list[str]:
    return [one["uuid"] for one in bench.ask("GET", f"/v1/commands/{udid}").json().get("commands", [])]


def test_a_json_command_is_answered_with_201_in_the_usual_form(bench: Bench) -> None:
    answer = bench.ask("POST", "/v1/commands", TYPED)
    assert (answer.status, answer.headers["content-type"]) == (201, JSON)
    assert answer.body == (
        b'{\n  "payload": {\n    "command_uuid": "cmd-1",\n    "command": {\n'
        b'      "request_type": "ProfileList"\n    }\n  }\n}\n'
    )


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_raw_command_is_answered_with_its_bytes(bench: Bench, method: str) -> None:
    answer = bench.ask(method, "/v1/commands/U", RAW)
    assert (answer.status, answer.headers["content-type"]) == (201, JSON)
    assert b'"A\\u0026B"' in answer.body
    assert base64.b64decode(answer.json()["payload"]["payload"]) == RAW


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_framing_and_content_type_do_not_matter(bench: Bench, chunked: bool, content_type: str) -> None:
    for target, body in (("/v1/commands", TYPED), ("/v1/commands/U", RAW)):
        assert bench.ask("POST", target, body, chunked=chunked, content_type=content_type).status == 201
    assert waiting(bench) == ["cmd-1", "raw-1"]


def test_keys_in_any_letter_case_are_known(bench: Bench) -> None:
    body = b'{"UDID": "U", "Request_Type": "ProfileList", "COMMAND_UUID": "loud"}'
    assert bench.ask("POST", "/v1/commands", body).status == 201
    assert waiting(bench) == ["loud"]


@pytest.mark.parametrize(
    ("target", "udid"),
    [
        ("USER%20ONE", "USER ONE"),
        ("%55", "U"),
        ("%C3%A9", "é"),
        ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"),
        ("U:%40", "U:@"),
    ],
)
def test_an_id_in_the_path_is_decoded_once(bench: Bench, target: str, udid: str) -> None:
    answer = bench.ask("POST", f"/v1/commands/{target}", RAW)
    assert answer.json()["payload"]["udid"] == udid
    body = {"udid": udid, "request_type": "ProfileList", "command_uuid": "same queue"}
    bench.ask("POST", "/v1/commands", json.dumps(body).encode())
    assert waiting(bench, target) == ["raw-1", "same queue"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("%FF", "is not UTF-8"),
        ("%EF%BF%BD", "is not UTF-8"),
        ("a%00", "control"),
        ("a%0A", "control"),
        ("x" * 256, "longer"),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "UserShortName"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_an_id_that_cannot_be_is_400(bench: Bench, method: str, target: str, words: str) -> None:
    answer = bench.ask(method, f"/v1/commands/{target}", RAW)
    assert answer.status == 400
    assert answer.error.startswith("udid: ")
    assert words in answer.error


def test_strict_comes_by_query(bench: Bench) -> None:
    body = TYPED[:-1] + b', "colour": "red"}'
    assert bench.ask("POST", "/v1/commands", body).status == 201
    for query in ("strict=true", "strict", "strict=1", "a=b&strict=TRUE"):
        assert bench.ask("POST", f"/v1/commands?{query}", body).error.startswith("colour: ")
    assert bench.ask("POST", "/v1/commands?strict=false", body).status == 201
    assert bench.ask("POST", "/v1/commands?strict=maybe", body).error.startswith("strict: ")
    assert waiting(bench) == ["cmd-1", "cmd-1"]


def test_an_idempotency_key_is_taken_by_both_kinds(bench: Bench) -> None:
    for target, body in (("/v1/commands", TYPED), ("/v1/commands/U", RAW)):
        first, again = (bench.ask("POST", target, body, idempotency_key="k") for _ in range(2))
        assert first.status == again.status == 201
        assert first.body == again.body
    assert waiting(bench) == ["cmd-1", "raw-1"]
    assert bench.ask("POST", "/v1/commands", TYPED, idempotency_key="k" * 129).status == 400


def test_what_waits_is_shown_in_order_and_cleared(bench: Bench) -> None:
    bench.ask("POST", "/v1/commands/U", RAW)
    bench.ask("POST", "/v1/commands", TYPED)
    shown = bench.ask("GET", "/v1/commands/U").json()["commands"]
    assert [one["uuid"] for one in shown] == ["raw-1", "cmd-1"]
    assert base64.b64decode(shown[0]["payload"]) == RAW
    assert set(shown[0]) == {"uuid", "payload"}
    cleared = bench.ask("DELETE", "/v1/commands/U", b"ignored", chunked=True)
    assert (cleared.status, cleared.body) == (200, b"{}\n")
    assert bench.ask("GET", "/v1/commands/U").body == b"{}\n"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xef\xbb\xbf" + TYPED, "body"),
        (TYPED + b"x", "body"),
        (b'{"request_type": "ProfileList"}', ""),
        (b'{"udid": "", "request_type": "ProfileList"}', ""),
        (b'{"udid": 7, "request_type": "ProfileList"}', "udid"),
        (b'{"udid": "U"}', ""),
        (b'{"udid": "U", "request_type": "Nope"}', ""),
        (b'{"udid": "\\ud800", "request_type": "ProfileList"}', "udid"),
        (b'{"udid": "a\\u0000", "request_type": "ProfileList"}', "udid"),
    ],
)
def test_malformed_json_commands_are_400(bench: Bench, body: bytes, field: str) -> None:
    answer = bench.ask("POST", "/v1/commands", body)
    assert answer.status == 400
    assert answer.error.startswith(field)


@pytest.mark.parametrize("body", [b"", b"hello", b'{"a": 1}', b"bplist00", RAW + b"x", RAW[:50]])
def test_malformed_raw_commands_are_400(bench: Bench, body: bytes) -> None:
    assert bench.ask("POST", "/v1/commands/U", body).error
    assert bench.ask("POST", "/v1/commands/U", body).status == 400
    assert waiting(bench) == []


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_above_the_limit_is_413(chunked: bool) -> None:
    bench = Bench(max_body_bytes=len(RAW))
    assert bench.ask("POST", "/v1/commands/U", RAW, chunked=chunked).status == 201
    for method in ("POST", "DELETE"):
        answer = bench.ask(method, "/v1/commands/U", RAW + b" ", chunked=chunked)
        assert answer.status == 413
        assert answer.error == f"body: more than {len(RAW)} bytes"


class FullStore(MemoryStore):
    def enqueue(self, *_: object, **__: object) -> Enqueued:
        raise StorageUnavailable("the disk is full")


def test_a_full_disk_is_503_and_reading_goes_on() -> None:
    bench = Bench(FullStore())
    for target, body in (("/v1/commands", TYPED), ("/v1/commands/U", RAW)):
        answer = bench.ask("POST", target, body)
        assert (answer.status, answer.error) == (503, "the disk is full")
        assert answer.headers["retry-after"] == "5"
    assert waiting(bench) == []
