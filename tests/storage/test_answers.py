"""What answers make of commands and their records."""

import dataclasses
from datetime import timedelta

import pytest

from micromdm_py.errors import NotFound
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import CommandRecord
from tests.builders import NOW, Device, command, report

# --- answers ---


def test_late_answer_to_a_refused_command_is_recognised(phone: Device) -> None:
    phone.queue("c1")
    phone.run("NotNow")
    assert phone.says("Acknowledged", "c1") is None
    assert phone.says("Idle") is None
    assert phone.state("c1") == "Acknowledged"


def test_stray_answer_to_an_untouched_command_is_recognised(phone: Device) -> None:
    phone.queue("c1", "c2", "c3")
    assert phone.says("Acknowledged", "c2") == "c1"
    assert phone.says("NotNow", "c3") == "c1"
    assert phone.says("Acknowledged", "c1") is None
    assert phone.says("Idle") == "c3"
    assert phone.record("c2").tries == 0


def test_answer_with_unknown_uuid_changes_nothing(phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.says("Idle")
    before = phone.record("c1").state, phone.record("c2")
    assert phone.says("Acknowledged", "nobody's") == "c1"
    assert (phone.record("c1").state, phone.record("c2")) == before


def test_second_identical_answer_changes_nothing(store: Store, phone: Device) -> None:
    phone.queue("c1", "c2")
    assert phone.run("Acknowledged") == ["c1", "c2"]
    before = phone.record("c1"), store.report_of(phone.id, "c1")
    assert phone.says("Acknowledged", "c1") == "c2"
    assert phone.says("Error", "c1") == "c2"
    assert (phone.record("c1"), store.report_of(phone.id, "c1")) == before


def test_second_refusal_changes_nothing(phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.run("NotNow", "NotNow")
    before = phone.record("c1")
    assert phone.says("NotNow", "c1") is None
    assert phone.record("c1") == before
    assert phone.run("Acknowledged") == ["c1", "c2"]


def test_answer_of_one_enrollment_does_not_touch_another(store: Store) -> None:
    one, other = Device(store, "UDID-1"), Device(store, "UDID-10")
    one.queue("same")
    other.queue("same")
    one.says("Idle")
    other.says("Idle")
    one.says("Acknowledged", "same")
    assert other.state("same") == "Awaiting"
    assert (one.waiting(), other.waiting()) == ([], ["same"])


def test_idle_with_a_uuid_answers_nothing(phone: Device) -> None:
    phone.queue("c1")
    assert phone.says("Idle", "c1") == "c1"
    assert phone.record("c1").received_at is None


@pytest.mark.parametrize("answer", ["Acknowledged", "Error", "CommandFormatError"])
def test_device_answer_to_a_cancelled_command_says_what_really_happened(
    store: Store, phone: Device, answer: str
) -> None:
    phone.queue("c1")
    phone.says("Idle")
    assert store.clear(phone.id, at=phone.clock.move(1)) == 1
    assert phone.says(answer, "c1") is None
    record = phone.record("c1")
    assert record.state == answer
    assert record.received_at == record.updated_at == phone.clock.now
    assert record.canceled_at is not None
    assert store.report_of(phone.id, "c1") == f"<{answer} c1>".encode()


def test_refusal_of_a_cancelled_command_does_not_bring_it_back(store: Store, phone: Device) -> None:
    phone.queue("c1")
    phone.says("Idle")
    store.clear(phone.id, at=phone.clock.move(1))
    assert phone.says("NotNow", "c1") is None
    assert phone.says("Idle") is None
    assert phone.state("c1") == "Cancel"


def test_late_answer_to_a_command_withdrawn_by_authenticate_is_kept_only(store: Store, phone: Device) -> None:
    phone.queue("c1")
    phone.says("Idle")
    phone.authenticates()
    phone.says("Acknowledged", "c1")
    record = phone.record("c1")
    assert record.state is CommandState.PROTECTION_CANCELED
    assert record.received_at == phone.clock.now
    assert record.has_report
    phone.says("Error", "c1")
    assert phone.record("c1") == record
    assert store.report_of(phone.id, "c1") == b"<Acknowledged c1>"


# --- the same uuid more than once ---


def test_the_same_uuid_twice_is_two_commands(phone: Device) -> None:
    first, second = phone.queue("same", "same")
    assert first.command_id != second.command_id
    assert phone.waiting() == ["same", "same"]
    assert phone.run("Acknowledged", "Acknowledged") == ["same", "same", ""]
    assert [phone.state(one.command_id) for one in (first, second)] == ["Acknowledged", "Acknowledged"]


def test_answer_counts_for_the_handed_out_one_of_a_uuid(store: Store, phone: Device) -> None:
    first, second = phone.queue("same", "same")
    phone.says("Idle")
    phone.says("Error", "same")
    assert phone.state(first.command_id) == "Error"
    assert phone.state(second.command_id) == "Awaiting"
    assert store.report_of(phone.id, first.command_id) == b"<Error same>"
    assert store.report_of(phone.id, second.command_id) == b""


def test_handed_out_goes_before_refused_among_commands_of_one_uuid(phone: Device) -> None:
    first, second = phone.queue("same", "same")
    assert phone.run("NotNow") == ["same", "same"]
    assert phone.says("Acknowledged", "same") is None
    assert phone.state(first.command_id) == "Tried"
    assert phone.state(second.command_id) == "Acknowledged"


def test_device_that_refuses_two_commands_of_one_uuid_gets_an_end(phone: Device) -> None:
    phone.queue("same", "same")
    assert phone.run("NotNow", "NotNow") == ["same", "same", ""]
    assert phone.run("Acknowledged", "Acknowledged") == ["same", "same", ""]


def test_refused_goes_before_untouched_among_commands_of_one_uuid(phone: Device) -> None:
    first, _ = phone.queue("same", "other")
    phone.run("NotNow")
    (third,) = phone.queue("same")
    phone.says("Acknowledged", "same")
    assert phone.state(first.command_id) == "Acknowledged"
    assert phone.state(third.command_id) == "Pending"


def test_late_answer_counts_for_the_newest_finished_command_of_a_uuid(store: Store, phone: Device) -> None:
    ids = [one.command_id for one in phone.queue("same", "same", "same")]
    phone.run("Acknowledged")
    store.clear(phone.id, at=phone.clock.move(1))
    phone.says("Error", "same")
    assert [phone.state(one) for one in ids] == ["Acknowledged", "Cancel", "Error"]


def test_uuid_finds_the_newest_command(phone: Device) -> None:
    ids = [one.command_id for one in phone.queue("same", "same", "same")]
    assert phone.record("same").command_id == ids[2]
    phone.run("Acknowledged")
    assert phone.record("same").command_id == ids[2]


def test_uuid_is_free_text(phone: Device) -> None:
    names = ["a b", "ü/:%", "x" * 1024, "\U0001f4f1", "x" * 1023 + "y", "0" * 24]
    phone.queue(*names)
    assert phone.waiting() == names
    assert phone.run(*["Acknowledged"] * 6) == [*names, ""]
    assert [phone.state(name) for name in names] == ["Acknowledged"] * 6


# --- records ---


def without_timeline(record: CommandRecord) -> CommandRecord:
    return dataclasses.replace(record, timeline=())


def test_record_tells_a_command_s_life(store: Store, phone: Device) -> None:
    queued = store.enqueue(phone.id, command("c1", "InstallProfile", "sync"), at=NOW)
    record = phone.record("c1")
    assert dataclasses.astuple(record) == (
        queued.command_id,
        "c1",
        "InstallProfile",
        CommandState.PENDING,
        "sync",
        0,
        NOW,
        NOW,
        None,
        None,
        None,
        None,
        False,
        "InstallProfile",
        None,
        {},
        ((NOW, "accepted", "", ""), (NOW, "stored", "", "")),
    )
    record = without_timeline(record)
    tried, again, refused, back, done = (NOW + timedelta(seconds=n, milliseconds=57) for n in range(1, 6))
    for at in (tried, again):
        store.record_report(report(phone.ref, "Idle"), phone.who, None, at=at)
    record = dataclasses.replace(record, state=CommandState.AWAITING, tries=2, tried_at=again)
    assert without_timeline(phone.record("c1")) == dataclasses.replace(record, updated_at=again)
    store.record_report(report(phone.ref, "NotNow", "c1"), phone.who, None, at=refused)
    record = dataclasses.replace(record, state=CommandState.TRIED, received_at=refused, updated_at=refused)
    assert without_timeline(phone.record("c1")) == record
    store.record_report(report(phone.ref, "Idle"), phone.who, None, at=back)
    store.record_report(report(phone.ref, "Acknowledged", "c1", b"raw"), phone.who, None, at=done)
    assert without_timeline(phone.record("c1")) == dataclasses.replace(
        record,
        state=CommandState.ACKNOWLEDGED,
        tries=3,
        tried_at=back,
        updated_at=done,
        has_report=True,
    )
    assert store.report_of(phone.id, "c1") == b"raw"


def test_command_ids_are_24_hex_digits_in_order_of_creation(phone: Device) -> None:
    ids = [one.command_id for one in phone.queue(*["c"] * 10)]
    assert ids == sorted(set(ids))
    assert all(len(one) == 24 and int(one, 16) and one == one.lower() for one in ids)
    assert ids[0][:8] == f"{int(phone.clock.now.timestamp()) - 9:08x}"


def test_command_is_found_by_its_id_in_either_case(phone: Device) -> None:
    first, second = phone.queue("same", "same")
    assert phone.record(first.command_id.upper()).command_id == first.command_id
    assert phone.record(second.command_id).command_id == second.command_id


def test_command_of_another_enrollment_is_not_found(store: Store, phone: Device) -> None:
    (queued,) = phone.queue("c1")
    other = Device(store, "UDID-2")
    other.queue("c2")
    for name in (queued.command_id, "c1", "c3", "f" * 24, ""):
        with pytest.raises(NotFound):
            other.record(name)
        with pytest.raises(NotFound):
            store.report_of(other.id, name)
    with pytest.raises(NotFound):
        store.command("nobody", "c1")


def test_command_id_with_another_time_is_not_found(phone: Device) -> None:
    (queued,) = phone.queue("c1")
    with pytest.raises(NotFound):
        phone.record("00000000" + queued.command_id[8:])
