"""POST /v1/bulk/commands: one command for many devices."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from micromdm_py.errors import StorageUnavailable
from micromdm_py.service.bulk import BATCH
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import Enqueued, NewEntry, Once
from tests.builders import Device, user
from tests.http.bench import Answer, Bench

SECURITY_INFO = {"request_type": "SecurityInfo"}
ERASE = {"request_type": "EraseDevice"}


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for number in range(4):
        facts = {"serial_number": f"S{number}", "os_version": "17.1" if number < 2 else "18.0"}
        Device(bench.store, f"UDID-{number}").enrolls(**facts)
    return bench


def ask(bench: Bench, query: str = "", **body: object) -> Answer:
    return bench.ask("POST", f"/v1/bulk/commands?{query}", json.dumps(body).encode())


def waiting(bench: Bench, *udids: str) -> list[int]:
    return [len(bench.store.waiting(udid)) for udid in udids]


def every_device(bench: Bench) -> int:
    return sum(waiting(bench, *(f"UDID-{number}" for number in range(4))))


def test_each_named_device_gets_the_command_and_a_line(bench: Bench) -> None:
    answer = ask(bench, udids=["UDID-1", "new", "UDID-1"], command=SECURITY_INFO)
    assert answer.status == 201
    told = answer.json()
    assert (told["queued"], told["failed"]) == (2, 0)
    assert [one["udid"] for one in told["results"]] == ["UDID-1", "new"]
    for line in told["results"]:
        (one,) = bench.store.waiting(line["udid"])
        assert one.command_uuid == line["command_uuid"]
        record = bench.store.command(line["udid"], line["id"])
        assert record.request_type == "SecurityInfo"
        assert record.timeline[0].request_id == "request-1"
        assert line["command_uuid"].encode() in one.payload
    assert told["results"][0]["command_uuid"] != told["results"][1]["command_uuid"]


@pytest.mark.parametrize(
    ("wanted", "fitting"),
    [
        ({}, ["UDID-0", "UDID-1", "UDID-2", "UDID-3"]),
        ({"os_version": "17"}, ["UDID-0", "UDID-1"]),
        ({"serial_number": "S3"}, ["UDID-3"]),
        ({"state": "blocked"}, []),
    ],
)
def test_devices_that_fit_a_filter_get_it(bench: Bench, wanted: object, fitting: list[str]) -> None:
    answer = ask(bench, filter=wanted, command=SECURITY_INFO)
    assert answer.status == (201 if fitting else 200)
    assert sorted(one["udid"] for one in answer.json()["results"]) == fitting
    assert every_device(bench) == len(fitting)


def test_a_line_says_what_is_wrong_with_a_device_and_the_others_get_it(bench: Bench) -> None:
    for udid in ("UDID-0", "UDID-1"):
        Device(bench.store, user(udid, "USER"), Device(bench.store, udid).who).updates_token()
    told = ask(bench, udids=["UDID-1", "", "USER", "\ud800", "UDID-2"], command=SECURITY_INFO).json()
    assert (told["queued"], told["failed"]) == (2, 3)
    assert ["error" in one for one in told["results"]] == [False, True, True, True, False]
    assert "UDID-0:USER, UDID-1:USER" in told["results"][2]["error"]
    assert waiting(bench, "UDID-1", "UDID-2") == [1, 1]


def test_more_than_a_batch(bench: Bench) -> None:
    udids = [f"N-{number}" for number in range(2 * BATCH + 1)]
    told = ask(bench, udids=udids, command=SECURITY_INFO).json()
    assert [one["udid"] for one in told["results"]] == udids
    assert waiting(bench, *udids) == [1] * len(udids)


def test_a_dry_run_shows_who_would_get_it(bench: Bench) -> None:
    answer = ask(bench, udids=["UDID-1", ""], command=ERASE, dry_run=True)
    assert answer.status == 200
    assert answer.json() == {
        "results": [{"udid": "UDID-1"}, {"udid": "", "error": "udid: must not be empty"}],
        "queued": 0,
        "failed": 1,
        "dry_run": True,
    }
    assert every_device(bench) == 0


def test_erasing_many_needs_their_number(bench: Bench) -> None:
    udids = [f"N-{number}" for number in range(11)]
    for confirm in ({}, {"confirm": 10}, {"confirm": "11"}, {"confirm": True}):
        answer = ask(bench, udids=udids, command=ERASE, **confirm)
        assert (answer.status, answer.error.partition(":")[0]) == (400, "confirm")
    assert "must be 11" in ask(bench, udids=udids, command=ERASE).error
    assert waiting(bench, *udids) == [0] * 11
    assert ask(bench, udids=udids[:10], command=ERASE).status == 201
    assert ask(bench, udids=udids, command=ERASE, confirm=11).status == 201
    assert ask(bench, udids=udids, command=SECURITY_INFO).status == 201


def test_options_count_for_every_command(bench: Bench) -> None:
    ask(bench, udids=["UDID-0", "UDID-1"], command=SECURITY_INFO, group="g", ttl=60)
    ask(bench, "supersede=true&group=g", udids=["UDID-0"], command=SECURITY_INFO)
    for udid, states in (("UDID-0", ["Pending", "Superseded"]), ("UDID-1", ["Pending"])):
        items = bench.ask("GET", f"/v1/devices/{udid}/commands").json()["items"]
        assert [one["status"] for one in items] == states
        assert {one["group_name"] for one in items} == {"g"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"command": SECURITY_INFO}, "udids"),
        ({"command": SECURITY_INFO, "udids": ["U"], "filter": {}}, "udids"),
        ({"command": SECURITY_INFO, "udids": []}, "udids"),
        ({"command": SECURITY_INFO, "udids": "U"}, "udids"),
        ({"command": SECURITY_INFO, "udids": [None]}, "udids"),
        ({"command": SECURITY_INFO, "filter": []}, "filter"),
        ({"command": SECURITY_INFO, "filter": {"colour": "red"}}, "filter.colour"),
        ({"command": SECURITY_INFO, "filter": {"state": 1}}, "filter.state"),
        ({"command": SECURITY_INFO, "filter": {"state": "lost"}}, "state"),
        ({"udids": ["UDID-1"]}, "command"),
        ({"udids": ["UDID-1"], "command": {}}, "request_type"),
        ({"udids": ["UDID-1"], "command": {**SECURITY_INFO, "udid": "U"}}, "command.udid"),
        ({"udids": ["UDID-1"], "command": {**SECURITY_INFO, "ttl": 5}}, "command.ttl"),
        ({"udids": ["UDID-1"], "command": SECURITY_INFO, "dry_run": 1}, "dry_run"),
        ({"udids": ["UDID-1"], "command": SECURITY_INFO, "colour": 1}, "colour"),
        ({"udids": ["UDID-1"], "command": SECURITY_INFO, "from": "x"}, "from"),
    ],
)
def test_a_body_that_cannot_be_is_400_and_nothing_is_queued(
    bench: Bench, body: dict[str, object], field: str
) -> None:
    answer = ask(bench, **body)
    assert answer.status == 400
    assert answer.error.startswith(f"{field}: ")
    assert every_device(bench) == 0


@pytest.mark.parametrize(
    ("permissions", "group", "status"),
    [
        (["mdm.apple.command.create:SecurityInfo"], "EraseDevice", 403),
        (["mdm.apple.command.create:SecurityInfo"], "SecurityInfo", 201),
        (["mdm.apple.command.create:SecurityInfo", "mdm.apple.command.cancel"], "EraseDevice", 201),
        (["mdm.apple.command.create"], "EraseDevice", 201),
    ],
)
def test_who_may_neither_queue_nor_cancel_a_command_does_not_supersede_it(
    bench: Bench, permissions: list[str], group: str, status: int
) -> None:
    made = bench.ask("POST", "/v1/tokens", json.dumps({"name": "t", "permissions": permissions}).encode())
    key = f"Bearer {made.json()['token']}"
    given = json.dumps({"udids": ["UDID-0"], "command": SECURITY_INFO}).encode()
    path = f"/v1/bulk/commands?supersede=true&group={group}"
    assert bench.ask("POST", path, given, key=key).status == status
    assert bench.ask("POST", path.replace("supersede=true", ""), given, key=key).status == 201
    options = {"udid": "UDID-0", "supersede": True, "group": group}
    body = json.dumps({**SECURITY_INFO, **options}).encode()
    assert bench.ask("POST", "/v1/commands", body, key=key).status == status
    raw = b"<plist><dict><key>CommandUUID</key><string>c</string><key>Command</key><dict>"
    raw += b"<key>RequestType</key><string>SecurityInfo</string></dict></dict></plist>"
    raw_path = f"/v1/commands/UDID-0?supersede=true&group={group}"
    assert bench.ask("POST", raw_path, raw, key=key).status == status


def test_a_narrowed_token_queues_what_it_may(bench: Bench) -> None:
    permissions = ["mdm.apple.command.create:SecurityInfo"]
    made = bench.ask("POST", "/v1/tokens", json.dumps({"name": "t", "permissions": permissions}).encode())
    key = "Bearer " + made.json()["token"]
    for command, status in ((SECURITY_INFO, 201), (ERASE, 403)):
        body = json.dumps({"udids": ["UDID-1"], "command": command}).encode()
        assert bench.ask("POST", "/v1/bulk/commands", body, key=key).status == status
    entry = bench.ask("GET", "/v1/audit").json()["entries"][0]
    assert (entry["who"], entry["target"], entry["detail"]) == ("t", "1 devices", "SecurityInfo")


def test_a_filter_needs_the_permission_to_search(bench: Bench) -> None:
    body = json.dumps({"filter": {}, "command": SECURITY_INFO, "dry_run": True}).encode()
    some = ["mdm.apple.command.create"]
    for name, permissions, status in (("few", some, 403), ("more", [*some, "mdm.apple.device.list"], 200)):
        made = bench.ask(
            "POST", "/v1/tokens", json.dumps({"name": name, "permissions": permissions}).encode()
        )
        answer = bench.ask("POST", "/v1/bulk/commands", body, key=f"Bearer {made.json()['token']}")
        assert answer.status == status


def test_a_dry_run_tells_who_would_not_get_it(bench: Bench) -> None:
    for udid in ("UDID-0", "UDID-1"):
        Device(bench.store, user(udid, "USER-1")).updates_token()
    answer = ask(bench, udids=["UDID-0", "USER-1", "new"], command=SECURITY_INFO, dry_run=True).json()
    assert ["error" in line for line in answer["results"]] == [False, True, False]
    assert (answer["failed"], answer["queued"]) == (1, 0)


class Fills(MemoryStore):
    """A store whose disk is full after some batches."""

    batches = 0

    def enqueue_all(
        self,
        orders: Sequence[tuple[str, NewEntry]],
        *,
        at: datetime,
        push: bool = True,
        once: Sequence[Once | None] | None = None,
    ) -> list[Enqueued]:
        self.batches -= 1
        if self.batches < 0:
            raise StorageUnavailable("full")
        return super().enqueue_all(orders, at=at, push=push, once=once)


def test_a_full_disk_is_told_for_those_who_got_nothing() -> None:
    store = Fills()
    bench = Bench(store)
    udids = [f"N-{number}" for number in range(BATCH + 5)]
    body: dict[str, Any] = {"udids": udids, "command": SECURITY_INFO}
    assert ask(bench, **body).status == 503
    store.batches = 1
    answer = ask(bench, **body)
    assert answer.status == 201
    assert (answer.json()["queued"], answer.json()["failed"]) == (BATCH, 5)
    assert answer.json()["results"][-1] == {"udid": udids[-1], "error": "full"}


def test_a_key_lets_a_request_be_repeated_until_everybody_has_the_command() -> None:
    store = Fills()
    bench = Bench(store)
    udids = [f"N-{number}" for number in range(BATCH + 5)]
    body = json.dumps({"udids": udids, "command": SECURITY_INFO}).encode()
    store.batches = 1
    first = bench.ask("POST", "/v1/bulk/commands", body, idempotency_key="k").json()
    assert first["failed"] == 5
    store.batches = 9
    again = bench.ask("POST", "/v1/bulk/commands", body, idempotency_key="k").json()
    assert again["failed"] == 0
    assert [one["command_uuid"] for one in again["results"][:BATCH]] == [
        one["command_uuid"] for one in first["results"][:BATCH]
    ]
    assert waiting(bench, *udids) == [1] * len(udids)
    bench.ask("POST", "/v1/bulk/commands", body)
    assert waiting(bench, *udids) == [2] * len(udids)
