"""The event feed and what is shown of webhook receivers."""

import base64
import json
import plistlib
from typing import Any

import pytest

from micromdm_py.protocol.webhook import checkin_event, connect_event
from micromdm_py.storage.records import HeldEvent, StoredEvent
from tests.builders import NOW, check_out, device, event, identity, report
from tests.http.bench import Bench, basic

URL = "https://user:secret@r.example.com/hook?token=secret"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def happen(bench: Bench, *names: str) -> None:
    for name in names:
        about = event(json.dumps({"name": name}), "mdm.CheckOut")
        bench.store.check_out(check_out(device(name)), identity(name), about, at=NOW)


def token(bench: Bench, name: str, *permissions: str) -> str:
    body = json.dumps({"name": name, "permissions": permissions}).encode()
    return "Bearer " + str(bench.ask("POST", "/v1/tokens", body).json()["token"])


def read(bench: Bench, query: str = "") -> tuple[list[str], str]:
    answer = bench.ask("GET", f"/v1/events{query}")
    assert answer.status == 200, answer.body
    document = answer.json()
    return [one["name"] for one in document["events"]], document["next"]


def test_feed_begins_with_the_oldest_and_goes_on_from_its_cursor(bench: Bench) -> None:
    assert read(bench) == ([], "0")
    happen(bench, "a", "b", "c")
    assert read(bench, "?limit=2") == (["a", "b"], "2")
    assert read(bench, "?after=2") == (["c"], "3")
    assert read(bench, "?after=3") == ([], "3")
    happen(bench, "d")
    assert read(bench, "?after=3") == (["d"], "4")
    assert read(bench)[0] == ["a", "b", "c", "d"]


def test_feed_waits_for_the_next_event(bench: Bench) -> None:
    began = bench.clock()
    assert read(bench, "?wait=30") == ([], "0")
    assert (bench.clock() - began).total_seconds() == pytest.approx(30)
    happen(bench, "a")
    assert read(bench, "?wait=30") == (["a"], "1")
    assert (bench.clock() - began).total_seconds() == pytest.approx(30)


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=", "limit=0", "limit=1001", "wait=61", "wait=1.5"],
)
def test_feed_refuses_what_is_no_cursor(bench: Bench, query: str) -> None:
    answer = bench.ask("GET", f"/v1/events?{query}")
    assert answer.status == 400
    assert answer.error.startswith(query.partition("=")[0] + ": must be a number from ")


def test_feed_refuses_a_cursor_that_lies_ahead(bench: Bench) -> None:
    happen(bench, "a", "b")
    answer = bench.ask("GET", "/v1/events?after=3&wait=30")
    assert (answer.status, answer.error) == (400, "after: is ahead of the newest event, 2")


def test_receivers_are_shown_without_their_secrets(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/webhooks").json() == {"webhooks": []}
    bench.store.receiver(URL)
    happen(bench, "a", "b", "c")
    bench.store.settle(URL, at=NOW, cursor=1, succeeded=True)
    bench.store.settle(URL, at=NOW, error="status 500")
    (shown,) = bench.ask("GET", "/v1/webhooks").json()["webhooks"]
    name = shown.pop("id")
    assert len(name) == 16
    at = shown["last_success_at"]
    assert at.endswith("Z")
    assert shown == {
        "url": "https://r.example.com/hook",
        "cursor": "1",
        "lag": 2,
        "held": 0,
        "dead_letters": 0,
        "last_success_at": at,
        "last_error_at": at,
        "last_error": "status 500",
    }


def test_test_event_is_for_every_receiver(bench: Bench) -> None:
    answer = bench.ask("POST", "/v1/webhooks/test")
    assert (answer.status, answer.error) == (503, "no webhook receiver: set -command-webhook-url")
    bench.store.receiver(URL)
    answer = bench.ask("POST", "/v1/webhooks/test")
    assert answer.status == 202
    (stored,) = bench.store.events_after(0, 9)
    assert stored.event_topic == "mdm.server.test"
    assert json.loads(stored.body)["event_id"] == answer.json()["event_id"]
    assert answer.json()["cursor"] == str(stored.sequence)


def test_replay_is_asked_for_by_id(bench: Bench) -> None:
    bench.store.receiver(URL)
    happen(bench, "a", "b", "c")
    bench.store.settle(URL, at=NOW, cursor=3)
    name = bench.ask("GET", "/v1/webhooks").json()["webhooks"][0]["id"]
    answer = bench.ask("POST", f"/v1/webhooks/{name}/replay?after=1")
    assert (answer.status, answer.json()) == (202, {"from": "2", "events": 2})
    assert bench.store.receiver(URL).replay_after == 1
    assert bench.ask("GET", "/v1/webhooks").json()["webhooks"][0]["replay_after"] == "1"
    assert bench.ask("POST", f"/v1/webhooks/{name}/replay?after=4").status == 400
    assert bench.ask("POST", "/v1/webhooks/0123456789abcdef/replay").status == 404


def test_dead_letters_are_shown(bench: Bench) -> None:
    bench.store.receiver(URL)
    letter = HeldEvent(StoredEvent(7, "UDID-1", "mdm.Connect", NOW, b'{"a": 1}'), 10, NOW, "status 400")
    bench.store.settle(URL, at=NOW, dead=[letter])
    name = bench.ask("GET", "/v1/webhooks").json()["webhooks"][0]["id"]
    (shown,) = bench.ask("GET", f"/v1/webhooks/{name}/dead-letters").json()["dead_letters"]
    assert (shown["cursor"], shown["tries"], shown["error"]) == ("7", 10, "status 400")
    assert json.loads(shown["event"]) == {"a": 1}
    assert bench.ask("GET", "/v1/webhooks/nobody/dead-letters").status == 404


def test_quarantine_is_shown(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/quarantine").json() == {"reports": []}
    for _ in range(3):
        bench.store.note_undecodable(b"f" * 32, b"\xff", None, at=NOW)
    (shown,) = bench.ask("GET", "/v1/quarantine").json()["reports"]
    assert (shown["fingerprint"], shown["body"]) == ("66" * 32, "/w==")


def payloads(bench: Bench, key: str, place: str) -> list[dict[str, Any]]:
    """The raw payloads that a caller sees, read."""
    found = bench.ask("GET", place, key=key).json()
    listed = found.get("events") or [json.loads(one["event"]) for one in found["dead_letters"]]
    inside = [one.get("checkin_event") or one["acknowledge_event"] for one in listed]
    return [
        plistlib.loads(base64.b64decode(one["raw_payload"])) if one["raw_payload"] else {} for one in inside
    ]


def test_payloads_with_secrets_are_for_those_who_may_read_them(bench: Bench) -> None:
    who = device("U")
    sent: list[dict[str, Any]] = [
        {"MessageType": "TokenUpdate", "UnlockToken": b"s", "Token": b"t"},
        {"MessageType": "SetBootstrapToken", "BootstrapToken": b"s"},
        {"MessageType": "CheckOut", "UDID": "U"},
        {"Status": "Acknowledged", "CommandUUID": "c", "UnlockToken": b"s"},
        {"Status": "Acknowledged", "CommandUUID": "c", "QueryResponses": {"OSVersion": "18.1"}},
    ]
    letters = []
    for number, message in enumerate(sent, 1):
        raw = plistlib.dumps(message)
        words = {"raw_payload": '"raw_payload": "x"'}
        if topic := message.get("MessageType"):
            made = checkin_event(f"mdm.{topic}", who, words, raw, event_id="e", at=NOW)
        else:
            about = report(who, message["Status"], message["CommandUUID"], raw)
            made = connect_event(about, words, event_id="e", at=NOW)
        bench.store.append_event(made, at=NOW)
        letters.append(HeldEvent(StoredEvent(number, "U", made.event_topic, NOW, made.body), 10, NOW, ""))
    bench.store.receiver(URL)
    bench.store.settle(URL, at=NOW, dead=letters)
    name = bench.ask("GET", "/v1/webhooks").json()["webhooks"][0]["id"]
    reader = token(bench, "reader", "mdm.event.get")
    trusted = token(bench, "trusted", "mdm.event.get", "mdm.apple.command.secrets")
    for place in ("/v1/events", f"/v1/webhooks/{name}/dead-letters"):
        assert payloads(bench, trusted, place) == payloads(bench, basic(), place) == sent
        assert payloads(bench, reader, place) == [{}, {}, sent[2], {}, sent[4]]


def test_what_nobody_can_read_may_be_a_secret(bench: Bench) -> None:
    for _ in range(3):
        bench.store.note_undecodable(b"f" * 32, b"\xff", None, at=NOW)
    answer = bench.ask("GET", "/v1/quarantine", key=token(bench, "reader", "mdm.event.get"))
    assert [one["body"] for one in answer.json()["reports"]] == [""]
