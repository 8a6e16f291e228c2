"""The queue: what is offered when, what waits, and what ends that."""

import pytest

from micromdm_py.errors import NotFound, Unenroll
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import NewEntry
from tests.builders import NOW, Device, command, report, user, user_enrollment

# --- order of offering ---


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
