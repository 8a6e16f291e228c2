"""/v1/organizations/…: the organizations' API for commands, as its reference describes it."""

import json
import plistlib
import re
from typing import Any

import pytest

from micromdm_py.service.organizations import PAGE
from tests.builders import Device, report, user
from tests.http.bench import Answer, Bench, basic

BEARER = "Bearer sec:ret"
BASE = "/v1/organizations/default/mdm/apple/enterprise/commands"
HEX = re.compile(r"[a-f0-9]{24}")
TIME = re.compile(r"2026-11-23T08:0\d:\d\d\.000Z")
SECURITY_INFO = {"command": {"RequestType": "SecurityInfo"}}


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def phone(bench: Bench) -> Device:
    phone = Device(bench.store, "UDID-1")
    phone.clock = bench.clock
    return phone.enrolls(serial_number="C02X", imei="35 1")


def ask(
    bench: Bench,
    method: str,
    path: str,
    body: object = None,
    key: str | None = BEARER,
    base: str = BASE,
) -> Answer:
    return bench.ask(method, f"{base}{path}", b"" if body is None else json.dumps(body).encode(), key=key)


def data(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    document = answer.json()
    assert list(document) == ["status", "data"]
    assert document["status"] is True
    return document["data"]


def failed(answer: Answer) -> tuple[int, int, str]:
    document = answer.json()
    assert list(document) == ["status", "error"]
    assert document["status"] is False
    assert list(document["error"]) == ["code", "message"]
    return answer.status, document["error"]["code"], document["error"]["message"]


def queue(bench: Bench, body: object = SECURITY_INFO, target: str = "device/UDID-1", query: str = "") -> Any:
    return data(ask(bench, "POST", f"/{target}?{query}", body))


def token(bench: Bench, *permissions: str) -> str:
    body = json.dumps({"name": f"t{len(permissions)}", "permissions": permissions}).encode()
    return "Bearer " + str(bench.ask("POST", "/v1/tokens", body).json()["token"])


# --- one record ---


def test_the_example_of_the_reference(bench: Bench, phone: Device) -> None:
    command = {"RequestType": "DeviceInformation", "Queries": ["DeviceName", "OSVersion"]}
    queued = queue(bench, {"command": command, "from": "configurationChanged"})
    uuid = queued["UUID"]
    phone.says("Idle")
    answer = {"QueryResponses": {"DeviceName": "Phone", "OSVersion": "17.2.1"}}
    raw = plistlib.dumps({"UDID": "UDID-1", "CommandUUID": uuid, "Status": "Acknowledged", **answer})
    bench.store.record_report(
        report(phone.ref, "Acknowledged", uuid, raw), phone.who, None, at=bench.clock.move(1)
    )
    shown = data(ask(bench, "GET", f"/device/UDID-1/{queued['id']}"))
    for name in ("id", "organization", "admEnterprise", "targetId"):
        assert HEX.fullmatch(shown.pop(name))
    for name in ("createdAt", "updatedAt", "receivedAt", "triedAt"):
        assert TIME.fullmatch(shown.pop(name))
    assert shown == {
        "targetType": "device",
        "UUID": uuid,
        "status": "Acknowledged",
        "command": command,
        "from": "configurationChanged",
        "data": answer,
        "numTries": 1,
        "groupName": "DeviceInformation",
        "info": {},
    }


def test_a_target_has_many_names_and_the_organization_two(bench: Bench, phone: Device) -> None:
    queued = queue(bench)
    organization = queued["organization"]
    for name in ("UDID-1", "C02X", "35%201", "351", queued["targetId"], queued["targetId"].upper()):
        for base in (BASE, BASE.replace("default", organization), BASE.replace("default", "DEFAULT")):
            assert data(ask(bench, "GET", f"/device/{name}/{queued['id'].upper()}", base=base)) == queued


def test_a_user_is_a_target_of_its_own(bench: Bench, phone: Device) -> None:
    account = Device(bench.store, user("UDID-1", "USER-1", "jane"), phone.who)
    account.updates_token()
    queued = queue(bench, target="deviceUser/jane")
    assert (queued["targetType"], queued["mdmUser"]) == ("deviceUser", queued["targetId"])
    assert data(ask(bench, "GET", f"/deviceUser/USER-1/{queued['id']}")) == queued
    assert failed(ask(bench, "GET", f"/device/USER-1/{queued['id']}"))[0] == 404
    assert failed(ask(bench, "GET", f"/device/UDID-1/{queued['id']}"))[0] == 404


# --- errors ---


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, (401, 4002, "No auth token")),
        ("", (401, 4002, "No auth token")),
        ("Bearer wrong", (401, 4004, "Invalid Token")),
        ("Bearer", (401, 4004, "Invalid Token")),
        ("Bearer mdm_unknown", (401, 4004, "Invalid Token")),
        (basic(), (401, 4004, "Invalid Token")),
        ("Digest x", (401, 4004, "Invalid Token")),
        ("sec:ret", (401, 4004, "Invalid Token")),
    ],
)
def test_callers_without_a_token_are_refused(
    bench: Bench, key: str | None, expected: tuple[int, int, str]
) -> None:
    answer = ask(bench, "GET", f"/device/UDID-1/{'f' * 24}", key=key)
    assert failed(answer) == expected
    assert answer.headers["www-authenticate"] == "Bearer"


def test_each_permission_opens_its_routes_only(bench: Bench, phone: Device) -> None:
    queued = queue(bench)
    one = f"/device/UDID-1/{queued['id']}"
    routes = {
        "mdm.apple.command.get": ("GET", one, None),
        "mdm.apple.command.list": ("GET", "/device/UDID-1", None),
        "mdm.apple.command.create:SecurityInfo": ("POST", "/device/UDID-1", SECURITY_INFO),
        "mdm.apple.command.cancel": ("POST", f"{one}/cancel", None),
    }
    for number, permission in enumerate(routes):
        key = token(bench, *[permission] * (number + 1))
        for other, (method, path, body) in routes.items():
            answer = ask(bench, method, path, body, key)
            if other == permission:
                assert answer.status == 200
            else:
                assert failed(answer) == (403, 4003, "Permission denied")
    narrow = token(bench, *["mdm.apple.command.create:SecurityInfo"] * 9)
    body = {"command": {"RequestType": "EraseDevice"}}
    assert failed(ask(bench, "POST", "/device/UDID-1", body, narrow)) == (403, 4003, "Permission denied")


def test_what_is_not_there_is_not_found(bench: Bench, phone: Device) -> None:
    queued = queue(bench)
    other = Device(bench.store, "UDID-2").enrolls(serial_number="other")
    (of_other,) = other.queue(queued["id"])  # with the id of a command as its uuid
    for path in (
        f"/device/UDID-1/{'f' * 24}",
        f"/device/UDID-2/{queued['id']}",
        f"/device/UDID-1/{of_other.command_id}",
        f"/device/nobody/{queued['id']}",
        f"/deviceUser/UDID-1/{queued['id']}",
        "/device/nobody",
        "/device/nobody/grouped",
        f"/device/a%00b/{queued['id']}",
    ):
        assert failed(ask(bench, "GET", path)) == (404, 3001, "Entity not found"), path
    base = BASE.replace("default", "elsewhere")
    assert failed(ask(bench, "GET", f"/device/UDID-1/{queued['id']}", base=base))[1] == 3001
    assert failed(ask(bench, "POST", f"/device/UDID-1/{'f' * 24}/cancel"))[1] == 3001


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/tablet/UDID-1/" + "f" * 24, "targetType"),
        ("/device/UDID-1/" + "g" * 24, "admCommandId"),
        ("/device/UDID-1/" + "f" * 23, "admCommandId"),
        ("/device/UDID-1/" + "f" * 24 + "%0A", "admCommandId"),
    ],
)
def test_a_path_value_that_breaks_its_pattern_is_invalid(bench: Bench, path: str, name: str) -> None:
    assert failed(ask(bench, "GET", path)) == (400, 3002, f"Invalid {name}")


@pytest.mark.parametrize("organization", ["ab", "a_b", "a%20b", "\u00e9\u00e9\u00e9"])
def test_an_organization_that_cannot_be_is_invalid(bench: Bench, organization: str) -> None:
    base = BASE.replace("default", organization)
    answer = ask(bench, "GET", f"/device/U/{'f' * 24}", base=base)
    assert failed(answer) == (400, 3002, "Invalid organizationId")


def test_a_name_of_several_targets_is_a_conflict(bench: Bench, phone: Device) -> None:
    Device(bench.store, "UDID-2").enrolls(serial_number="C02X")
    status, code, message = failed(ask(bench, "GET", "/device/C02X"))
    assert (status, code) == (409, 409)
    assert "UDID-1, UDID-2" in message


# --- cancelling ---


def test_a_command_is_cancelled_while_it_is_open(bench: Bench, phone: Device) -> None:
    for queued in (queue(bench), queue(bench)):
        path = f"/device/C02X/{queued['id']}"
        phone.says("Idle")
        assert data(ask(bench, "POST", f"{path}/cancel")) == {"canceled": "OK"}
        shown = data(ask(bench, "GET", path))
        assert shown["status"] == "Cancel"
        assert TIME.fullmatch(shown["canceledAt"])
        again = ask(bench, "POST", f"{path}/cancel")
        assert failed(again) == (400, 5106, "AdmCommand not status pending or tried")


# --- lists ---


def test_commands_are_listed_newest_first_with_filters(bench: Bench, phone: Device) -> None:
    queued = [queue(bench)["id"] for _ in range(3)]
    queued.append(queue(bench, {"command": {"RequestType": "ProfileList"}, "groupName": "g"})["id"])
    page = data(ask(bench, "GET", "/device/C02X?limit=3"))
    assert [one["id"] for one in page["items"]] == queued[:0:-1]
    rest = data(ask(bench, "GET", f"/device/C02X?cursor={page['next']}"))
    assert [one["id"] for one in rest["items"]] == queued[:1]
    assert "next" not in rest
    for query in ("group=g", "request_type=ProfileList", "status=Pending&group=g"):
        found = data(ask(bench, "GET", f"/device/C02X?{query}"))["items"]
        assert [one["id"] for one in found] == queued[3:]
    assert failed(ask(bench, "GET", "/device/C02X?status=Lost"))[:2] == (400, 3002)
    assert failed(ask(bench, "GET", "/device/C02X?cursor=x"))[2].startswith("Invalid cursor")


def test_groups_are_counted(bench: Bench, phone: Device) -> None:
    queue(bench)
    profiles = {"command": {"RequestType": "ProfileList"}}
    queue(bench, profiles)
    newest = queue(bench, profiles)
    queue(bench, {**profiles, "groupName": "g"})
    phone.says("Idle")
    counted = data(ask(bench, "GET", "/device/C02X/grouped"))
    assert [(one["groupName"], one["total"], one["statuses"]) for one in counted["items"]] == [
        ("g", 1, {"Pending": 1}),
        ("ProfileList", 2, {"Pending": 2}),
        ("SecurityInfo", 1, {"Awaiting": 1}),
    ]
    assert counted["items"][1]["last"] == newest
    assert (counted["page"], counted["total"]) == (1, 3)
    for query, names in {
        "page=2&limit=2": ["SecurityInfo"],
        "groupName=g": ["g"],
        "types=SecurityInfo": ["SecurityInfo"],
        "page=9": [],
    }.items():
        found = data(ask(bench, "GET", f"/device/C02X/grouped?{query}"))["items"]
        assert [one["groupName"] for one in found] == names
    assert failed(ask(bench, "GET", "/device/C02X/grouped?page=0"))[:2] == (400, 3002)


def test_groups_of_more_commands_than_one_page_of_the_store_has(bench: Bench, phone: Device) -> None:
    phone.queue(*(f"c{number}" for number in range(PAGE)))
    queue(bench)
    counted = data(ask(bench, "GET", "/device/C02X/grouped"))
    assert {one["groupName"]: one["total"] for one in counted["items"]} == {
        "ProfileList": PAGE,
        "SecurityInfo": 1,
    }


# --- queueing ---


def test_many_targets_get_a_command_each(bench: Bench, phone: Device) -> None:
    Device(bench.store, "UDID-2").enrolls(serial_number="other")
    command = {"RequestType": "InstallProfile", "Payload": "eA=="}
    body = {"command": command, "targetIds": ["C02X", "UDID-2"], "groupName": "g", "ttl": 60}
    queued = data(ask(bench, "POST", "/device", body))
    assert len({one["UUID"] for one in queued}) == 2
    for one, udid in zip(queued, ("UDID-1", "UDID-2"), strict=True):
        assert (one["command"], one["groupName"], one["status"]) == (command, "g", "Pending")
        (waiting,) = bench.store.waiting(udid)
        assert plistlib.loads(waiting.payload) == {
            "Command": {"RequestType": "InstallProfile", "Payload": b"x"},
            "CommandUUID": one["UUID"],
        }


def test_one_unknown_target_and_nothing_is_queued(bench: Bench, phone: Device) -> None:
    body = {**SECURITY_INFO, "targetIds": ["UDID-1", "nobody"]}
    assert failed(ask(bench, "POST", "/device", body)) == (404, 3001, "Entity not found")
    assert bench.store.waiting("UDID-1") == []


def test_erasing_many_takes_their_number(bench: Bench) -> None:
    names = [f"UDID-{number}" for number in range(11)]
    for name in names:
        Device(bench.store, name).enrolls()
    body: dict[str, object] = {"command": {"RequestType": "EraseDevice"}, "targetIds": names}
    for confirm in ({}, {"confirm": 10}, {"confirm": True}):
        assert failed(ask(bench, "POST", "/device", body | confirm))[:2] == (400, 3002)
    assert bench.store.waiting(names[0]) == []
    assert len(data(ask(bench, "POST", "/device", body | {"confirm": 11}))) == 11


def test_superseding(bench: Bench, phone: Device) -> None:
    first = queue(bench)
    queue(bench, {**SECURITY_INFO, "supersede": True})
    assert data(ask(bench, "GET", f"/device/UDID-1/{first['id']}"))["status"] == "Superseded"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "command"),
        ({"command": []}, "command"),
        ({"command": {}}, "RequestType"),
        ({"command": {"RequestType": ["SecurityInfo"]}}, "RequestType"),
        ({"command": {"RequestType": "Nothing"}}, "request_type"),
        ({"command": {"RequestType": "InstallProfile", "Payload": 5}}, "Payload"),
        ({**SECURITY_INFO, "from": "nowhere"}, "from"),
        ({**SECURITY_INFO, "colour": "red"}, "colour"),
        ({**SECURITY_INFO, "targetIds": []}, "targetIds"),
        ({**SECURITY_INFO, "targetIds": "UDID-1"}, "targetIds"),
        ({**SECURITY_INFO, "targetIds": [1]}, "targetIds"),
        ({**SECURITY_INFO, "targetIds": ["UDID-1", ""]}, "targetIds"),
        ({**SECURITY_INFO, "targetIds": ["\ud800"]}, "targetIds"),
        ({**SECURITY_INFO, "targetIds": ["UDID-1", "x" * 256]}, "targetIds"),
        ({"command": {"RequestType": "\ud800"}}, "request_type"),
        ({"command": {"RequestType": "InstallApplication", "ManifestURL": "\ud800"}}, ""),
        ({**SECURITY_INFO, "targetIds": ["UDID-1"] * 1001}, "targetIds"),
    ],
)
def test_a_body_that_cannot_be_is_invalid(bench: Bench, phone: Device, body: object, name: str) -> None:
    status, code, message = failed(ask(bench, "POST", "/device", body))
    assert (status, code) == (400, 3002)
    assert message.startswith(f"Invalid {name}")
    assert bench.store.waiting("UDID-1") == []


def test_queueing_is_in_the_audit_log(bench: Bench, phone: Device) -> None:
    queue(bench)
    entry = bench.ask("GET", "/v1/audit").json()["entries"][0]
    assert (entry["action"], entry["target"], entry["detail"]) == (
        "mdm.apple.command.create",
        "UDID-1",
        "SecurityInfo",
    )
