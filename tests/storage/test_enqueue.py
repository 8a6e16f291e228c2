"""Queueing: whose queue an id means, idempotency keys, several commands at once."""

from datetime import timedelta

import pytest

from micromdm_py.errors import Conflict, MalformedField, NotFound, Unenroll
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import Once
from tests.builders import NOW, SHARED, Device, command, identity, user

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
