"""Queueing, viewing and clearing for administrators, on the memory store."""

import base64
import json
import logging
import plistlib
from typing import Any

import pytest

from micromdm_py.errors import Conflict, MalformedField, MalformedRequest
from micromdm_py.service.commands import Commands
from micromdm_py.storage.memory.store import MemoryStore
from tests import builders
from tests.builders import Device
from tests.fakes.clock import Clock

RAW = (
    b'<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Command</key><dict>'
    b"<key>RequestType</key><string>Whatever</string></dict>"
    b"<key>CommandUUID</key><string>raw-1</string></dict></plist>"
)
UUIDS = ("uuid-1", "uuid-2", "uuid-3")


class Bench:
    def __init__(self, *, strict: bool = False) -> None:
        self.store, self.clock, self.wakes = MemoryStore(), Clock(), 0
        self.service = Commands(
            self.store, strict=strict, wake=self._wake, now=self.clock, make_uuid=iter(UUIDS).__next__
        )

    def _wake(self) -> None:
        self.wakes += 1

    def queue(self, udid: str = "UDID-1", key: str = "", **fields: object) -> Any:
        body = {"udid": udid, "request_type": "ProfileList", **fields}
        return json.loads(self.service.queue_json(json.dumps(body).encode(), key=key).reply)["payload"]

    def waiting(self, udid: str = "UDID-1") -> list[str]:
        listed = json.loads(self.service.waiting(udid)).get("commands", [])
        return [one["uuid"] for one in listed]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_json_command_is_echoed_and_queued_as_property_list(bench: Bench) -> None:
    reply = bench.queue(request_type="DeviceInformation", queries=["UDID"], command_uuid="cmd-1")
    assert reply == {
        "command_uuid": "cmd-1",
        "command": {"request_type": "DeviceInformation", "queries": ["UDID"]},
    }
    (queued,) = bench.store.waiting("UDID-1")
    assert plistlib.loads(queued.payload) == {
        "CommandUUID": "cmd-1",
        "Command": {"RequestType": "DeviceInformation", "Queries": ["UDID"]},
    }


def test_a_command_without_uuid_gets_one(bench: Bench) -> None:
    assert bench.queue()["command_uuid"] == "uuid-1"
    assert bench.queue(command_uuid="  ")["command_uuid"] == "uuid-2"
    assert bench.waiting() == ["uuid-1", "uuid-2"]


def test_the_same_uuid_again_is_another_command(bench: Bench) -> None:
    bench.queue(command_uuid="same")
    bench.queue(command_uuid="same")
    assert bench.waiting() == ["same", "same"]


def test_a_raw_command_is_queued_byte_for_byte(bench: Bench) -> None:
    reply = json.loads(bench.service.queue_raw("UDID-1", RAW).reply)
    assert reply == {
        "payload": {
            "udid": "UDID-1",
            "command_uuid": "raw-1",
            "command": {"request_type": "Whatever"},
            "payload": base64.b64encode(RAW).decode(),
        }
    }
    assert [one.payload for one in bench.store.waiting("UDID-1")] == [RAW]


def test_a_raw_command_of_two_request_types_is_refused(bench: Bench) -> None:
    other = b"<key>RequestType</key><string>EraseDevice</string><key>RequestType</key>"
    with pytest.raises(MalformedField, match="twice"):
        bench.service.queue_raw("UDID-1", RAW.replace(b"<key>RequestType</key>", other))
    assert bench.waiting() == []


def test_what_waits_is_listed_in_order(bench: Bench) -> None:
    bench.queue(command_uuid="first")
    bench.service.queue_raw("UDID-1", RAW)
    assert bench.waiting() == ["first", "raw-1"]


def test_an_empty_queue_is_an_empty_object(bench: Bench) -> None:
    assert bench.service.waiting("NOPE") == b"{}\n"


def test_clearing_cancels_what_waits_and_an_unknown_id_is_no_error(bench: Bench) -> None:
    bench.queue()
    assert bench.service.clear("UDID-1") == b"{}\n"
    assert bench.waiting() == []
    assert bench.service.clear("NOPE") == b"{}\n"


def test_the_courier_is_woken_once_for_several_commands(bench: Bench) -> None:
    Device(bench.store).enrolls()
    bench.queue()
    bench.queue()
    assert bench.wakes == 1


def test_nobody_is_woken_for_a_device_that_cannot_be_pushed(bench: Bench) -> None:
    bench.queue()
    assert bench.wakes == 0


def test_the_same_key_brings_the_first_answer_and_queues_nothing(bench: Bench) -> None:
    first = bench.queue(key="job-1")
    assert bench.queue(key="job-1") == first
    assert bench.waiting() == [first["command_uuid"]]


def test_a_key_counts_for_one_device(bench: Bench) -> None:
    bench.queue("UDID-1", key="job-1")
    bench.queue("UDID-2", key="job-1")
    assert len(bench.waiting("UDID-1")) == len(bench.waiting("UDID-2")) == 1


def test_a_key_counts_for_one_kind_of_request(bench: Bench) -> None:
    bench.queue(key="job-1")
    bench.service.queue_raw("UDID-1", RAW, key="job-1")
    bench.service.queue_raw("UDID-1", RAW, key="job-1")
    assert bench.waiting() == ["uuid-1", "raw-1"]


def test_a_key_is_forgotten_after_a_day(bench: Bench) -> None:
    bench.queue(key="job-1")
    bench.clock.move(24 * 3600 + 1)
    bench.queue(key="job-1")
    assert len(bench.waiting()) == 2


def test_a_key_of_128_characters_is_the_longest(bench: Bench) -> None:
    bench.queue(key="k" * 128)
    with pytest.raises(MalformedField, match="Idempotency-Key"):
        bench.queue(key="k" * 129)


def test_a_refused_request_does_not_use_its_key_up(bench: Bench) -> None:
    with pytest.raises(MalformedRequest):
        bench.queue(request_type="Nope", key="job-1")
    bench.queue(key="job-1")
    assert len(bench.waiting()) == 1


@pytest.mark.parametrize(
    ("udid", "reason"),
    [
        ("", "must not be empty"),
        ("x" * 256, "longer"),
        ("é" * 128, "longer"),
        ("a\x00b", "control"),
        ("a\x9fb", "control"),
        ("a:b\n", "control"),
        ("a:", "must not be empty"),
    ],
)
def test_ids_that_cannot_be_are_refused_everywhere(bench: Bench, udid: str, reason: str) -> None:
    for act in (bench.service.waiting, bench.service.clear, lambda one: bench.service.queue_raw(one, RAW)):
        with pytest.raises(MalformedField, match=f"udid: .*{reason}"):
            act(udid)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"request_type": "ProfileList"}', b'{"udid": "U"}', b"\xff"]
)
def test_json_that_is_no_command_is_refused(bench: Bench, body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        bench.service.queue_json(body)
    assert bench.waiting("U") == []


def test_data_after_the_command_is_refused(bench: Bench) -> None:
    with pytest.raises(MalformedRequest):
        bench.service.queue_json(b'{"udid": "U", "request_type": "ProfileList"} {}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"a": 1}',
        b"bplist00",
        RAW + b"x",
        RAW.replace(b"raw-1", b""),
        RAW.replace(b"Whatever", b""),
        RAW.replace(b"<key>Command</key>", b"<key>Other</key>"),
        RAW[:-10],
    ],
)
def test_bytes_that_are_no_command_are_refused(bench: Bench, body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        bench.service.queue_raw("UDID-1", body)
    assert bench.waiting() == []


def test_a_user_id_names_its_channel_while_one_device_has_it(bench: Bench) -> None:
    Device(bench.store, builders.user("UDID-1", "USER-1")).updates_token()
    bench.queue("USER-1")
    assert bench.waiting("UDID-1:USER-1") == bench.waiting("USER-1") == ["uuid-1"]
    Device(bench.store, builders.user("UDID-2", "USER-1")).updates_token()
    with pytest.raises(Conflict, match="UDID-2:USER-1"):
        bench.queue("USER-1")


def test_fields_that_are_not_known_are_named_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bench.queue(colour="red")
    assert "colour" in caplog.text


def test_strict_refuses_what_the_schema_does_not_know() -> None:
    for bench, strict in ((Bench(), True), (Bench(strict=True), False)):
        with pytest.raises(MalformedField):
            body = {"udid": "U", "request_type": "ProfileList", "colour": "red"}
            bench.service.queue_json(json.dumps(body).encode(), strict=strict)
