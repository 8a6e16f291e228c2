"""What became of a command, over HTTP: one record, lists, cancelling, waiting, and how to queue."""

import base64
import json
import plistlib
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import Device, report
from tests.http.bench import Answer, Bench, basic

HOUR = timedelta(hours=1)
RAW = plistlib.dumps({"Command": {"RequestType": "DeviceLock", "PIN": "123456"}, "CommandUUID": "raw-1"})


class Phone(Device):
    """A device whose answers are property lists, in step with the clock of a bench."""

    def __init__(self, bench: Bench, udid: str = "U") -> None:
        super().__init__(bench.store, udid)
        self.clock = bench.clock

    def answers(self, status: str, uuid: str, **data: object) -> None:
        raw = plistlib.dumps({"UDID": "U", "Status": status, "CommandUUID": uuid, **data})
        message = report(self.ref, status, uuid, raw)
        self.store.record_report(message, self.who, None, at=self.clock.move(1), request_id="device")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def phone(bench: Bench) -> Phone:
    phone = Phone(bench)
    phone.enrolls()
    return phone


def queue(bench: Bench, uuid: str = "c1", query: str = "", **fields: object) -> Answer:
    body = {"udid": "U", "request_type": "ProfileList", "command_uuid": uuid, **fields}
    return bench.ask("POST", f"/v1/commands?{query}", json.dumps(body).encode())


def record(bench: Bench, uuid: str = "c1", key: str | None = basic()) -> Any:
    return bench.ask("GET", f"/v1/commands/U/{uuid}", key=key).json()["record"]


def token(bench: Bench, *permissions: str) -> str:
    body = json.dumps({"name": "t", "permissions": permissions}).encode()
    return "Bearer " + str(bench.ask("POST", "/v1/tokens", body).json()["token"])


# --- one record ---


def test_a_waiting_command_is_shown(bench: Bench) -> None:
    queue(bench, request_type="DeviceInformation", queries=["OSVersion"])
    shown = record(bench)
    assert len(shown.pop("id")) == len(shown.pop("organization")) == len(shown.pop("adm_enterprise")) == 24
    assert len(shown.pop("target_id")) == 24
    assert base64.b64decode(shown.pop("payload")).startswith(b"<?xml")
    at = "2026-11-23T08:00:00.000Z"
    assert shown == {
        "target_type": "device",
        "udid": "U",
        "uuid": "c1",
        "request_type": "DeviceInformation",
        "status": "Pending",
        "outcome": "in_progress",
        "command": {"RequestType": "DeviceInformation", "Queries": ["OSVersion"]},
        "from": "unknown",
        "num_tries": 0,
        "group_name": "DeviceInformation",
        "info": {},
        "created_at": at,
        "updated_at": at,
        "timeline": [
            {"at": at, "step": "accepted", "request_id": "request-1"},
            {"at": at, "step": "stored", "request_id": "request-1"},
        ],
    }


def test_an_answered_command_tells_its_whole_life(bench: Bench, phone: Phone) -> None:
    queue(bench)
    phone.says("Idle")
    phone.answers("Acknowledged", "c1", ProfileList=[{"PayloadIdentifier": "a", "Blob": b"\x00\x01"}])
    shown = record(bench)
    assert shown["status"] == "Acknowledged"
    assert shown["outcome"] == "done"
    assert shown["data"] == {"ProfileList": [{"PayloadIdentifier": "a", "Blob": "AAE="}]}
    assert base64.b64decode(shown["response"]).startswith(b"<?xml")
    assert shown["num_tries"] == 1
    assert shown["tried_at"] < shown["received_at"] == shown["updated_at"]
    assert [one["step"] for one in shown["timeline"]] == [
        "accepted",
        "stored",
        "connected",
        "handed out",
        "answered",
    ]
    assert shown["timeline"][-1]["request_id"] == "device"


def test_a_refused_installation_is_told_from_a_good_one(bench: Bench, phone: Phone) -> None:
    queue(bench, request_type="InstallApplication", itunes_store_id=1)
    phone.says("Idle")
    phone.answers("Acknowledged", "c1", RejectionReason="NotSupported", State="Failed")
    shown = record(bench)
    assert (shown["status"], shown["outcome"]) == ("Acknowledged", "refused")
    assert shown["outcome_reason"] == "NotSupported"


def test_the_newest_of_a_uuid_or_the_one_of_an_id_is_shown(bench: Bench) -> None:
    queue(bench)
    first = record(bench)["id"]
    queue(bench)
    second = record(bench)["id"]
    assert second > first
    assert record(bench, first)["id"] == first
    assert record(bench, first.upper())["id"] == first


@pytest.mark.parametrize("target", ["U/nothing", "nobody/c1", "U/" + "f" * 24])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_not_there_is_404_and_says_what_was_looked_for(
    bench: Bench, method: str, target: str
) -> None:
    queue(bench)
    answer = bench.ask(method, f"/v1/commands/{target}")
    assert answer.status == 404
    assert answer.error.startswith("not found: ")
    assert target.partition("/")[0 if "nobody" in target else 2] in answer.error


def test_secrets_are_shown_only_to_those_who_may_see_them(bench: Bench, phone: Phone) -> None:
    bench.ask("POST", "/v1/commands/U", RAW)
    phone.says("Idle")
    phone.answers("Acknowledged", "raw-1", UnlockToken=b"s", MessageResult="Success")
    some = token(bench, "mdm.apple.command.get")
    shown = record(bench, "raw-1", some)
    assert shown["command"]["PIN"] == "***"
    assert shown["data"] == {"UnlockToken": "***", "MessageResult": "Success"}
    assert "payload" not in shown
    assert "response" not in shown
    assert record(bench, "raw-1")["command"]["PIN"] == "123456"
    queue(bench)
    assert "payload" in record(bench, "c1", some)


def test_payloads_with_secrets_are_not_in_the_list_of_what_waits(bench: Bench) -> None:
    bench.ask("POST", "/v1/commands/U", RAW)
    queue(bench)
    some = token(bench, "mdm.apple.command.list")
    for key, shown in ((some, [False, True]), (basic(), [True, True])):
        listed = bench.ask("GET", "/v1/commands/U", key=key).json()["commands"]
        assert [bool(one["payload"]) for one in listed] == shown


# --- cancelling ---


def test_a_command_is_cancelled_once(bench: Bench, phone: Phone) -> None:
    queue(bench, "c1")
    queue(bench, "c2")
    phone.says("Idle")
    for uuid in ("c1", "c2"):
        answer = bench.ask("DELETE", f"/v1/commands/U/{uuid}")
        assert (answer.status, answer.json()) == (200, {})
        assert record(bench, uuid)["status"] == "Cancel"
        answer = bench.ask("DELETE", f"/v1/commands/U/{uuid}")
        assert (answer.status, answer.error) == (409, f"command {uuid} is Cancel")
    assert bench.ask("GET", "/v1/commands/U").json() == {}


def test_cancelling_is_in_the_audit_log_and_needs_its_permission(bench: Bench) -> None:
    queue(bench)
    assert bench.ask("DELETE", "/v1/commands/U/c1", key=token(bench, "mdm.apple.command.get")).status == 403
    bench.ask("DELETE", "/v1/commands/U/c1")
    entry = bench.ask("GET", "/v1/audit").json()["entries"][0]
    assert (entry["action"], entry["target"]) == ("mdm.apple.command.cancel", "U/c1")


# --- lists ---


def listed(bench: Bench, query: str = "") -> list[str]:
    return [one["uuid"] for one in bench.ask("GET", f"/v1/devices/U/commands?{query}").json()["items"]]


def test_commands_of_a_device_are_listed_in_pages(bench: Bench) -> None:
    for number in range(5):
        queue(bench, f"c{number}")
    page = bench.ask("GET", "/v1/devices/U/commands?limit=3").json()
    assert [one["uuid"] for one in page["items"]] == ["c4", "c3", "c2"]
    assert "timeline" not in page["items"][0]
    assert listed(bench, f"cursor={page['next']}") == ["c1", "c0"]
    assert "next" not in bench.ask("GET", "/v1/devices/U/commands").json()


def test_lists_are_filtered(bench: Bench, phone: Phone) -> None:
    queue(bench, "c1", group="a, b")
    queue(bench, "c2", request_type="SecurityInfo", **{"from": "sync"})
    bench.clock.move(3600)
    queue(bench, "c3")
    phone.says("Idle")
    for query, found in {
        "status=Awaiting": ["c1"],
        "status=Awaiting,Pending": ["c3", "c2", "c1"],
        "request_type=SecurityInfo": ["c2"],
        "from=sync": ["c2"],
        "group=a,+b": ["c1"],
        "group=ProfileList": ["c3"],
        "since=2026-11-23T08:30:00Z": ["c3"],
        "until=2026-11-23T08:30:00Z": ["c2", "c1"],
        "status=Error": [],
    }.items():
        assert listed(bench, query) == found, query


@pytest.mark.parametrize(
    "query",
    ["status=Lost", "from=nowhere", "since=yesterday", "until=2026", "limit=0", "limit=1001", "cursor=x"],
)
def test_a_list_that_cannot_be_is_400(bench: Bench, query: str) -> None:
    queue(bench)
    answer = bench.ask("GET", f"/v1/devices/U/commands?{query}")
    assert answer.status == 400
    assert answer.error.startswith(query.partition("=")[0] + ": ")


# --- how to queue ---


def test_options_come_by_query_or_in_the_body(bench: Bench) -> None:
    queue(bench, "c1", "group=g&from=force&ttl=60")
    queue(bench, "c2", group="g", expires_at="2026-11-23T08:01:00Z", **{"from": "force"})
    queue(bench, "c3", "strict=true&group=no", Group="g", TTL=60, FROM="force")
    raw = bench.ask("POST", "/v1/commands/U?group=g&from=force&ttl=60", RAW)
    assert raw.status == 201
    for uuid in ("c1", "c2", "c3", "raw-1"):
        shown = record(bench, uuid)
        assert (shown["group_name"], shown["from"]) == ("g", "force")
        assert shown["expires_at"] == "2026-11-23T08:01:00.000Z"
    assert "group" not in base64.b64decode(record(bench)["payload"]).decode()


def test_superseding_by_query_and_body(bench: Bench) -> None:
    queue(bench, "c1")
    queue(bench, "c2", supersede=True)
    queue(bench, "c3", "supersede")
    assert [record(bench, uuid)["status"] for uuid in ("c1", "c2", "c3")] == [
        "Superseded",
        "Superseded",
        "Pending",
    ]
    assert record(bench, "c1")["canceled_at"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("supersede", "perhaps"),
        ("supersede", 1),
        ("group", ""),
        ("group", "x" * 129),
        ("group", "a\nb"),
        ("group", 7),
        ("ttl", 0),
        ("ttl", -1),
        ("ttl", "1.5"),
        ("ttl", True),
        ("ttl", 10**12),
        ("expires_at", "soon"),
        ("expires_at", "2026-11-23T08:00:00Z"),
        ("expires_at", 5),
        ("from", "nowhere"),
        ("from", 1),
    ],
)
def test_an_option_that_cannot_be_is_400_and_nothing_is_queued(
    bench: Bench, name: str, value: object
) -> None:
    answer = queue(bench, **{name: value})
    assert answer.status == 400
    assert answer.error.startswith(f"{name}: ")
    assert bench.ask("GET", "/v1/commands/U").json() == {}


def test_ttl_goes_without_expires_at(bench: Bench) -> None:
    assert queue(bench, "c1", "ttl=5", expires_at="2027-01-01").error.startswith("ttl: ")


# --- waiting ---


def test_waiting_ends_with_the_answer(bench: Bench, phone: Phone) -> None:
    def pause(_seconds: float) -> None:
        phone.says("Idle")
        phone.answers("Acknowledged", "c1")

    bench.pause = pause
    answer = queue(bench, "c1", "wait=10")
    assert answer.status == 201
    assert answer.json()["payload"] == {"command_uuid": "c1", "command": {"request_type": "ProfileList"}}
    assert answer.json()["record"]["status"] == "Acknowledged"


def test_waiting_ends_with_the_time(bench: Bench) -> None:
    began = bench.clock.now
    answer = bench.ask("POST", "/v1/commands/U?wait=2", RAW)
    assert answer.status == 202
    assert answer.json()["payload"]["udid"] == "U"
    assert answer.json()["record"]["status"] == "Pending"
    assert bench.clock.now == began + timedelta(seconds=2)


def test_a_command_is_waited_for_later_too(bench: Bench, phone: Phone) -> None:
    queue(bench)
    began = bench.clock()

    def answer(_seconds: float) -> None:
        bench.clock.move(1)
        phone.run("Acknowledged")

    assert bench.ask("GET", "/v1/commands/U/c1?wait=30").json()["record"]["status"] == "Pending"
    assert (bench.clock() - began).total_seconds() == pytest.approx(30)
    bench.pause = answer
    for _ in range(2):  # what is done is not waited for
        shown = bench.ask("GET", "/v1/commands/U/c1?wait=30").json()["record"]
        assert (shown["status"], shown["timeline"][-1]["step"]) == ("Acknowledged", "answered")
    assert bench.ask("GET", "/v1/commands/U/c1?wait=61").status == 400
    assert bench.ask("GET", "/v1/commands/U/c2?wait=30").status == 404


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1.5", ""])
def test_a_wait_out_of_range_is_400_and_nothing_is_queued(bench: Bench, wait: str) -> None:
    assert queue(bench, "c1", f"wait={wait}").error.startswith("wait: ")
    assert bench.ask("GET", "/v1/commands/U").json() == {}


def test_a_command_is_queued_even_when_too_many_wait(bench: Bench) -> None:
    statuses = []

    def second(_seconds: float) -> None:
        statuses.append(queue(bench, "c3", "wait=1").status)
        bench.clock.move(2)

    def first(_seconds: float) -> None:
        bench.pause = second
        statuses.append(queue(bench, "c2", "wait=1").status)

    bench.pause = first
    statuses.append(queue(bench, "c1", "wait=1").status)
    assert statuses == [202, 202, 202]
    assert record(bench, "c3")["status"] == "Pending"


def test_a_key_brings_nobody_the_answer_that_another_caller_got(bench: Bench, phone: Phone) -> None:
    some = token(bench, "mdm.apple.command.create:ProfileList")
    lock = json.dumps({"udid": "U", "request_type": "DeviceLock", "pin": "123456"}).encode()
    body = json.dumps({"udid": "U", "request_type": "ProfileList"}).encode()
    first = bench.ask("POST", "/v1/commands", lock, idempotency_key="k")
    own = [bench.ask("POST", "/v1/commands", body, key=some, idempotency_key="k") for _ in range(2)]
    assert "123456" in str(first.body) and "123456" not in str(own[0].body)
    assert own[0].body == own[1].body and len(phone.waiting()) == 2
    assert bench.ask("POST", "/v1/commands", lock, idempotency_key="k").body == first.body
    long = bench.ask("POST", "/v1/commands", body, key=some, idempotency_key="k" * 129)
    assert (long.status, long.error.partition(":")[0]) == (400, "Idempotency-Key")
    assert bench.ask("POST", "/v1/commands", body, key=some, idempotency_key="k" * 128).status == 201


def test_waiting_with_a_key_that_was_used_brings_the_first_answer(bench: Bench) -> None:
    body = b'{"udid": "U", "request_type": "ProfileList", "command_uuid": "c1"}'
    first = bench.ask("POST", "/v1/commands", body, idempotency_key="k")
    again = bench.ask("POST", "/v1/commands?wait=5", body, idempotency_key="k")
    assert (again.status, again.body) == (201, first.body)
