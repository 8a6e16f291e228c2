"""The way back: what was imported comes out as the original wrote it, and what happened since with it."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from micromdm_py.migration.export import export
from micromdm_py.migration.messages import NEVER, OldDevice, OldQueue, OldUser, decode
from micromdm_py.migration.micromdm import content
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule, EnrollmentRecord, Identity
from micromdm_py.storage.transfer import Moved, MovedCommand, MovedEnrollment, MovedPush
from tests.builders import NOW, TOPIC, Device, command, device
from tests.migration.samples import SAMPLE, expected, read, sample

UNCHANGED = (
    "mdm.Blueprint",
    "mdm.BlueprintIdx",
    "mdm.Profile",
    "mdm.PushInfo",
    "mdm.RemoveDevice",
    "mdm.ServerConfig",
    "mdm.UDIDCertAuth",
    "mdm.UserIdx",
    "mdm.Users",
    "scep_certificates",
)
PINS = expected()["buckets"]["mdm.UDIDCertAuth"]
MAC = "DD59209E-AB89-4C13-8679-0139C8EA7C5C"
"""Has four commands waiting, two of them put off with NotNow."""


def imported(path: Path = SAMPLE) -> MemoryStore:
    report, store = Report(""), MemoryStore()
    with OldDatabase(path, report) as old:
        store.load(content(old, report, NOW), at=NOW)
    return store


def exported(pieces: list[Moved], tmp_path: Path, page_size: int = 4096) -> tuple[Path, Report]:
    out, report = io.BytesIO(), Report("")
    export(pieces, out, report, page_size=page_size)
    path = tmp_path / "back.db"
    path.write_bytes(out.getvalue())
    return path, report


def rows(path: Path) -> dict[str, dict[str, bytes]]:
    return {
        name.decode(): {key.decode("utf-8", "surrogateescape"): value for key, value in found.items()}  # type: ignore[misc]
        for name, found in read(path).items()
    }


def without_fractions(queue: OldQueue) -> OldQueue:
    """A store keeps milliseconds."""
    done = [replace(one, acknowledged=one.acknowledged // 1_000_000) for one in queue.completed]
    return replace(queue, completed=tuple(done))


@pytest.mark.parametrize("page_size", [4096, 16384])
def test_what_was_imported_comes_out_as_it_was(tmp_path: Path, page_size: int) -> None:
    path, report = exported(list(imported().content()), tmp_path, page_size)
    old, new = rows(SAMPLE), rows(path)
    for name in UNCHANGED:
        assert new[name] == old[name]
    for key, value in old["mdm.DeviceCommands"].items():
        want, got = (decode(OldQueue, one) for one in (value, new["mdm.DeviceCommands"][key]))
        assert without_fractions(got) == without_fractions(want)
    assert new["mdm.DeviceCommands"].keys() == old["mdm.DeviceCommands"].keys()
    assert report.lossless


def devices(path: Path) -> dict[str, OldDevice]:
    found = (decode(OldDevice, value) for value in rows(path)["mdm.Devices"].values())
    return {one.udid or one.serial_number: one for one in found}


def test_device_records_come_out_as_they_were(tmp_path: Path) -> None:
    """But for the keys of the records, which nobody outside knows, and for fractions of a millisecond."""
    path, _ = exported(list(imported().content()), tmp_path)
    old, new = devices(SAMPLE), devices(path)
    assert new.keys() == old.keys()
    for name, want in old.items():
        got, never_assigned = new[name], want.dep_profile_assign_time <= 0
        assert abs(got.last_seen - want.last_seen) < 1_000_000
        times = ("assign_time", "assigned_date")
        unset = {f"dep_profile_{time}": 0 for time in times if never_assigned} | {"uuid": "", "last_seen": 0}
        assert replace(got, **unset) == replace(want, **unset)
        assert rows(path)["mdm.DeviceIdx"][name] == got.uuid.encode()


def test_tokens_and_keys_of_automated_enrollment_come_out_as_they_were(tmp_path: Path) -> None:
    path, _ = exported(list(imported().content()), tmp_path)
    old, new = rows(SAMPLE), rows(path)
    assert new["mdm.DEPAutoAssign"] == old["mdm.DEPAutoAssign"]
    assert new["mdm.DEPToken"].keys() == old["mdm.DEPToken"].keys()
    for key, value in old["mdm.DEPToken"].items():
        if key.startswith("CK_"):
            assert json.loads(new["mdm.DEPToken"][key]) == json.loads(value)
        else:
            assert new["mdm.DEPToken"][key] == value


def test_an_export_is_imported_again(tmp_path: Path) -> None:
    path, _ = exported(list(imported().content()), tmp_path)
    again, _ = exported(list(imported(path).content()), tmp_path)
    assert rows(again) == rows(path)


def test_what_has_happened_since_is_in_the_export(tmp_path: Path) -> None:
    store = imported()
    mac = Device(store, device(MAC), Identity(bytes.fromhex(PINS[MAC]), BindingRule()))
    before = [one.command_uuid for one in store.waiting(MAC)]
    mac.queue("new")
    first = mac.says("Idle")
    second = mac.says("Acknowledged", first or "")
    mac.says("NotNow", second or "")
    path, _ = exported(list(store.content()), tmp_path)
    queue = decode(OldQueue, rows(path)["mdm.DeviceCommands"][MAC])
    assert [one.uuid for one in queue.completed][-1] == first
    waiting = [one.uuid for one in (*queue.commands, *queue.not_now)]
    assert sorted([*waiting, first]) == sorted([*before, "new"])
    assert "new" in [one.uuid for one in queue.commands]


def test_a_user_channel_without_a_user_record_gets_one(tmp_path: Path) -> None:
    path, _ = exported([USER_CHANNEL], tmp_path)
    (user,) = [decode(OldUser, value) for value in rows(path)["mdm.Users"].values()]
    assert (user.udid, user.user_id, user.user_shortname, user.auth_token) == ("A", "U", "short", "aa")
    assert rows(path)["mdm.UserIdx"] == {"U": user.uuid.encode(), "A": user.uuid.encode()}


USER_CHANNEL = MovedEnrollment(
    EnrollmentRecord("A:U", "", EnrollmentKind.USER, "A", "A", "U", "short"), MovedPush("aa", "m", TOPIC)
)


def test_a_user_channel_without_its_device_comes_out_as_it_was(tmp_path: Path) -> None:
    record = EnrollmentRecord("USER", "", None, "USER", user_id="USER")
    waiting = (MovedCommand(command("left"), CommandState.PENDING, NOW),)
    path, report = exported([MovedEnrollment(record, MovedPush("aa", "magic", TOPIC), waiting)], tmp_path)
    assert report.lossless
    found = [one for one in imported(path).content() if isinstance(one, MovedEnrollment)]
    assert [(one.record.enrollment_id, one.record.kind, one.record.user_id) for one in found] == [
        ("USER", None, "USER")
    ]
    assert [one.entry.command_uuid for one in found[0].commands] == ["left"]


def test_withdrawn_commands_are_left_out(tmp_path: Path) -> None:
    store = MemoryStore()
    Device(store, "UDID").queue("one", "two")
    store.clear("UDID", at=NOW)
    path, report = exported(list(store.content()), tmp_path)
    queue = decode(OldQueue, rows(path)["mdm.DeviceCommands"]["UDID"])
    assert queue == OldQueue("UDID")
    assert report.lossless


def test_what_the_old_server_cannot_tell_apart_is_lost(tmp_path: Path) -> None:
    waiting = (MovedCommand(command("c"), CommandState.PENDING, NOW),)
    users: list[Moved] = [
        MovedEnrollment(
            EnrollmentRecord(f"{udid}:U", "", EnrollmentKind.USER, udid, udid, "U"),
            MovedPush("aa", "m", TOPIC),
            waiting,
        )
        for udid in ("A", "B")
    ]
    byod = EnrollmentRecord("E:U", "", EnrollmentKind.USER_ENROLLMENT_USER, "E", "", "U")
    path, report = exported([*users, MovedEnrollment(byod, None, waiting)], tmp_path)
    assert [key for key, _ in report.buckets["mdm.DeviceCommands"].lost] == ["B:U", "E:U"]
    assert not report.lossless
    assert list(rows(path)["mdm.PushInfo"]) == ["U"]


def test_times_are_nanoseconds_or_never(tmp_path: Path) -> None:
    store = MemoryStore()
    phone = Device(store, "UDID").enrolls()
    phone.queue("done", "open")
    phone.run("Acknowledged")
    seen = store.enrollment("UDID").last_seen_at
    path, _ = exported(list(store.content()), tmp_path)
    queue = decode(OldQueue, rows(path)["mdm.DeviceCommands"]["UDID"])
    found = decode(OldDevice, next(iter(rows(path)["mdm.Devices"].values())))
    assert seen is not None
    assert abs(found.last_seen - seen.timestamp() * 1e9) < 1000
    assert abs(queue.completed[0].acknowledged - (seen - timedelta(0)).timestamp() * 1e9) < 1000
    assert queue.commands[0].acknowledged == NEVER


def test_an_empty_store_makes_the_buckets_that_the_old_server_makes(tmp_path: Path) -> None:
    path, _ = exported([], tmp_path)
    assert {name.encode() for name in rows(path)} == sample().keys() - {b"mdm.DEPToken"}
