"""Command records: lists, cancelling, superseding, expiry, retention, timelines, and names of targets."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from micromdm_py.errors import CommandDone, Conflict, MalformedField, NotFound
from micromdm_py.protocol.lifecycle import FINAL_STATES, OPEN_STATES, CommandState
from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb import history
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.records import CommandFilter, NewEntry, PushOutcome
from micromdm_py.storage.timeline import MAX_ENTRIES
from tests.builders import NOW, SHARED, Device, command, device, report, user
from tests.storage.observing import contents

HOUR = timedelta(hours=1)


def queue(phone: Device, uuid: str, at: datetime = NOW, **extra: object) -> str:
    """Queue a command with something special; returns its id."""
    entry: NewEntry = replace(command(uuid), **extra)  # type: ignore[arg-type]  # names are fields
    return phone.store.enqueue(phone.id, entry, at=at).command_id


def listed(phone: Device, **wanted: object) -> list[str]:
    """The uuids of all pages."""
    found, cursor = [], ""
    while True:
        page = phone.store.commands(phone.id, CommandFilter(cursor=cursor, **wanted))  # type: ignore[arg-type]
        found += [one.command_uuid for one in page.records]
        cursor = page.next
        if not cursor:
            return found


def steps(phone: Device, uuid: str) -> list[tuple[str, str, str]]:
    return [(one.name, one.detail, one.request_id) for one in phone.record(uuid).timeline]


# --- lists ---


def test_records_are_listed_newest_first_in_pages(phone: Device) -> None:
    uuids = [f"c{number}" for number in range(10)]
    phone.queue(*uuids)
    for limit in (1, 3, 10, 1000):
        assert listed(phone, limit=limit) == uuids[::-1]


def test_page_that_was_read_does_not_move_when_more_is_queued(phone: Device) -> None:
    phone.queue("c1", "c2", "c3")
    page = phone.store.commands(phone.id, CommandFilter(limit=1))
    phone.queue("c4")
    page = phone.store.commands(phone.id, CommandFilter(cursor=page.next))
    assert [one.command_uuid for one in page.records] == ["c2", "c1"]


def test_each_filter_finds_what_it_names(phone: Device) -> None:
    phone.store.enqueue(phone.id, command("a", "ProfileList", "sync"), at=NOW)
    phone.store.enqueue(phone.id, command("b", "SecurityInfo"), at=NOW + HOUR)
    queue(phone, "c", NOW + 2 * HOUR, group="g")
    assert phone.says("Idle") == "a"
    assert listed(phone, states=frozenset({CommandState.AWAITING})) == ["a"]
    assert listed(phone, states=frozenset({CommandState.PENDING, CommandState.AWAITING})) == ["c", "b", "a"]
    assert listed(phone, request_types=frozenset({"SecurityInfo"})) == ["b"]
    assert listed(phone, origins=frozenset({"sync"})) == ["a"]
    assert listed(phone, groups=frozenset({"g"})) == ["c"]
    assert listed(phone, groups=frozenset({"ProfileList"})) == ["a"]
    assert listed(phone, since=NOW + HOUR) == ["c", "b"]
    assert listed(phone, until=NOW + HOUR) == ["b", "a"]
    assert listed(phone, since=NOW + HOUR, until=NOW + HOUR) == ["b"]
    assert listed(phone, states=frozenset({CommandState.ERROR})) == []


def test_records_of_other_enrollments_are_not_listed(store: Store, phone: Device) -> None:
    phone.queue("c1")
    Device(store, "UDID-10").queue("c2")
    Device(store, "UDID-0").queue("c3")
    assert listed(phone) == ["c1"]
    with pytest.raises(NotFound):
        store.commands("nobody", CommandFilter())


@pytest.mark.parametrize("cursor", ["x", "00", "0" * 15, "0" * 18, "\u0660" * 16, " " * 16, "zz" * 8])
def test_cursor_of_somebody_else_is_refused(phone: Device, cursor: str) -> None:
    phone.queue("c1")
    with pytest.raises(MalformedField, match="cursor"):
        phone.store.commands(phone.id, CommandFilter(cursor=cursor))


def test_long_history_that_fits_nothing_is_looked_at_in_bounds(lmdb: LmdbStore) -> None:
    phone = Device(lmdb)
    phone.queue("first", *["c"] * history.MAX_LOOKED_AT)
    rare = replace(CommandFilter(), groups=frozenset({"rare"}))
    page = lmdb.commands(phone.id, rare)
    assert page.records == []
    assert page.next
    assert lmdb.commands(phone.id, replace(rare, cursor=page.next)).next == ""


def test_what_waits_is_found_below_a_long_history(lmdb: LmdbStore) -> None:
    phone = Device(lmdb)
    phone.queue("waits", "waits too", *["c"] * history.MAX_LOOKED_AT)
    for one in lmdb.commands(phone.id, CommandFilter(limit=history.MAX_LOOKED_AT)).records:
        lmdb.cancel(phone.id, one.command_id, at=NOW)
    page = lmdb.commands(phone.id, CommandFilter(states=OPEN_STATES, limit=1))
    assert [one.command_uuid for one in page.records] == ["waits too"]
    page = lmdb.commands(phone.id, CommandFilter(states=OPEN_STATES, cursor=page.next))
    assert ([one.command_uuid for one in page.records], page.next) == (["waits"], "")


def test_bodies_come_with_payload_and_answer(phone: Device) -> None:
    queued = [one.command_id for one in phone.queue("c1", "c2")]
    phone.run("Acknowledged")
    bodies = phone.store.command_bodies([*queued, "f" * 24])
    assert bodies == [(b"<plist>c1</plist>", b"<Acknowledged c1>"), (b"<plist>c2</plist>", b""), (b"", b"")]


# --- cancelling ---


def test_open_command_is_cancelled_in_every_state(phone: Device) -> None:
    phone.queue("refused", "out", "waits")
    phone.says("Idle")
    phone.says("NotNow", "refused")
    for uuid, state in (("refused", "Tried"), ("out", "Awaiting"), ("waits", "Pending")):
        assert phone.state(uuid) == state
        record = phone.store.cancel(phone.id, uuid, at=NOW + HOUR, request_id="r1")
        assert (record.state, record.canceled_at) == (CommandState.CANCEL, NOW + HOUR)
        assert record == phone.record(uuid)
        assert steps(phone, uuid)[-1] == ("withdrawn", "Cancel", "r1")
    assert phone.waiting() == []
    assert phone.says("Idle") is None


def test_cancelled_one_of_one_uuid_is_the_one_that_was_named(phone: Device) -> None:
    first, second = phone.queue("same", "same")
    phone.store.cancel(phone.id, first.command_id, at=NOW)
    assert phone.record(first.command_id).state is CommandState.CANCEL
    assert phone.run("Acknowledged") == ["same", ""]
    assert phone.record(second.command_id).state is CommandState.ACKNOWLEDGED


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_final_command_is_not_cancelled(phone: Device, state: CommandState) -> None:
    queue(phone, "c1", expires_at=NOW + HOUR)
    if state in ("Acknowledged", "Error", "CommandFormatError"):
        phone.run(state)
    elif state is CommandState.CANCEL:
        phone.store.clear(phone.id, at=NOW)
    elif state is CommandState.SUPERSEDED:
        queue(phone, "c2", supersede=True)
    else:
        phone.store.expire_commands(at=NOW + HOUR, limit=1)
    before = contents(phone.store)
    with pytest.raises(CommandDone, match=f"command c1 is {state}"):
        phone.store.cancel(phone.id, "c1", at=NOW)
    assert contents(phone.store) == before


def test_unknown_command_is_not_cancelled(store: Store, phone: Device) -> None:
    (queued,) = phone.queue("c1")
    Device(store, "UDID-2").queue("c2")
    for target, name in ((phone.id, "c9"), ("UDID-2", queued.command_id), ("nobody", "c1")):
        with pytest.raises(NotFound):
            store.cancel(target, name, at=NOW)


def test_late_answer_beats_cancel_and_the_second_one_changes_nothing(phone: Device) -> None:
    phone.queue("c1")
    phone.says("Idle")
    phone.store.cancel(phone.id, "c1", at=NOW)
    phone.says("Error", "c1")
    record = phone.record("c1")
    assert (record.state, record.has_report) == (CommandState.ERROR, True)
    assert record.received_at
    assert record.canceled_at == NOW
    phone.says("Acknowledged", "c1")
    phone.says("Error", "c1")
    assert phone.record("c1") == record


# --- superseding ---


def test_command_that_supersedes_replaces_what_is_open_of_its_group(phone: Device) -> None:
    queue(phone, "done", group="g")
    phone.run("Acknowledged")
    for uuid in ("refused", "out", "waits"):
        queue(phone, uuid, group="g")
    queue(phone, "other", group="h")
    queue(phone, "bare")
    phone.says("Idle")
    phone.says("NotNow", "refused")
    queue(phone, "new", NOW + HOUR, group="g", supersede=True)
    states = {uuid: phone.state(uuid) for uuid in ("done", "refused", "out", "waits", "other", "bare", "new")}
    assert states == {
        "done": "Acknowledged",
        "refused": "Superseded",
        "out": "Superseded",
        "waits": "Superseded",
        "other": "Pending",
        "bare": "Pending",
        "new": "Pending",
    }
    assert phone.record("waits").canceled_at == NOW + HOUR
    assert phone.waiting() == ["other", "bare", "new"]


def test_without_a_group_the_request_type_is_the_group(store: Store, phone: Device) -> None:
    other = Device(store, "UDID-2")
    other.queue("elsewhere")
    phone.queue("c1")
    store.enqueue(phone.id, command("c2", "SecurityInfo"), at=NOW)
    queue(phone, "c3", supersede=True)
    assert phone.waiting() == ["c2", "c3"]
    assert other.waiting() == ["elsewhere"]
    assert phone.record("c3").group == "ProfileList"


def test_late_answer_to_a_superseded_command_is_kept_and_changes_no_state(phone: Device) -> None:
    queue(phone, "c1")
    phone.says("Idle")
    queue(phone, "c2", supersede=True)
    assert phone.says("Acknowledged", "c1") == "c2"
    record = phone.record("c1")
    assert (record.state, record.has_report) == (CommandState.SUPERSEDED, True)
    assert record.received_at
    assert phone.store.report_of(phone.id, "c1") == b"<Acknowledged c1>"


# --- expiry ---


def test_expired_command_is_never_handed_out(phone: Device) -> None:
    queue(phone, "c1", expires_at=phone.clock.now + timedelta(seconds=2))
    queue(phone, "c2", expires_at=phone.clock.now + HOUR)
    queue(phone, "c3")
    assert phone.says("Idle") == "c1"
    assert phone.says("Idle") == "c2"
    assert phone.state("c1") == "ProtectionCanceled"
    assert phone.record("c1").canceled_at == phone.clock.now
    phone.clock.move(3600)
    assert phone.says("Idle") == "c3"
    assert steps(phone, "c2")[-1] == ("withdrawn", "ProtectionCanceled", "")
    phone.says("Acknowledged", "c3")
    assert phone.says("Idle") is None


def test_expired_commands_are_withdrawn_in_batches_oldest_first(store: Store, phone: Device) -> None:
    other = Device(store, "UDID-2")
    queue(phone, "late", expires_at=NOW + 2 * HOUR)
    queue(other, "early", expires_at=NOW + HOUR)
    queue(phone, "never")
    queue(phone, "last", expires_at=NOW + 3 * HOUR)
    assert store.expire_commands(at=NOW + HOUR - timedelta(seconds=1), limit=9) == 0
    assert store.expire_commands(at=NOW + 2 * HOUR, limit=1) == 1
    assert (other.state("early"), phone.state("late")) == ("ProtectionCanceled", "Pending")
    assert store.expire_commands(at=NOW + 2 * HOUR, limit=9) == 1
    assert store.expire_commands(at=NOW + 2 * HOUR, limit=9) == 0
    assert phone.waiting() == ["never", "last"]


def test_command_that_was_answered_in_time_does_not_expire(store: Store, phone: Device) -> None:
    queue(phone, "c1", expires_at=phone.clock.now + HOUR)
    phone.run("Acknowledged")
    assert store.expire_commands(at=NOW + 9 * HOUR, limit=9) == 0
    assert phone.state("c1") == "Acknowledged"


# --- retention ---


def test_done_commands_are_forgotten_and_open_ones_stay(store: Store, phone: Device) -> None:
    empty = contents(store)
    phone.queue("c1", "c2", "c3", "open")
    phone.run("Acknowledged", "Error")
    phone.store.cancel(phone.id, "c3", at=phone.clock.move(1))
    assert store.forget_commands(before=phone.clock.now - HOUR, limit=9) == 0
    assert store.forget_commands(before=phone.clock.now + HOUR, limit=2) == 2
    assert listed(phone) == ["open", "c3"]
    assert store.forget_commands(before=phone.clock.now + HOUR, limit=9) == 1
    assert store.forget_commands(before=phone.clock.now + HOUR, limit=9) == 0
    with pytest.raises(NotFound):
        phone.record("c1")
    assert phone.says("Acknowledged", "c1") == "open"
    phone.says("Acknowledged", "open")
    store.forget_commands(before=phone.clock.now + HOUR, limit=9)
    if isinstance(store, LmdbStore):
        left = contents(store)
        for table in ("payload", "report", "done", "expiry"):
            assert left[table] == empty[table]


def test_command_done_exactly_then_is_kept(store: Store, phone: Device) -> None:
    phone.queue("c1")
    store.cancel(phone.id, "c1", at=NOW)
    assert store.forget_commands(before=NOW, limit=9) == 0
    assert store.forget_commands(before=NOW + timedelta(milliseconds=1), limit=9) == 1


# --- timeline ---


def test_timeline_tells_every_step(store: Store, phone: Device) -> None:
    phone.enrolls()
    queue(phone, "c1", phone.clock.move(1), request_id="r1")
    (due,), _ = store.due_pushes(at=phone.clock.now, limit=1)
    for accepted, said in ((False, "timeout"), (False, "timeout"), (True, ""), (True, "")):
        store.record_push(due, PushOutcome(phone.clock.move(1), accepted, "apns-1" if accepted else "", said))
    for number, status in enumerate(("Idle", "NotNow", "Idle", "Acknowledged", "Acknowledged")):
        message = report(phone.ref, status, "" if status == "Idle" else "c1")
        store.record_report(message, phone.who, None, at=phone.clock.move(1), request_id=f"d{number}")
    assert steps(phone, "c1") == [
        ("accepted", "", "r1"),
        ("stored", "", "r1"),
        ("push failed", "timeout", ""),
        ("pushed", "apns-1", ""),
        ("connected", "Idle", "d0"),
        ("handed out", "", "d0"),
        ("answered", "NotNow", "d1"),
        ("connected", "Idle", "d2"),
        ("handed out", "", "d2"),
        ("answered", "Acknowledged", "d3"),
    ]
    times = [one.at for one in phone.record("c1").timeline]
    assert times == sorted(times)
    assert times[-1] == phone.clock.now - timedelta(seconds=1)


def test_very_long_timeline_loses_its_middle(phone: Device) -> None:
    phone.queue("c1")
    for _ in range(MAX_ENTRIES):
        phone.run("NotNow")
    found = phone.record("c1").timeline
    assert len(found) < 2 * MAX_ENTRIES
    assert [one.name for one in found[:3]] == ["accepted", "stored", "connected"]
    assert (found[-1].name, found[-1].at) == ("answered", phone.clock.now)


def test_record_keeps_group_info_and_expiry(phone: Device) -> None:
    queue(phone, "c1", group="g", info={"blueprint": "b"}, expires_at=NOW + HOUR)
    record = phone.record("c1")
    assert (record.group, record.info, record.expires_at) == ("g", {"blueprint": "b"}, NOW + HOUR)


# --- names of targets ---


def test_target_is_found_by_every_name_it_has(store: Store) -> None:
    phone = Device(store).enrolls(serial_number="C02X", imei="35 316909 028877 5")
    target = store.enrollment(phone.id)
    names = (
        phone.id,
        target.target_id,
        target.target_id.upper(),
        "C02X",
        "35 316909 028877 5",
        "353169090288775",
    )
    for name in names:
        assert store.find_target(name, user=False) == target
        with pytest.raises(NotFound):
            store.find_target(name, user=True)
    for name in ("", "C02", "c02x", "35316909028877", "f" * 24, target.target_id[:-1], "x" * 600):
        with pytest.raises(NotFound):
            store.find_target(name, user=False)


def test_user_is_found_by_every_name_it_has(store: Store) -> None:
    Device(store).enrolls()
    account = Device(store, user("UDID-1", "USER-1", "jane"), Device(store).who)
    account.updates_token()
    target = store.enrollment(account.id)
    for name in ("UDID-1:USER-1", target.target_id, "USER-1", "jane"):
        assert store.find_target(name, user=True) == target
        with pytest.raises(NotFound):
            store.find_target(name, user=False)


def test_account_of_a_shared_ipad_is_found_by_its_short_name(store: Store) -> None:
    account = Device(store, user("UDID-1", SHARED, "a@example.com"))
    account.updates_token()
    assert store.find_target("a@example.com", user=True).enrollment_id == "UDID-1:a@example.com"
    with pytest.raises(NotFound):
        store.find_target("A@example.com", user=True)


def test_name_of_several_is_refused_with_the_choices(store: Store) -> None:
    for udid in ("UDID-1", "UDID-2"):
        Device(store, udid).enrolls(serial_number="same")
        Device(store, user(udid, "USER-1"), Device(store, udid).who).updates_token()
    with pytest.raises(Conflict, match="UDID-1, UDID-2"):
        store.find_target("same", user=False)
    with pytest.raises(Conflict, match="UDID-1:USER-1, UDID-2:USER-1"):
        store.find_target("USER-1", user=True)


def test_id_that_was_only_queued_to_is_a_target(store: Store) -> None:
    Device(store, device("UDID-7")).queue("c1")
    store.enqueue("UDID-7:USER-7", command("c2"), at=NOW)
    assert store.find_target("UDID-7", user=False).enrollment_id == "UDID-7"
    assert store.find_target("UDID-7:USER-7", user=True).enrollment_id == "UDID-7:USER-7"


def test_device_that_changes_its_imei_is_found_by_the_new_one(store: Store) -> None:
    phone = Device(store).enrolls(imei="1 2")
    phone.enrolls(imei="3 4")
    assert store.find_target("34", user=False).enrollment_id == phone.id
    with pytest.raises(NotFound):
        store.find_target("12", user=False)
