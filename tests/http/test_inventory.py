"""Searching devices, one device, and its inventory over HTTP."""

import plistlib
from datetime import datetime

import pytest

from micromdm_py.protocol.dep.documents import SyncState
from micromdm_py.protocol.plain import as_json
from micromdm_py.protocol.report import parse_report
from micromdm_py.service.dep.roster import Roster
from micromdm_py.storage.records import PushOutcome
from tests.builders import NOW, Device, command, user
from tests.http.bench import Bench


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for letter in "ABC":
        Device(bench.store, letter).enrolls(serial_number=f"S-{letter}", model="Mac")
    return bench


def answers(bench: Bench, request_type: str, told: dict[str, object]) -> None:
    phone = Device(bench.store, "A")
    bench.store.enqueue("A", command("u", request_type), at=NOW)
    phone.says("Idle")
    message = {"UDID": "A", "Status": "Acknowledged", "CommandUUID": "u", **told}
    report = parse_report(message, plistlib.dumps(message))
    bench.store.record_report(report, phone.who, None, at=NOW)


def test_search_answers_in_pages(bench: Bench) -> None:
    page = bench.ask("GET", "/v1/devices/search?model=mac&limit=2").json()
    assert [one["serial_number"] for one in page["devices"]] == ["S-A", "S-B"]
    last = bench.ask("GET", f"/v1/devices/search?model=mac&limit=2&cursor={page['next']}").json()
    assert [one["enrollment_id"] for one in last["devices"]] == ["C"]
    assert "next" not in last
    assert bench.ask("GET", "/v1/devices/search?state=blocked").json() == {"devices": []}
    assert len(bench.ask("GET", "/v1/devices/search?seen_after=2026-11-23").json()["devices"]) == 3
    assert bench.ask("GET", "/v1/devices/search?seen_before=2026-11-23T07:00:00Z").json() == {"devices": []}


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("state=sleeping", "state: must be one of enrolled, unenrolled, blocked"),
        ("seen_after=yesterday", "seen_after: must be an RFC 3339 time or a date"),
        ("seen_before=0001-01-01T00:00:00%2B23:00", "seen_before: must be an RFC 3339 time or a date"),
        ("limit=0", "limit: must be a number from 1 to 1000"),
        ("cursor=nobody's", "cursor: must be the `next` of an earlier page"),
        ("model=%00", "model: must not contain control characters"),
    ],
)
def test_search_that_cannot_be_is_400(bench: Bench, query: str, error: str) -> None:
    answer = bench.ask("GET", f"/v1/devices/search?{query}")
    assert (answer.status, answer.error) == (400, error)


def test_device_is_shown_without_its_secrets(bench: Bench) -> None:
    phone = Device(bench.store, "A")
    phone.updates_token(unlock_token=b"unlock")
    due = bench.store.due_push("A")
    bench.store.record_push(due, PushOutcome(NOW, False, "id-1", "Unregistered", dead=True))
    answers(bench, "SecurityInfo", {})
    shown = bench.ask("GET", "/v1/devices/A").json()["device"]
    assert shown["serial_number"] == "S-A" and shown["kind"] and shown["enrolled"] is True
    assert shown["has_unlock_token"] is True and shown["has_bootstrap_token"] is False
    assert shown["push"]["dead_reason"] == "Unregistered"
    assert shown["push"]["last"] == {
        "at": "2026-11-23T08:00:00.000Z",
        "accepted": False,
        "apns_id": "id-1",
        "reason": "Unregistered",
    }
    assert list(shown["inventory"]) == ["SecurityInfo"]
    assert "dW5sb2Nr" not in str(shown) and "aaaa" not in str(shown)


def test_user_channel_is_shown_by_its_user(bench: Bench) -> None:
    Device(bench.store, user("A", "USER-1", "jo")).updates_token()
    shown = bench.ask("GET", "/v1/devices/USER-1").json()["device"]
    assert (shown["enrollment_id"], shown["device_id"], shown["user_short_name"]) == ("A:USER-1", "A", "jo")


def test_inventory_is_the_last_answers_as_json(bench: Bench) -> None:
    told = {
        "SecurityInfo": {
            "HardwareEncryptionCaps": 3,
            "PasscodePresent": True,
            "FDE_PersonalRecoveryKey": b"secret",
            "Since": datetime(2026, 1, 2, 3, 4, 5),
        }
    }
    answers(bench, "SecurityInfo", told)
    found = bench.ask("GET", "/v1/devices/A/inventory").json()["inventory"]
    assert found == {
        "SecurityInfo": {
            "at": "2026-11-23T08:00:00.000Z",
            "data": {
                "SecurityInfo": {
                    "HardwareEncryptionCaps": 3,
                    "PasscodePresent": True,
                    "FDE_PersonalRecoveryKey": "***",
                    "Since": "2026-01-02T03:04:05Z",
                }
            },
        }
    }
    assert bench.ask("GET", "/v1/devices/B/inventory").json() == {"inventory": {}}


@pytest.mark.parametrize("path", ["/v1/devices/nobody", "/v1/devices/nobody/inventory"])
def test_unknown_device_is_404(bench: Bench, path: str) -> None:
    assert bench.ask("GET", path).status == 404


def test_values_become_json() -> None:
    assert as_json({"a": [b"\xff", 1.5, float("nan"), float("inf")]}) == {"a": ["/w==", 1.5, "nan", "inf"]}
    secret = {"PIN": "1234", "Password": "x", "UnlockToken": b"x", "PasswordHash": b"x"}
    shown = as_json({"list": [secret], "Spin": "s", "Token": True}, secrets=False)
    assert shown == {"list": [dict.fromkeys(secret, "***")], "Spin": "s", "Token": True}


def test_a_device_is_shown_with_what_apple_says_of_it(bench: Bench) -> None:
    facts = [{"serial_number": "S-A", "profile_status": "pushed"}]
    Roster(bench.store).take_page("default", facts, SyncState("sync", "f", "c"))
    assert bench.ask("GET", "/v1/devices/A").json()["device"]["dep_profile_status"] == "pushed"
    assert "dep_profile_status" not in bench.ask("GET", "/v1/devices/B").json()["device"]
