"""The contract of `storage.base.Transfer`: what goes in is there, works, and comes out again."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from micromdm_py.errors import IdentityMismatch, Unenroll
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.base import Store
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import DeviceFilter, EnrollmentRecord, PushCertificate
from micromdm_py.storage.transfer import (
    Moved,
    MovedAuthority,
    MovedCertificate,
    MovedChallenge,
    MovedCommand,
    MovedDocument,
    MovedEnrollment,
    MovedPush,
)
from tests.builders import NOW, TOPIC, Device, command, device, identity, user, user_enrollment
from tests.storage.backends import open_lmdb

LATER = NOW + timedelta(hours=1)
CERTIFICATE = b"certificate of a device"
UDID = "MOVED-1"


def moved(uuid: str, state: CommandState = CommandState.PENDING) -> MovedCommand:
    done = state is CommandState.ACKNOWLEDGED
    return MovedCommand(command(uuid), state, NOW, NOW if done else None, b"report" if done else b"")


DEVICE = MovedEnrollment(
    EnrollmentRecord(
        UDID,
        "",
        EnrollmentKind.DEVICE,
        UDID,
        UDID,
        facts={"serial_number": "S1", "model": "Mac"},
        enrolled=True,
        listed=True,
        awaiting_configuration=True,
        dep_profile_status="assigned",
        unlock_token=b"\0unlock",
        bootstrap_token=b"\0bootstrap",
        fingerprint=identity("moved").fingerprint,
        last_seen_at=NOW,
    ),
    MovedPush("aa" * 32, "magic", TOPIC, due=True),
    (
        moved("done", CommandState.ACKNOWLEDGED),
        moved("failed", CommandState.ERROR),
        moved("out", CommandState.AWAITING),
        moved("same"),
        moved("same"),
        moved("refused first", CommandState.TRIED),
        moved("refused", CommandState.TRIED),
    ),
)
USER = MovedEnrollment(
    EnrollmentRecord(f"{UDID}:U1", "", EnrollmentKind.USER, UDID, UDID, "U1", "short", "long"),
    MovedPush("bb", "magic", TOPIC),
    (moved("for the user"),),
)
BYOD = MovedEnrollment(
    EnrollmentRecord("E1", "", EnrollmentKind.USER_ENROLLMENT, "E1"), None, (moved("byod"),)
)
BLOCKED = MovedEnrollment(EnrollmentRecord("B1", "", None, "B1", blocked=True))
PUSH = [PushCertificate(topic, b"cert", b"key", NOW) for topic in (TOPIC + "-old", TOPIC)]
CONTENT: list[Moved] = [
    DEVICE,
    USER,
    BYOD,
    BLOCKED,
    MovedAuthority(b"ca", b"key", 77),
    MovedCertificate(CERTIFICATE, 76, "Büro", NOW),
    *PUSH,
    MovedDocument("profile", "com.example.wifi", b"<plist/>"),
]


@pytest.fixture(params=["memory", "lmdb"])
def empty(request: pytest.FixtureRequest, lmdb_path: Path) -> Iterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else open_lmdb(lmdb_path)
    yield store
    store.close()


@pytest.fixture
def loaded(empty: Store) -> Store:
    empty.load([*CONTENT, MovedChallenge("once")], at=LATER)
    return empty


def plain(content: Moved) -> Moved:
    """Without the id that each store gives for itself."""
    if isinstance(content, MovedEnrollment):
        return replace(content, record=replace(content.record, target_id=""))
    return content


def test_content_comes_out_as_it_went_in(loaded: Store) -> None:
    found = [plain(one) for one in loaded.content()]
    assert sorted(map(repr, found)) == sorted(map(repr, CONTENT))
    assert [one for one in found if isinstance(one, PushCertificate)] == PUSH


def test_content_goes_from_backend_to_backend(loaded: Store, scratch: Path) -> None:
    for other in (MemoryStore(), open_lmdb(scratch / "other")):
        other.load(loaded.content(), at=LATER)
        assert sorted(map(repr, map(plain, other.content()))) == sorted(map(repr, CONTENT))
        other.close()


def test_commands_are_offered_in_their_order(loaded: Store) -> None:
    phone = Device(loaded, device(UDID), identity("moved"))
    assert phone.run(*["Acknowledged"] * 5) == ["out", "same", "same", "refused first", "refused", ""]
    assert Device(loaded, user(UDID, "U1"), identity("moved")).run("Acknowledged") == ["for the user", ""]


def test_what_is_done_stays_done(loaded: Store) -> None:
    done, failed = loaded.command(UDID, "done"), loaded.command(UDID, "failed")
    assert (done.state, done.created_at, done.received_at) == (CommandState.ACKNOWLEDGED, NOW, NOW)
    assert done.has_report
    assert loaded.report_of(UDID, "done") == b"report"
    assert (failed.state, failed.received_at) == (CommandState.ERROR, None)
    assert loaded.command(UDID, done.command_id) == done
    assert len({loaded.command(UDID, uuid).command_id for uuid in ("done", "failed", "out", "same")}) == 4


def test_commands_queued_afterwards_come_before_refused_ones(loaded: Store) -> None:
    phone = Device(loaded, device(UDID), identity("moved"))
    phone.queue("new")
    assert phone.run(*["Acknowledged"] * 6)[3:] == ["new", "refused first", "refused", ""]


def test_certificates_stay_bound(loaded: Store) -> None:
    with pytest.raises(IdentityMismatch):
        Device(loaded, device(UDID), identity("another")).says("Idle")
    with pytest.raises(IdentityMismatch):
        Device(loaded, device("E1"), identity("any")).says("Idle")
    byod = Device(loaded, user_enrollment("E1"), identity("any"))
    assert byod.says("Idle") == "byod"
    with pytest.raises(IdentityMismatch):
        Device(loaded, user_enrollment("E1"), identity("another")).says("Idle")


def test_blocked_devices_stay_blocked(loaded: Store) -> None:
    with pytest.raises(Unenroll):
        Device(loaded, device("B1"), identity("B1")).says("Idle")


def test_pushes_are_made_for_what_is_due(loaded: Store) -> None:
    due, later = loaded.due_pushes(at=LATER, limit=10)
    assert [one.target.enrollment_id for one in due] == [UDID]
    assert later is None
    assert loaded.push_target("U1").token_hex == "bb"
    assert loaded.push_certificate() == PUSH[1]
    assert loaded.enrolled_topics() == {TOPIC: 1}


def test_a_user_channel_without_its_device_finds_it_when_the_user_comes(empty: Store) -> None:
    left, other = (EnrollmentRecord(name, "", None, name) for name in ("USER", "OTHER"))
    push, waiting = MovedPush("cc" * 32, "user magic", TOPIC), (moved("left"),)
    empty.load([MovedEnrollment(replace(left, user_id="USER"), push, waiting)], at=LATER)
    empty.load([DEVICE, MovedEnrollment(other, None, waiting)], at=LATER)
    empty.enqueue("USER", command("later"), at=LATER)
    assert [one.command_uuid for one in empty.waiting("USER")] == ["left", "later"]
    mac = Device(empty, user(UDID, "USER"), identity("moved"))
    assert mac.run(*["Acknowledged"] * 2) == ["left", "later", ""]
    found = empty.enrollment(f"{UDID}:USER")
    assert (found.kind, found.device_id, found.user_id) == (EnrollmentKind.USER, UDID, "USER")
    assert empty.enrollment("USER") == found
    assert empty.push_target(f"{UDID}:USER").push_magic == "user magic"
    assert Device(empty, user("ANOTHER", "USER"), identity("B")).run() == [""]
    assert Device(empty, user(UDID, "OTHER"), identity("moved")).run() == [""]


def test_devices_are_found_by_serial_number_and_by_user(loaded: Store) -> None:
    assert [one.udid for one in loaded.devices(DeviceFilter(serials=("S1",)))] == [UDID]
    assert loaded.enrollment("U1").enrollment_id == f"{UDID}:U1"
    loaded.remove_devices(["S1"], purge=False, at=LATER)
    assert loaded.devices(DeviceFilter(serials=("S1",))) == []


def test_the_authority_goes_on(loaded: Store) -> None:
    assert loaded.authority() == (b"ca", b"key")
    assert loaded.is_issued(hashlib.sha256(CERTIFICATE).digest())
    serials: list[int] = []
    loaded.issue(lambda serial: serials.append(serial) or b"new", "new", at=LATER)  # type: ignore[func-returns-value]
    assert serials == [77]
    assert loaded.take_challenge("once")
    assert not loaded.take_challenge("once")


def test_a_device_that_was_not_enrolled_is_fresh_again(empty: Store) -> None:
    record = replace(DEVICE.record, enrolled=False)
    empty.load([MovedEnrollment(record)], at=LATER)
    phone = Device(empty, device(UDID), identity("moved"))
    assert phone.updates_token()
    assert not phone.updates_token()


def test_an_enrolled_device_without_push_data_has_no_topic(empty: Store) -> None:
    empty.load([DEVICE, MovedEnrollment(replace(BYOD.record, enrolled=True, listed=True))], at=LATER)
    assert empty.enrolled_topics() == {TOPIC: 1, "": 1}


def test_a_store_is_empty_until_something_is_in_it(empty: Store) -> None:
    assert empty.is_empty()
    empty.create_authority(b"ca", b"key")
    assert empty.is_empty()
    for one in (BLOCKED, CONTENT[5], PUSH[0], CONTENT[-1]):
        other: Store = MemoryStore()
        other.load([one], at=LATER)
        assert not other.is_empty()
    empty.enqueue("X", command("c"), at=NOW)
    assert not empty.is_empty()


def test_many_enrollments_take_several_commits(empty: Store) -> None:
    many = [
        MovedEnrollment(EnrollmentRecord(f"D{n:05}", "", None, f"D{n:05}"), None, (moved(f"c{n}"),) * 3)
        for n in range(1500)
    ]
    empty.load(many, at=LATER)
    assert sum(isinstance(one, MovedEnrollment) for one in empty.content()) == len(many)
    assert [one.command_uuid for one in empty.waiting("D01499")] == ["c1499"] * 3
