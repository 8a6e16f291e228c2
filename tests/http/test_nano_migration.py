"""/nano/migration: the messages of a whole server, one after another."""

import plistlib
from pathlib import Path

import pytest

from micromdm_py.migration.micromdm import content
from micromdm_py.migration.nanomdm import checkins
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.storage.memory.store import MemoryStore
from tests.builders import NOW, TOPIC, Device, identity
from tests.http.bench import Bench, basic
from tests.migration.samples import SAMPLE, expected

NANO = basic("nanomdm")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def move(bench: Bench, message: dict[str, object], method: str = "PUT") -> int:
    return bench.ask(method, "/nano/migration", plistlib.dumps(message), key=NANO).status


def enroll(bench: Bench, udid: str = "UDID") -> None:
    assert (
        move(bench, {"MessageType": "Authenticate", "UDID": udid, "Topic": TOPIC, "SerialNumber": "S"}) == 200
    )
    message = {"MessageType": "TokenUpdate", "UDID": udid, "Topic": TOPIC, "Token": b"t", "PushMagic": "m"}
    assert move(bench, message, "POST") == 200


def test_an_enrollment_is_taken_over_and_bound_at_first_contact(bench: Bench) -> None:
    enroll(bench)
    record = bench.store.enrollment("UDID")
    assert (record.enrolled, record.serial_number, record.fingerprint) == (True, "S", b"")
    phone = Device(bench.store, "UDID", identity("its own"))
    phone.queue("c")
    assert phone.says("Idle") == "c"


def test_a_device_that_has_come_is_not_touched_any_more(bench: Bench) -> None:
    phone = Device(bench.store, "UDID", identity("its own")).enrolls()
    phone.queue("c")
    before = bench.store.enrollment("UDID")
    for kind in ("Authenticate", "TokenUpdate", "SetBootstrapToken"):
        assert move(bench, {"MessageType": kind, "UDID": "UDID", "Topic": TOPIC}) == 409
    assert move(bench, {"MessageType": "TokenUpdate", "UDID": "UDID", "UserID": "U", "Topic": TOPIC}) == 409
    assert bench.store.enrollment("UDID") == before
    assert phone.waiting() == ["c"]


def test_other_messages_are_refused(bench: Bench) -> None:
    enroll(bench)
    assert move(bench, {"MessageType": "CheckOut", "UDID": "UDID"}) == 400
    assert move(bench, {"MessageType": "TokenUpdate"}) == 400
    assert move(bench, {"MessageType": "Nonsense", "UDID": "UDID"}) == 400
    assert bench.ask("PUT", "/nano/migration", b"nonsense", key=NANO).status == 400
    assert move(bench, {"MessageType": "UserAuthenticate", "UDID": "UDID", "UserID": "U"}) == 200
    assert move(bench, {"MessageType": "SetBootstrapToken", "UDID": "NOBODY", "BootstrapToken": b"x"}) == 404
    assert bench.store.enrollment("UDID").enrolled


def test_only_administrators_may(bench: Bench) -> None:
    body = plistlib.dumps({"MessageType": "Authenticate", "UDID": "X", "Topic": TOPIC})
    for key in (None, basic("nanomdm", "wrong")):
        assert bench.ask("PUT", "/nano/migration", body, key=key).status == 401


def test_what_one_server_sends_the_other_takes(bench: Bench, tmp_path: Path) -> None:
    old, report = MemoryStore(), Report("")
    with OldDatabase(SAMPLE, report) as database:
        old.load(content(database, report, NOW), at=NOW)
    for message in checkins(old.content(), report):
        assert bench.ask("PUT", "/nano/migration", message.body, key=NANO).status == 200, message.name
    for name, want in expected()["buckets"]["mdm.PushInfo"].items():
        if old.enrollment(name).blocked or name.startswith("E9462BBF"):  # checked out
            continue
        target = bench.store.push_target(name)
        assert (target.token_hex, target.topic) == (want["token"], want["mdm_topic"])
        assert bench.store.enrollment(name).bootstrap_token == old.enrollment(name).bootstrap_token
