"""The queue: what is offered when, and what the answers make of it."""

import dataclasses
from datetime import timedelta

import pytest

from micromdm_py.errors import Conflict, MalformedField, NotFound, Unenroll
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import CommandRecord, NewEntry, Once
from tests.builders import NOW, SHARED, Device, command, identity, report, user, user_enrollment

# --- order of offering (decisions.md 2) ---


def test_first_in_is_first_out(phone: Device) -> None:
    phone.queue("c1", "c2", "c3")
    assert phone.run("Acknowledged", "Acknowledged", "Acknowledged") == ["c1", "c2", "c3", ""]


def test_order_holds_when_the_sequence_number_grows_by_a_byte(phone: Device) -> None:
    uuids = [f"c{number}" for number in range(20)]
    phone.queue(*uuids)
    assert phone.waiting() == uuids
    assert phone.run(*["Acknowledged"] * 20) == [*uuids, ""]


def test_payload_comes_byte_for_byte_as_queued(store: Store, phone: Device) -> None:
    for body in (b"bplist00\x00\xff", b" <plist/>\r\n", b"\xef\xbb\xbf<plist/>" * 5000):
        store.enqueue(phone.id, NewEntry("same", "ProfileList", body), at=NOW)
        served = store.record_report(report(phone.ref, "Idle"), phone.who, None, at=NOW)
        assert (served.payload, served.command_uuid) == (body, "same")
        phone.says("Acknowledged", "same")


@pytest.mark.parametrize("status", ["Idle", "NotNow", "Acknowledged", "Error", "Later", ""])
def test_nothing_comes_from_an_empty_queue(phone: Device, status: str) -> None:
    assert phone.says(status, "unknown") is None


def test_unanswered_command_comes_again_until_it_is_answered(phone: Device) -> None:
    phone.queue("c1", "c2", "c3")
    assert [phone.says("Idle") for _ in range(4)] == ["c1", "c1", "c1", "c1"]
    assert phone.says("Acknowledged", "c1") == "c2"


@pytest.mark.parametrize("status", ["Error", "CommandFormatError", "Acknowledged"])
def test_every_final_answer_moves_on(phone: Device, status: str) -> None:
    phone.queue("c1", "c2")
    assert phone.run(status, status) == ["c1", "c2", ""]
    assert phone.state("c1") == status


def test_refused_command_waits_for_the_next_idle(phone: Device) -> None:
    phone.queue("c1", "c2", "c3")
    assert phone.run("NotNow", "Acknowledged", "Acknowledged") == ["c1", "c2", "c3", ""]
    assert phone.says("Idle") == "c1"


def test_single_refused_command_comes_at_the_next_idle(phone: Device) -> None:
    phone.queue("c1")
    assert phone.run("NotNow") == ["c1", ""]
    assert phone.says("Idle") == "c1"


def test_refused_commands_come_back_oldest_refusal_first(phone: Device) -> None:
    phone.queue("c1", "c2", "c3")
    assert phone.run("NotNow", "NotNow", "NotNow") == ["c1", "c2", "c3", ""]
    assert phone.run("NotNow") == ["c1", ""]
    assert phone.run("NotNow") == ["c2", ""]
    assert phone.run("Acknowledged", "Acknowledged", "Acknowledged") == ["c3", "c1", "c2", ""]


def test_refusals_keep_their_order_when_the_counter_grows_by_a_byte(phone: Device) -> None:
    uuids = [f"c{number}" for number in range(8)]
    phone.queue(*uuids)
    assert phone.run(*["NotNow"] * 8) == [*uuids, ""]
    assert phone.run(*["Acknowledged"] * 8) == [*uuids, ""]


def test_answer_to_a_returned_command_brings_the_next_refused_one(phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.run("NotNow", "NotNow")
    assert phone.run("Acknowledged", "Error") == ["c1", "c2", ""]


def test_command_refused_again_in_this_run_does_not_come_back_in_it(phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.run("NotNow", "NotNow")
    phone.queue("c3")
    assert phone.run("NotNow", "Acknowledged") == ["c3", "", "c1"]
    assert phone.says("Acknowledged", "c1") == "c2"
    assert phone.says("Acknowledged", "c2") is None
    assert phone.says("Idle") == "c3"


def test_new_command_comes_before_the_refused_one_in_the_same_run(phone: Device) -> None:
    phone.queue("old")
    assert phone.run("NotNow") == ["old", ""]
    phone.queue("new")
    assert phone.run("Acknowledged", "Acknowledged") == ["new", "old", ""]


def test_command_queued_within_the_run_comes_in_it(phone: Device) -> None:
    phone.queue("c1")
    assert phone.says("Idle") == "c1"
    phone.queue("c2")
    assert phone.says("NotNow", "c1") == "c2"
    assert phone.says("Acknowledged", "c2") is None
    assert phone.says("Idle") == "c1"


def test_command_refused_before_the_first_idle_waits_for_it(phone: Device) -> None:
    phone.queue("c1", "c2")
    assert phone.says("NotNow", "c1") == "c2"
    assert phone.says("Acknowledged", "c2") is None
    assert phone.says("Idle") == "c1"


@pytest.mark.parametrize("status", ["Later", ""])
def test_unknown_status_is_answered_like_idle_but_brings_nothing_refused_back(
    phone: Device, status: str
) -> None:
    phone.queue("c1")
    assert phone.says(status) == "c1"
    assert phone.says(status, "c1") == "c1"
    phone.says("NotNow", "c1")
    assert phone.says(status) is None
    assert phone.state("c1") == "Tried"
    phone.queue("c2")
    assert phone.says(status) == "c2"


@pytest.mark.parametrize("status", ["Later", "", "NotNow"])
def test_only_idle_and_final_answers_bring_back_what_was_refused_before_the_last_idle(
    phone: Device, status: str
) -> None:
    phone.queue("c1", "c2")
    phone.run("NotNow", "NotNow")
    assert phone.run("NotNow") == ["c1", ""]
    assert phone.says(status) is None
    assert phone.says("Acknowledged") == "c2"


def test_unknown_status_is_no_idle(phone: Device) -> None:
    phone.queue("c1", "c2")
    assert phone.run("NotNow") == ["c1", "c2"]
    phone.says("Later", "c2")
    assert phone.says("Acknowledged", "c2") is None


def test_handed_out_command_comes_before_refused_and_new_ones(phone: Device) -> None:
    phone.queue("c1", "c2")
    assert phone.run("NotNow") == ["c1", "c2"]
    phone.queue("c3")
    assert phone.says("Idle") == "c2"
    assert phone.says("NotNow", "unknown") == "c2"


def test_idle_counts_as_one_though_a_command_was_outstanding(phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.run("NotNow")
    assert phone.says("Idle") == "c2"
    assert phone.says("Acknowledged", "c2") == "c1"


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


# --- the same uuid more than once (decisions.md 1) ---


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


# --- waiting and clearing ---


def test_waiting_lists_open_commands_in_the_order_queued(store: Store, phone: Device) -> None:
    phone.queue("c1", "c2", "c3", "c4")
    phone.run("Acknowledged", "NotNow")
    found = [(one.command_uuid, one.payload, str(one.state)) for one in store.waiting(phone.id)]
    assert found == [
        ("c2", b"<plist>c2</plist>", "Tried"),
        ("c3", b"<plist>c3</plist>", "Awaiting"),
        ("c4", b"<plist>c4</plist>", "Pending"),
    ]


def test_clear_cancels_what_waits_and_only_that(store: Store, phone: Device) -> None:
    phone.queue("c1", "c2", "c3", "c4")
    phone.run("Acknowledged", "NotNow")
    assert store.clear(phone.id, at=phone.clock.move(1)) == 3
    assert [phone.state(f"c{n}") for n in (1, 2, 3, 4)] == ["Acknowledged", "Cancel", "Cancel", "Cancel"]
    assert phone.record("c3").canceled_at == phone.record("c3").updated_at == phone.clock.now
    assert phone.record("c1").canceled_at is None
    assert phone.waiting() == []
    assert phone.says("Idle") is None
    assert store.clear(phone.id, at=phone.clock.move(1)) == 0


def test_queue_goes_on_after_it_was_cleared(store: Store, phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.run("NotNow")
    store.clear(phone.id, at=phone.clock.move(1))
    phone.queue("c1")
    assert phone.run("Acknowledged") == ["c1", ""]


def test_clear_leaves_other_queues_alone(store: Store, phone: Device) -> None:
    user_channel = Device(store, user("UDID-1", "USER-1"), phone.who)
    phone.queue("c1")
    user_channel.queue("c2")
    store.clear(phone.id, at=NOW)
    assert user_channel.waiting() == ["c2"]


def test_unknown_id_has_an_empty_queue(store: Store) -> None:
    assert store.waiting("nobody") == []
    assert store.clear("nobody", at=NOW) == 0
    with pytest.raises(NotFound):
        store.enrollment("nobody")


def test_command_queued_before_the_device_is_known_is_kept_for_it(store: Store) -> None:
    phone = Device(store, "UDID-1")
    phone.queue("c1")
    assert store.enrollment("UDID-1").kind is None
    assert phone.says("Idle") == "c1"


# --- user channels and API ids ---


def test_device_and_user_channel_have_queues_of_their_own(store: Store, phone: Device) -> None:
    channel = Device(store, user("UDID-1", "USER-1"), phone.who)
    phone.queue("device")
    channel.queue("user")
    assert channel.run("Acknowledged") == ["user", ""]
    assert phone.run("Acknowledged") == ["device", ""]


@pytest.mark.parametrize("made_known_by", ["connect", "token update"])
def test_bare_user_id_means_the_only_channel_with_it(store: Store, made_known_by: str) -> None:
    channel = Device(store, user("UDID-1", "USER-1"))
    if made_known_by == "connect":
        channel.says("Idle")
    else:
        channel.updates_token()
    assert store.enqueue("USER-1", command("c1"), at=NOW).enrollment_id == "UDID-1:USER-1"
    assert [one.command_uuid for one in store.waiting("USER-1")] == ["c1"]
    assert store.command("USER-1", "c1").command_uuid == "c1"
    assert store.enrollment("USER-1").enrollment_id == "UDID-1:USER-1"
    assert store.clear("USER-1", at=NOW) == 1


def test_channel_that_was_only_queued_to_becomes_known_by_its_bare_user_id(store: Store) -> None:
    channel = Device(store, user("UDID-1", "USER-1"))
    channel.queue("c1")
    assert channel.says("Idle") == "c1"
    assert store.enqueue("USER-1", command("c2"), at=NOW).enrollment_id == channel.id


def test_bare_user_id_of_several_devices_names_the_choices(store: Store) -> None:
    for udid in ("UDID-1", "UDID-2"):
        Device(store, user(udid, "USER-1")).says("Idle")
    for call in (
        lambda: store.enqueue("USER-1", command("c1"), at=NOW),
        lambda: store.waiting("USER-1"),
        lambda: store.clear("USER-1", at=NOW),
        lambda: store.enrollment("USER-1"),
        lambda: store.command("USER-1", "c1"),
        lambda: store.push_target("USER-1"),
    ):
        with pytest.raises(Conflict, match="UDID-1:USER-1, UDID-2:USER-1"):
            call()


def test_enrollment_id_goes_before_an_equal_user_id(store: Store, phone: Device) -> None:
    phone.says("Idle")
    Device(store, user("UDID-2", "UDID-1")).says("Idle")
    assert store.enqueue("UDID-1", command("c1"), at=NOW).enrollment_id == "UDID-1"


def test_what_a_user_shall_get_is_refused_rather_than_lost(store: Store) -> None:
    store.enqueue("USER-1", command("early"), at=NOW)
    channel = Device(store, user("UDID-1", "USER-1"))
    assert channel.says("Idle") is None
    for _ in range(2):
        with pytest.raises(
            Conflict, match="USER-1 has never enrolled, but is also the user of UDID-1:USER-1"
        ):
            store.enqueue("USER-1", command("late"), at=NOW)
        with pytest.raises(Conflict):
            store.enqueue_all([(channel.id, command("c1")), ("USER-1", command("late"))], at=NOW)
    assert [one.command_uuid for one in store.waiting("USER-1")] == ["early"]
    assert store.clear("USER-1", at=NOW) == 1
    assert store.enqueue("USER-1", command("late"), at=NOW).enrollment_id == channel.id
    assert channel.says("Idle") == "late"


def test_a_block_names_a_user_as_commands_do(store: Store) -> None:
    store.block("USER-1", at=NOW)
    store.unblock("USER-1")
    channel = Device(store, user("UDID-1", "USER-1"))
    assert channel.says("Idle") is None
    assert store.enqueue("USER-1", command("c1"), at=NOW).enrollment_id == channel.id
    store.block("USER-1", at=NOW)
    with pytest.raises(Unenroll):
        channel.says("Idle")
    store.unblock("USER-1")
    assert channel.says("Idle") == "c1"


def test_user_id_equal_to_a_udid_reads_and_clears_nothing_of_that_device(store: Store, phone: Device) -> None:
    phone.queue("secret")
    thief = Device(store, user("UDID-2", "UDID-1"), identity("thief"))
    assert thief.says("Idle") is None
    assert thief.says("Acknowledged", "secret") is None
    assert phone.waiting() == ["secret"]


def test_shared_ipad_accounts_have_queues_of_their_own(store: Store) -> None:
    one = Device(store, user("UDID-1", SHARED, "a@example.com"))
    other = Device(store, user("UDID-1", SHARED, "b@example.com"), one.who)
    assert (one.id, other.id) == ("UDID-1:a@example.com", "UDID-1:b@example.com")
    one.queue("c1")
    assert other.says("Idle") is None
    assert one.says("Idle") == "c1"


def test_bare_shared_ipad_id_is_refused_with_a_hint(store: Store) -> None:
    Device(store, user("UDID-1", SHARED, "a@example.com")).says("Idle")
    with pytest.raises(MalformedField, match="UserShortName"):
        store.enqueue(SHARED, command("c1"), at=NOW)
    with pytest.raises(NotFound):
        store.enrollment("a@example.com")


def test_ids_of_every_length_are_told_apart(store: Store) -> None:
    long = "\u00e4" * 127
    refs = [user(f"{long}{n}", f"{long}{m}") for n in (1, 2) for m in (1, 2)]
    for number, ref in enumerate(refs):
        Device(store, ref).queue(f"c{number}")
    assert [Device(store, ref).says("Idle") for ref in refs] == ["c0", "c1", "c2", "c3"]


# --- blocked devices ---


def test_blocked_device_is_told_to_unenroll_on_both_channels(store: Store, phone: Device) -> None:
    channel = Device(store, user("UDID-1", "USER-1"), phone.who)
    for one in (phone, channel):
        one.says("Idle")
        one.queue("c1")
    store.block("UDID-1", at=NOW)
    for one in (phone, channel):
        with pytest.raises(Unenroll):
            one.says("Idle")
        with pytest.raises(Unenroll):
            store.nothing_to_do(report(one.ref, "Idle"), one.who, at=NOW)
    store.unblock("UDID-1")
    assert [phone.says("Idle"), channel.says("Idle")] == ["c1", "c1"]
    assert phone.record("c1").tries == 1


def test_blocked_udid_is_refused_beside_an_enrollment_id(store: Store) -> None:
    phone = Device(store, user_enrollment("ENROLLMENT-1", udid="UDID-1"))
    phone.queue("c1")
    store.block("UDID-1", at=NOW)
    with pytest.raises(Unenroll):
        phone.says("Idle")


def test_blocked_device_that_is_not_known_yet_leaves_no_trace(store: Store, phone: Device) -> None:
    store.block("UDID-1", at=NOW)
    with pytest.raises(Unenroll):
        phone.says("Idle")
    record = store.enrollment("UDID-1")
    assert (record.blocked, record.kind, record.fingerprint, record.last_seen_at) == (True, None, b"", None)


# --- idle without writing ---


def idle(phone: Device, status: str = "Idle") -> bool:
    return phone.store.nothing_to_do(report(phone.ref, status), phone.who, at=phone.clock.move(1))


def test_idle_of_a_bound_device_with_nothing_waiting_needs_no_write(phone: Device) -> None:
    assert not idle(phone)
    phone.says("Idle")
    assert idle(phone)
    assert not idle(phone, "NotNow")
    assert not idle(phone, "Acknowledged")
    assert not idle(phone, "Later")


@pytest.mark.parametrize("answers", [(), ("Idle",), ("NotNow",)])
def test_idle_with_something_waiting_needs_a_write(phone: Device, answers: tuple[str, ...]) -> None:
    phone.queue("c1")
    if answers:
        phone.run(*answers[1:] if answers == ("Idle",) else answers)
    assert not idle(phone)
    phone.says("Acknowledged", "c1")
    assert idle(phone)


def test_first_idle_of_a_channel_that_was_queued_to_needs_a_write(store: Store, phone: Device) -> None:
    phone.says("Idle")
    channel = Device(store, user("UDID-1", "USER-1"), phone.who)
    channel.queue("c1")
    store.clear(channel.id, at=NOW)
    assert not idle(channel), "the channel has to become known by its UserID"


def test_idle_without_a_write_is_noted_as_contact(store: Store, phone: Device) -> None:
    phone.says("Idle")
    assert idle(phone)
    seen_at = phone.clock.now
    store.enqueue("UDID-2", command("c1"), at=NOW)
    assert store.enrollment(phone.id).last_seen_at == seen_at


# --- idempotency keys ---


def once(key: str, answer: bytes = b"first") -> Once:
    return Once(key.encode().ljust(32, b"."), answer)


def test_the_same_key_brings_the_first_answer_and_queues_nothing(store: Store, phone: Device) -> None:
    first = store.enqueue(phone.id, command("c1"), at=NOW, once=once("k"))
    again = store.enqueue(phone.id, command("c2"), at=NOW + timedelta(hours=23), once=once("k", b"other"))
    assert (first.answer, again.answer, again.command_id, again.push_wanted) == (None, b"first", "", False)
    assert phone.waiting() == ["c1"]


def test_another_key_or_none_queues(store: Store, phone: Device) -> None:
    store.enqueue(phone.id, command("c1"), at=NOW, once=once("k"))
    store.enqueue(phone.id, command("c2"), at=NOW, once=once("l"))
    store.enqueue(phone.id, command("c3"), at=NOW)
    assert phone.waiting() == ["c1", "c2", "c3"]


def test_a_key_is_forgotten_after_a_day(store: Store, phone: Device) -> None:
    store.enqueue(phone.id, command("c1"), at=NOW, once=once("k"))
    later = store.enqueue(phone.id, command("c2"), at=NOW + timedelta(hours=24), once=once("k", b"second"))
    assert later.answer is None
    again = store.enqueue(phone.id, command("c3"), at=NOW + timedelta(hours=25), once=once("k"))
    assert again.answer == b"second"
    assert phone.waiting() == ["c1", "c2"]


def test_a_key_used_again_after_a_day_is_kept_for_another_day(store: Store, phone: Device) -> None:
    for number in range(6):
        store.enqueue(phone.id, command("old"), at=NOW, once=once(f"{number}"))
    day_after = NOW + timedelta(hours=25)
    store.enqueue(phone.id, command("c1"), at=day_after, once=once("5"))
    for number in range(6, 12):
        store.enqueue(phone.id, command("new"), at=day_after, once=once(f"{number}"))
    assert store.enqueue(phone.id, command("c1"), at=day_after, once=once("5")).answer == b"first"


def test_a_key_is_not_used_up_by_a_refused_call(store: Store, phone: Device) -> None:
    with pytest.raises(MalformedField):
        store.enqueue(SHARED, command("c1"), at=NOW, once=once("k"))
    assert store.enqueue(phone.id, command("c1"), at=NOW, once=once("k")).answer is None


# --- several at once ---


def test_several_commands_are_queued_in_order_and_each_wakes_its_device(store: Store) -> None:
    phones = [Device(store, f"UDID-{number}").enrolls() for number in range(2)]
    orders = [(phones[number % 2].id, command(f"c{number}")) for number in range(4)]
    done = store.enqueue_all(orders, at=NOW)
    assert [one.enrollment_id for one in done] == [name for name, _ in orders]
    assert [one.push_wanted for one in done] == [True, True, False, False]
    assert [phone.waiting() for phone in phones] == [["c0", "c2"], ["c1", "c3"]]
    assert [phones[0].record(one.command_id).command_uuid for one in (done[0], done[2])] == ["c0", "c2"]
    assert store.enqueue_all([], at=NOW) == []


def test_several_commands_may_have_a_key_each(store: Store, phone: Device) -> None:
    keys = [Once(b"k" * 32, b"first"), None]
    for expected in (["c1", "c2"], ["c1", "c2", "c2"]):
        done = store.enqueue_all([(phone.id, command("c1")), (phone.id, command("c2"))], at=NOW, once=keys)
        assert phone.waiting() == expected
    assert [one.answer for one in done] == [b"first", None]
