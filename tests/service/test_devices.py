"""Listing, removing and blocking devices, on the memory store."""

import json
from typing import Any

import pytest

from micromdm_py.errors import MalformedField, NotFound, Unenroll
from micromdm_py.protocol.dep.documents import SyncState
from micromdm_py.protocol.enrollment import EnrollmentKind, EnrollmentRef
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.devices import Devices
from micromdm_py.storage.memory.store import MemoryStore
from tests.builders import Device
from tests.fakes.clock import Clock


class Bench:
    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), Clock()
        self.roster = Roster(self.store)
        self.service = Devices(self.store, self.roster, self.clock)
        for letter in "BAC":
            Device(self.store, letter).enrolls(serial_number=f"S-{letter}")

    def list(self, **fields: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] | None
        found = json.loads(self.service.list(json.dumps(fields).encode()))["devices"]
        return found or []

    def udids(self, **fields: object) -> str:
        return "".join(one["udid"] for one in self.list(**fields))

    def remove(self, purge: bool = False, /, **fields: object) -> None:
        assert self.service.remove(json.dumps(fields).encode(), purge=purge) == b"{}\n"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_item_has_five_keys(bench: Bench) -> None:
    (item,) = bench.list(filter_udid=["A"])
    assert item.pop("last_seen").endswith("Z")
    assert item == {"serial_number": "S-A", "udid": "A", "enrollment_status": True, "dep_profile_status": ""}


def test_a_user_enrollment_is_listed_with_the_id_that_commands_take(bench: Bench) -> None:
    ref = EnrollmentRef("ENR-1", EnrollmentKind.USER_ENROLLMENT, "ENR-1", sent_enrollment_id="ENR-1")
    Device(bench.store, ref).enrolls()
    (item,) = bench.list(filter_udid=["ENR-1"])
    assert item["udid"] == "ENR-1"


def test_no_devices_are_null() -> None:
    assert Devices(MemoryStore(), Roster(MemoryStore()), Clock()).list(b"{}") == b'{\n  "devices": null\n}\n'


@pytest.mark.parametrize(
    "body", [b"{}", b"null", b'{"page": 0, "per_page": 0, "filter_serial": null}', b"{} more"]
)
def test_all_devices_are_listed_in_the_order_of_their_ids(bench: Bench, body: bytes) -> None:
    assert [one["udid"] for one in json.loads(bench.service.list(body))["devices"]] == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"filter_serial": ["S-B"]}, "B"),
        ({"filter_serial": ["S-C", "S-A", "NOPE"]}, "AC"),
        ({"filter_serial": []}, "ABC"),
        ({"filter_serial": [""]}, ""),
        ({"filter_udid": ["C", ""]}, "C"),
        ({"filter_udid": ["S-C"]}, ""),
        ({"filter_serial": ["S-A", "S-B"], "filter_udid": ["B", "C"]}, "B"),
        ({"Filter_Serial": ["S-B"]}, "B"),
        ({"opts": {"filter_serial": ["S-B"]}}, "B"),
        ({"Opts": {"filter_udid": ["A"]}}, "A"),
        ({"page": 0, "per_page": 2}, "AB"),
        ({"page": 1, "per_page": 2}, "C"),
        ({"page": 2, "per_page": 2}, ""),
        ({"page": 7}, "ABC"),
        ({"page": 1, "per_page": 1, "filter_serial": ["S-C", "S-A"]}, "C"),
        ({"page": 2**31 - 1, "per_page": 2**31 - 1}, ""),
        ({"page": 2**63 - 1, "per_page": 2**63 - 1}, ""),
        ({"page": -1, "per_page": -1}, "ABC"),
        ({"page": -(2**63), "per_page": 2}, "AB"),
    ],
)
def test_filters_and_pages_work(bench: Bench, fields: dict[str, object], expected: str) -> None:
    assert bench.udids(**fields) == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b'{"filter_serial":', "body"),
        (b"[]", "body"),
        (b"\xef\xbb\xbf{}", "body"),
        (b'{"filter_serial": "X"}', "filter_serial"),
        (b'{"Filter_Serial": "X"}', "Filter_Serial"),
        (b'{"filter_serial": [1]}', "filter_serial[0]"),
        (b'{"filter_serial": ["ok", "a\\u0000b"]}', "filter_serial[1]"),
        (b'{"filter_udid": ["ok", "a\\u0000b"]}', "filter_udid[1]"),
        (b'{"filter_udid": ["\\ud800"]}', "filter_udid[0]"),
        (b'{"page": true}', "page"),
        (b'{"per_page": 1.5}', "per_page"),
        (b'{"per_page": 9223372036854775808}', "per_page"),
        (b'{"Opts": 7}', "Opts"),
    ],
)
def test_a_wrong_list_request_names_its_field(bench: Bench, body: bytes, field: str) -> None:
    with pytest.raises(MalformedField) as caught:
        bench.service.list(body)
    assert caught.value.field.lower() == field.lower()


@pytest.mark.parametrize(
    "fields",
    [
        {"Opts": {"udids": ["B"], "serials": None}},
        {"opts": {"serials": ["S-B"]}},
        {"udids": ["B"]},
        {"serials": ["S-B"]},
        {"udids": ["S-B"]},
        {"udids": ["B"], "serials": ["S-B"]},
    ],
)
def test_a_device_is_removed_by_any_of_its_names(bench: Bench, fields: dict[str, object]) -> None:
    bench.remove(**fields)
    assert bench.udids() == "AC"


def test_removing_nothing_is_no_error(bench: Bench) -> None:
    bench.remove()
    assert bench.udids() == "ABC"


def test_an_unknown_id_removes_nothing_at_all(bench: Bench) -> None:
    with pytest.raises(NotFound, match="not found: Device key NOPE"):
        bench.remove(udids=["A", "NOPE"])
    assert bench.udids() == "ABC"


def test_an_empty_id_is_refused(bench: Bench) -> None:
    with pytest.raises(MalformedField, match=r"udids\[1\]"):
        bench.remove(udids=["A", ""])
    with pytest.raises(MalformedField, match=r"serials\[1\]"):
        bench.remove(serials=["S-A", ""])
    assert bench.udids() == "ABC"


def test_removal_leaves_the_queue_and_purging_does_not(bench: Bench) -> None:
    device = Device(bench.store, "A")
    device.queue("one")
    bench.remove(udids=["A"])
    assert device.waiting() == ["one"]
    bench.remove(True, udids=["B"])
    other = Device(bench.store, "B")
    with pytest.raises(NotFound):
        bench.store.push_target("B")
    assert other.waiting() == []


def test_a_blocked_device_is_told_to_unenroll_until_it_is_unblocked(bench: Bench) -> None:
    device = Device(bench.store, "A")
    assert bench.service.block("A") == bench.service.block("A") == b"{}\n"
    with pytest.raises(Unenroll):
        device.says("Idle")
    assert bench.service.unblock("A") == b"{}\n"
    assert device.says("Idle") is None


def test_an_unknown_device_can_be_blocked_but_not_unblocked(bench: Bench) -> None:
    with pytest.raises(NotFound, match="Device udid NOPE"):
        bench.service.unblock("NOPE")
    bench.service.block("NOPE")
    bench.service.unblock("NOPE")
    assert bench.udids() == "ABC", "a block makes no device"


@pytest.mark.parametrize("udid", ["", "x" * 256, "a\x07"])
def test_an_id_that_cannot_be_is_refused(bench: Bench, udid: str) -> None:
    for act in (bench.service.block, bench.service.unblock):
        with pytest.raises(MalformedField):
            act(udid)


# --- devices that Apple has told of ---


def told(bench: Bench, *serials: str, status: str = "assigned") -> None:
    """Apple tells of devices."""
    facts = [{"serial_number": serial, "profile_status": status, "profile_uuid": "p"} for serial in serials]
    bench.roster.take_page("default", facts, SyncState("sync", "f", "c"))


def shown(bench: Bench, **fields: object) -> list[str]:
    return [one["serial_number"] for one in bench.list(**fields)]


def test_devices_that_have_not_enrolled_come_last(bench: Bench) -> None:
    told(bench, "X-2", "X-1", "S-B")
    assert shown(bench) == ["S-A", "S-B", "S-C", "X-1", "X-2"]
    assert bench.list()[3] == {
        "serial_number": "X-1",
        "udid": "",
        "enrollment_status": False,
        "last_seen": "0001-01-01T00:00:00Z",
        "dep_profile_status": "assigned",
    }
    assert [one["dep_profile_status"] for one in bench.list()] == ["", "assigned", "", "assigned", "assigned"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"filter_serial": ["X-1", "S-B", "NOPE"]}, ["S-B", "X-1"]),
        ({"filter_serial": ["S-B", "X-1"], "per_page": 1, "page": 1}, ["X-1"]),
        ({"filter_udid": ["B"]}, ["S-B"]),
        ({"filter_udid": ["B"], "filter_serial": ["X-1"]}, []),
        ({"per_page": 2}, ["S-A", "S-B"]),
        ({"per_page": 2, "page": 1}, ["S-C", "X-1"]),
        ({"per_page": 2, "page": 2}, ["X-2"]),
        ({"per_page": 2, "page": 3}, []),
    ],
)
def test_filters_and_pages_go_on_into_them(bench: Bench, fields: dict[str, Any], expected: list[str]) -> None:
    told(bench, "X-1", "X-2", "S-B")
    assert shown(bench, **fields) == expected


def test_a_removed_one_comes_back_when_apple_mentions_it(bench: Bench) -> None:
    told(bench, "X-1", "X-2", "S-B")
    bench.remove(serials=["X-1"], udids=["B"])
    assert shown(bench) == ["S-A", "S-C", "X-2"]
    with pytest.raises(NotFound):
        bench.remove(serials=["X-1"])
    told(bench, "X-1", "S-B")
    assert shown(bench) == ["S-A", "S-C", "S-B", "X-1", "X-2"]


def test_removing_them_is_all_or_nothing(bench: Bench) -> None:
    told(bench, "X-1", "S-A")
    with pytest.raises(NotFound, match="NOPE"):
        bench.remove(serials=["X-1", "S-A", "NOPE"])
    assert shown(bench) == ["S-A", "S-B", "S-C", "X-1"]
    bench.remove()
    assert shown(bench) == ["S-A", "S-B", "S-C", "X-1"]
    assert {serial for serial, device in bench.roster.all() if device.listed} == {"X-1", "S-A"}


def test_a_list_waits_until_apple_has_told_once() -> None:
    bench = Bench()
    service = Devices(bench.store, bench.roster, Clock(), lambda: told(bench, "X-1"))
    assert b"X-1" in service.list(b"{}")
