"""Push data, scheduled pushes and what becomes of them, push certificates."""

from datetime import datetime, timedelta

import pytest

from micromdm_py.errors import NotConfigured, NotFound
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import DuePush, PushCertificate, PushOutcome, PushTarget
from tests.builders import NOW, TOPIC, Device, command, token_update, user

HOUR = timedelta(hours=1)

DAY = timedelta(days=1)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def due(store: Store, at: datetime = NOW, limit: int = 100) -> list[str]:
    return [one.target.enrollment_id for one in store.due_pushes(at=at, limit=limit)[0]]


def first_due(store: Store, at: datetime = NOW + DAY) -> DuePush:
    return store.due_pushes(at=at, limit=1)[0][0]


def enrolled(store: Store, udid: str = "UDID-1") -> Device:
    return Device(store, udid).enrolls()


def accepted(at: datetime) -> PushOutcome:
    return PushOutcome(at, True, "apns-id")


def failed(at: datetime, retry_at: datetime | None) -> PushOutcome:
    return PushOutcome(at, False, "", "ServiceUnavailable", retry_at=retry_at)


def dead(at: datetime) -> PushOutcome:
    return PushOutcome(at, False, "apns-id", "Unregistered", dead=True)


# --- push data ---


def test_token_update_keeps_push_data(store: Store, phone: Device) -> None:
    store.token_update(token_update(phone.ref, token=b"\xabC\x00"), phone.who, None, at=NOW)
    assert store.push_target("UDID-1") == PushTarget("UDID-1", "ab4300", "magic UDID-1", TOPIC)
    store.token_update(token_update(phone.ref, token=b"\x01", topic="T2"), phone.who, None, at=NOW)
    assert store.push_target("UDID-1") == PushTarget("UDID-1", "01", "magic UDID-1", "T2")


def test_user_channel_has_push_data_of_its_own(store: Store, phone: Device) -> None:
    phone.enrolls()
    Device(store, user("UDID-1", "USER-1"), phone.who).updates_token(b"\x02")
    assert store.push_target("USER-1").enrollment_id == "UDID-1:USER-1"
    assert store.push_target("USER-1").token_hex == "02"
    assert store.push_target("UDID-1").token_hex == "aa" * 32


def test_enrollment_without_push_data_is_not_found(store: Store, phone: Device) -> None:
    phone.says("Idle")
    for name in ("UDID-1", "nobody"):
        with pytest.raises(NotFound):
            store.push_target(name)
        with pytest.raises(NotFound):
            store.due_push(name)
        with pytest.raises(NotFound):
            store.schedule_push(name, at=NOW)


# --- scheduling ---


def test_queueing_schedules_a_push(store: Store) -> None:
    phone = enrolled(store)
    assert due(store) == []
    assert store.enqueue(phone.id, command("c1"), at=NOW).push_wanted is True
    assert due(store) == ["UDID-1"]
    assert first_due(store).target == store.push_target("UDID-1")


def test_queueing_without_push_schedules_none(store: Store) -> None:
    phone = enrolled(store)
    assert store.enqueue(phone.id, command("c1"), at=NOW, push=False).push_wanted is False
    assert due(store, NOW + DAY) == []


def test_pushes_of_one_enrollment_are_one(store: Store) -> None:
    phone = enrolled(store)
    wanted = [store.enqueue(phone.id, command("c"), at=after(n)).push_wanted for n in range(5)]
    store.schedule_push(phone.id, at=after(9))
    assert wanted == [True, False, False, False, False]
    assert due(store, NOW + DAY) == ["UDID-1"]


def test_queueing_to_an_enrollment_without_push_data_schedules_none(store: Store) -> None:
    assert store.enqueue("UDID-1", command("c1"), at=NOW).push_wanted is False
    assert store.due_pushes(at=NOW, limit=10) == ([], None)


def test_token_update_schedules_a_push_for_what_waits(store: Store, phone: Device) -> None:
    phone.authenticates()
    phone.queue("c1")
    phone.updates_token()
    assert due(store, phone.clock.now) == ["UDID-1"]


def test_due_pushes_come_oldest_first_up_to_the_limit(store: Store) -> None:
    names = [f"UDID-{n}" for n in range(12)]
    phones = {name: enrolled(store, name) for name in names}
    order = names[5:] + names[:5]
    for number, name in enumerate(order):
        store.enqueue(phones[name].id, command("c"), at=after(number))
    assert due(store, NOW + DAY) == order
    assert due(store, NOW + DAY, limit=4) == order[:4]
    assert due(store, after(2)) == order[:3]
    assert store.due_pushes(at=after(2), limit=100)[1] == after(3)
    assert store.due_pushes(at=NOW + DAY, limit=100)[1] is None


def test_more_due_pushes_than_the_limit_are_due_at_once_again(store: Store) -> None:
    for name in ("UDID-1", "UDID-2"):
        store.enqueue(enrolled(store, name).id, command("c"), at=NOW)
    found, later = store.due_pushes(at=NOW + DAY, limit=1)
    assert len(found) == 1
    assert later == NOW


def test_push_on_request_is_like_a_due_one(store: Store) -> None:
    phone = enrolled(store)
    store.enqueue(phone.id, command("c1"), at=NOW, push=False)
    asked = store.due_push(phone.id)
    assert asked.target == store.push_target(phone.id)
    store.record_push(asked, accepted(after(1)))
    assert phone.record("c1").sent_at == after(1)
    assert due(store, NOW + DAY) == []


# --- results ---


def test_accepted_push_is_done(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    store.record_push(first_due(store), accepted(after(60)))
    assert store.due_pushes(at=NOW + DAY, limit=10) == ([], None)
    assert store.enqueue(phone.id, command("c2"), at=after(61)).push_wanted is True


def test_accepted_push_is_the_sent_at_of_the_commands_it_was_for(store: Store) -> None:
    phone, other = enrolled(store), enrolled(store, "UDID-2")
    phone.queue(*[f"c{n}" for n in range(8)])
    other.queue("other")
    plan = {one.target.enrollment_id: one for one in store.due_pushes(at=NOW + DAY, limit=10)[0]}
    phone.queue("late")
    store.record_push(plan["UDID-1"], accepted(after(60)))
    assert [phone.record(f"c{n}").sent_at for n in range(8)] == [after(60)] * 8
    assert phone.record("c0").updated_at == after(60)
    assert phone.record("late").sent_at is None
    assert other.record("other").sent_at is None


def test_sent_at_is_the_first_accepted_push(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    store.record_push(first_due(store), accepted(after(60)))
    phone.queue("c2")
    store.record_push(first_due(store), accepted(after(120)))
    assert (phone.record("c1").sent_at, phone.record("c2").sent_at) == (after(60), after(120))


def test_command_queued_while_a_push_was_under_way_gets_a_push_of_its_own(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    under_way = first_due(store)
    phone.queue("c2")
    store.record_push(under_way, accepted(after(60)))
    assert due(store, after(60)) == ["UDID-1"]
    store.record_push(first_due(store), accepted(after(61)))
    assert (phone.record("c1").sent_at, phone.record("c2").sent_at) == (after(60), after(61))
    assert due(store, NOW + DAY) == []


def test_failed_push_is_tried_again_when_the_outcome_says(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    for attempt in (1, 2, 3):
        store.record_push(first_due(store), failed(after(attempt), after(100 * attempt)))
        assert store.push_target(phone.id).attempts == attempt
        assert store.due_pushes(at=after(99 * attempt), limit=10) == ([], after(100 * attempt))
        assert first_due(store).target.attempts == attempt
    assert phone.record("c1").sent_at is None
    store.record_push(first_due(store), accepted(after(400)))
    assert store.push_target(phone.id).attempts == 0
    assert phone.record("c1").sent_at == after(400)


def test_failed_push_without_another_try_is_done(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    store.record_push(first_due(store), failed(after(60), None))
    assert due(store, NOW + DAY) == []
    store.schedule_push(phone.id, at=after(90))
    assert due(store, after(90)) == ["UDID-1"]


def test_queueing_brings_a_later_try_forward(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    store.record_push(first_due(store), failed(after(60), after(900)))
    assert store.enqueue(phone.id, command("c2"), at=after(70)).push_wanted is True
    assert store.due_pushes(at=NOW + DAY, limit=10)[1] is None
    assert due(store, after(70)) == ["UDID-1"]


def test_dead_token_is_not_pushed_to(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    under_way = first_due(store)
    phone.queue("c2")
    store.record_push(under_way, dead(after(60)))
    target = store.push_target(phone.id)
    assert (target.dead_at, target.dead_reason) == (after(60), "Unregistered")
    assert store.enqueue(phone.id, command("c3"), at=after(70)).push_wanted is False
    store.schedule_push(phone.id, at=after(80))
    assert store.due_pushes(at=NOW + DAY, limit=10) == ([], None)


def test_token_update_revives_a_dead_token(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    store.record_push(first_due(store), dead(after(60)))
    phone.updates_token()
    target = store.push_target(phone.id)
    assert (target.dead_at, target.dead_reason, target.attempts) == (None, "", 0)
    assert due(store, phone.clock.now) == ["UDID-1"]


def test_revived_token_is_pushed_to_though_nothing_waited_when_it_came(store: Store) -> None:
    phone = enrolled(store)
    store.record_push(store.due_push(phone.id), dead(after(60)))
    phone.updates_token()
    assert due(store, NOW + DAY) == []
    assert store.enqueue(phone.id, command("c1"), at=after(70)).push_wanted is True
    assert due(store, after(70)) == ["UDID-1"]


def test_authenticate_does_not_revive_a_dead_token(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    store.record_push(first_due(store), dead(after(60)))
    phone.authenticates()
    assert store.push_target(phone.id).dead_at == after(60)


def test_refusal_of_a_token_that_was_replaced_meanwhile_is_not_held_against_the_new_one(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    under_way = first_due(store)
    phone.updates_token(b"\x02")
    store.record_push(under_way, dead(after(60)))
    assert store.push_target(phone.id).dead_at is None
    assert due(store, after(60)) == ["UDID-1"]


def test_result_for_a_purged_enrollment_is_dropped(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    under_way = first_due(store)
    store.remove_devices([phone.id], purge=True, at=NOW)
    store.record_push(under_way, failed(after(60), after(70)))
    assert store.due_pushes(at=NOW + DAY, limit=10) == ([], None)


def test_push_after_a_purge_and_a_new_enrollment_marks_the_new_commands(store: Store) -> None:
    phone = enrolled(store)
    phone.queue("c1")
    store.record_push(first_due(store), accepted(after(60)))
    store.remove_devices([phone.id], purge=True, at=NOW)
    phone.enrolls()
    phone.queue("c2")
    store.record_push(first_due(store), accepted(after(120)))
    assert (phone.record("c1").sent_at, phone.record("c2").sent_at) == (after(60), after(120))


def test_every_command_of_a_long_queue_gets_its_sent_at(store: Store) -> None:
    phone = enrolled(store)
    for number in range(40):
        store.enqueue(phone.id, command(f"c{number}"), at=after(number))
    store.record_push(first_due(store), accepted(after(60)))
    assert {phone.record(f"c{number}").sent_at for number in range(40)} == {after(60)}


# --- push certificates ---


def test_push_certificates_are_kept_by_topic(store: Store) -> None:
    assert store.push_certificates() == []
    with pytest.raises(NotConfigured):
        store.push_certificate()
    first = PushCertificate("T1", b"certificate 1", b"key 1\n", NOW)
    second = PushCertificate("T2", b"certificate 2", b"key 2", after(1))
    newer = PushCertificate("T1", b"certificate 3", b"key 3", after(2))
    store.store_push_certificate(first)
    assert store.push_certificate() == store.push_certificate("T1") == first
    store.store_push_certificate(second)
    assert store.push_certificate() == second
    assert store.push_certificate("T1") == first
    assert store.push_certificates() == [first, second]
    store.store_push_certificate(newer)
    assert store.push_certificate() == store.push_certificate("T1") == newer
    with pytest.raises(NotConfigured):
        store.push_certificate("T3")


# --- repetitions ---


def silent_phone(store: Store) -> Device:
    """A device that was pushed to for a command, has not come, and is to be pushed to again in an hour."""
    phone = Device(store).enrolls()
    phone.queue("c1")
    repeat(store, phone)
    return phone


def repeat(store: Store, phone: Device) -> int:
    """Make the push that is due; returns how many pushes the device has not answered before it."""
    (due,), _ = store.due_pushes(at=phone.clock.now, limit=9)
    at = phone.clock.move(1)
    store.record_push(due, PushOutcome(at, True, f"id {at:%H}", again_at=at + HOUR))
    return due.target.silent


def due_in_an_hour(store: Store, phone: Device) -> list[DuePush]:
    assert store.due_pushes(at=phone.clock.now, limit=9)[0] == []
    return store.due_pushes(at=phone.clock.move(3600), limit=9)[0]


def test_silent_device_is_pushed_to_again(store: Store) -> None:
    phone = silent_phone(store)
    for silent in (1, 2, 3):
        assert [one.target.silent for one in due_in_an_hour(store, phone)] == [silent]
        assert repeat(store, phone) == silent
    pushed = [one for one in phone.record("c1").timeline if one.name == "pushed"]
    assert [one.detail for one in pushed] == ["id 08", "id 09", "id 10", "id 11"]
    assert phone.record("c1").sent_at == pushed[0].at


def test_device_that_came_is_not_pushed_to_again(store: Store) -> None:
    phone = silent_phone(store)
    phone.run("NotNow")
    assert due_in_an_hour(store, phone) == []
    assert store.push_target(phone.id).due_at is None


def test_nothing_is_pushed_again_when_nothing_waits_any_more(store: Store) -> None:
    phone = silent_phone(store)
    store.clear(phone.id, at=NOW)
    assert due_in_an_hour(store, phone) == []
    assert store.due_pushes(at=phone.clock.move(10**6), limit=9) == ([], None)


def test_next_command_is_pushed_for_at_once_and_counting_begins_anew_when_the_device_came(
    store: Store,
) -> None:
    phone = silent_phone(store)
    phone.queue("c2")
    assert repeat(store, phone) == 1
    phone.says("Idle")
    phone.queue("c3")
    assert repeat(store, phone) == 0


def test_push_for_nothing_that_waits_is_not_repeated(store: Store) -> None:
    phone = Device(store).enrolls()
    store.schedule_push(phone.id, at=phone.clock.now)
    repeat(store, phone)
    assert due_in_an_hour(store, phone) == []


def test_needless_repetitions_do_not_take_the_place_of_pushes(store: Store) -> None:
    phones = []
    for number in range(4):
        phone = Device(store, f"UDID-{number}").enrolls()
        phone.queue("c1")
        (due,), _ = store.due_pushes(at=phone.clock.now, limit=1)
        store.record_push(due, PushOutcome(phone.clock.now, True, "id", again_at=NOW + HOUR))
        phones.append(phone)
    for phone in phones[:3]:
        store.clear(phone.id, at=NOW)
    found, _ = store.due_pushes(at=NOW + HOUR, limit=1)
    assert [one.target.enrollment_id for one in found] == ["UDID-3"]
