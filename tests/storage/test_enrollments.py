"""Check-in: what each message makes of devices and user channels."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest

from micromdm_py.errors import MalformedField, NotFound
from micromdm_py.protocol.enrollment import EnrollmentKind, EnrollmentRef
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import EnrollmentRecord, Once
from tests.builders import (
    NOW,
    SHARED,
    TOPIC,
    Device,
    authenticate,
    command,
    device,
    event,
    get_bootstrap_token,
    identity,
    set_bootstrap_token,
    token_update,
    user,
    user_enrollment,
)
from tests.storage.observing import ids_of

EVERY_KIND = {
    EnrollmentKind.DEVICE: device("UDID-1"),
    EnrollmentKind.USER: user("UDID-1", "USER-1"),
    EnrollmentKind.USER_ENROLLMENT: user_enrollment("ENROLLMENT-1"),
    EnrollmentKind.USER_ENROLLMENT_USER: user_enrollment("ENROLLMENT-1", "USER-1"),
    EnrollmentKind.SHARED_IPAD: user("UDID-1", SHARED, "a@example.com"),
}


# --- Authenticate ---


def test_authenticate_makes_a_record_that_is_not_enrolled(store: Store, phone: Device) -> None:
    facts = {"serial_number": "S1", "model_name": "MacBook \U0001f34e", "imei": ""}
    assert phone.authenticates(**facts) is False
    record = store.enrollment("UDID-1")
    assert len(record.target_id) == 24
    assert record == EnrollmentRecord(
        "UDID-1",
        record.target_id,
        EnrollmentKind.DEVICE,
        "UDID-1",
        "UDID-1",
        facts=facts,
        listed=True,
        fingerprint=phone.who.fingerprint,
        last_seen_at=phone.clock.now,
        authenticated_at=phone.clock.now,
    )
    assert record.serial_number == "S1"


def test_target_id_is_fixed_for_life_and_of_one_enrollment(store: Store) -> None:
    seen = {}
    for number in range(10):
        phone = Device(store, f"UDID-{number}")
        phone.queue("c1")
        seen[phone.id] = store.enrollment(phone.id).target_id
        phone.enrolls()
        store.remove_devices([phone.id], purge=True, at=NOW)
        phone.enrolls()
        assert store.enrollment(phone.id).target_id == seen[phone.id]
    assert len(set(seen.values())) == 10


def test_authenticate_withdraws_the_queue_whatever_its_states(store: Store, phone: Device) -> None:
    phone.queue("c1", "c2", "c3", "c4")
    phone.run("Acknowledged", "NotNow")
    phone.authenticates()
    states = ["Acknowledged", "ProtectionCanceled", "ProtectionCanceled", "ProtectionCanceled"]
    assert [phone.state(f"c{n}") for n in (1, 2, 3, 4)] == states
    assert phone.record("c4").canceled_at == phone.record("c4").updated_at == phone.clock.now
    assert phone.waiting() == []
    assert phone.says("Idle") is None
    phone.queue("c5")
    assert phone.says("Idle") == "c5"


def test_authenticate_leaves_other_queues_alone(store: Store, phone: Device) -> None:
    channel = Device(store, user("UDID-1", "USER-1"), phone.who)
    channel.queue("c1")
    phone.authenticates()
    assert channel.waiting() == ["c1"]


def test_authenticate_again_replaces_the_facts_and_keeps_tokens(store: Store, phone: Device) -> None:
    phone.authenticates(serial_number="S1", imei="I1")
    phone.updates_token(unlock_token=b"unlock")
    store.set_bootstrap_token(set_bootstrap_token(phone.ref, b"bootstrap"), phone.who, None, at=NOW)
    phone.authenticates(serial_number="S2")
    record = store.enrollment("UDID-1")
    assert (record.facts, record.enrolled, record.listed) == ({"serial_number": "S2"}, False, True)
    assert (record.unlock_token, record.bootstrap_token) == (b"unlock", b"bootstrap")
    assert (ids_of(store, serials=("S1",)), ids_of(store, serials=("S2",))) == ([], ["UDID-1"])
    assert store.push_target("UDID-1").push_magic == "magic UDID-1"


def test_authenticate_of_a_user_enrollment(store: Store) -> None:
    phone = Device(store, user_enrollment("ENROLLMENT-1")).enrolls()
    record = store.enrollment("ENROLLMENT-1")
    assert (record.kind, record.device_id, record.udid) == (
        EnrollmentKind.USER_ENROLLMENT,
        "ENROLLMENT-1",
        "",
    )
    assert ids_of(store) == [phone.id]


# --- TokenUpdate ---


def test_first_token_update_since_authenticate_is_told(phone: Device) -> None:
    assert phone.updates_token() is False
    for _ in range(2):
        phone.authenticates()
        assert phone.updates_token() is True
        assert phone.updates_token() is False


def test_token_update_enrolls_a_device_with_a_record(store: Store, phone: Device) -> None:
    phone.authenticates()
    message = token_update(phone.ref, awaiting=True)
    store.token_update(message, phone.who, None, at=NOW + timedelta(hours=1))
    record = store.enrollment("UDID-1")
    assert (record.enrolled, record.awaiting_configuration) == (True, True)
    assert record.token_update_at == record.last_seen_at == NOW + timedelta(hours=1)
    phone.updates_token()
    assert store.enrollment("UDID-1").awaiting_configuration is False


def test_authenticate_ends_the_wait_for_configuration(store: Store, phone: Device) -> None:
    phone.authenticates()
    store.token_update(token_update(phone.ref, awaiting=True), phone.who, None, at=NOW)
    phone.authenticates()
    assert store.enrollment("UDID-1").awaiting_configuration is False


def test_token_update_without_a_record_keeps_push_data_only(store: Store, phone: Device) -> None:
    phone.updates_token()
    record = store.enrollment("UDID-1")
    assert (record.listed, record.enrolled) == (False, False)
    assert ids_of(store) == []
    assert store.push_target("UDID-1").topic == TOPIC


def test_token_update_without_unlock_token_keeps_the_stored_one(store: Store, phone: Device) -> None:
    phone.authenticates()
    phone.updates_token(unlock_token=b"\x00\xffunlock")
    phone.updates_token()
    assert store.enrollment("UDID-1").unlock_token == b"\x00\xffunlock"
    phone.updates_token(unlock_token=b"new")
    assert store.enrollment("UDID-1").unlock_token == b"new"
    phone.updates_token(unlock_token=b"")
    assert store.enrollment("UDID-1").unlock_token == b""


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_token_update_on_every_kind_of_channel(store: Store, kind: EnrollmentKind) -> None:
    ref = EVERY_KIND[kind]
    named = dataclasses.replace(ref, user_long_name="Long Name") if ref.kind.is_user_channel else ref
    Device(store, named).updates_token()
    record = store.enrollment(ref.enrollment_id)
    assert (record.kind, record.device_id, record.udid) == (kind, ref.device_id, ref.udid)
    assert (record.user_id, record.user_short_name) == (ref.user_id, ref.user_short_name)
    assert record.user_long_name == named.user_long_name
    assert record.enrolled is False
    assert store.push_target(ref.enrollment_id).push_magic == f"magic {ref.enrollment_id}"


def test_token_update_of_a_user_channel_is_never_the_first_nor_an_enrollment(store: Store) -> None:
    phone = Device(store, "UDID-1")
    phone.authenticates()
    channel = Device(store, user("UDID-1", "USER-1"), phone.who)
    assert channel.updates_token() is False
    assert store.enrollment("UDID-1").enrolled is False
    assert ids_of(store) == ["UDID-1"]
    assert phone.updates_token() is True


# --- CheckOut ---


def test_check_out_ends_the_enrollment_and_leaves_the_queue(store: Store, phone: Device) -> None:
    phone.enrolls()
    phone.queue("c1")
    phone.checks_out()
    record = store.enrollment("UDID-1")
    assert (record.enrolled, record.listed) == (False, True)
    assert record.last_seen_at == phone.clock.now
    assert record.fingerprint == phone.who.fingerprint
    assert phone.waiting() == ["c1"]
    assert store.push_target("UDID-1").push_magic == "magic UDID-1"
    phone.enrolls()
    assert store.enrollment("UDID-1").enrolled is True
    assert phone.state("c1") == "ProtectionCanceled"


def test_check_out_without_a_record_makes_none(store: Store, phone: Device) -> None:
    phone.checks_out()
    assert ids_of(store) == []
    assert store.enrollment("UDID-1").listed is False


# --- bootstrap token ---


def bootstrap(phone: Device, token: bytes, ref: EnrollmentRef | None = None) -> bool:
    message = set_bootstrap_token(ref or phone.ref, token)
    return phone.store.set_bootstrap_token(message, phone.who, None, at=phone.clock.move(1))


def fetched(phone: Device, ref: EnrollmentRef | None = None) -> bytes:
    message = get_bootstrap_token(ref or phone.ref)
    return phone.store.get_bootstrap_token(message, phone.who, None, at=phone.clock.move(1))


def test_bootstrap_token_is_kept_until_an_empty_one_comes(store: Store, phone: Device) -> None:
    phone.enrolls()
    assert fetched(phone) == b""
    assert bootstrap(phone, b"\x00token") is True
    assert fetched(phone) == b"\x00token"
    assert store.enrollment("UDID-1").bootstrap_token == b"\x00token"
    assert store.enrollment("UDID-1").last_seen_at == phone.clock.now
    bootstrap(phone, b"")
    assert fetched(phone) == b""


def test_bootstrap_token_on_the_user_channel_is_the_device_s(store: Store, phone: Device) -> None:
    phone.enrolls()
    channel = user("UDID-1", "USER-1")
    assert bootstrap(phone, b"token", channel) is True
    assert fetched(phone) == fetched(phone, channel) == b"token"


def test_bootstrap_token_keeps_awaiting_configuration(store: Store, phone: Device) -> None:
    phone.authenticates()
    store.token_update(token_update(phone.ref, awaiting=True), phone.who, None, at=NOW)
    bootstrap(phone, b"token")
    fetched(phone)
    assert store.enrollment("UDID-1").awaiting_configuration is True


def test_bootstrap_token_without_a_record_is_dropped(store: Store, phone: Device) -> None:
    assert bootstrap(phone, b"token") is False
    with pytest.raises(NotFound):
        fetched(phone)
    phone.enrolls()
    assert fetched(phone) == b""


# --- events with the messages ---


def test_every_message_stores_its_event_in_the_same_call(store: Store, phone: Device) -> None:
    cursor = store.receiver("r").cursor
    who, ref = phone.who, phone.ref
    store.authenticate(authenticate(ref), who, event("1"), event("rebound"), at=NOW)
    store.token_update(token_update(ref), who, event("2"), at=NOW)
    bootstrap(phone, b"token")
    store.set_bootstrap_token(set_bootstrap_token(ref, b""), who, event("3"), at=NOW)
    store.get_bootstrap_token(get_bootstrap_token(ref), who, event("4"), at=NOW)
    other = identity("new")
    store.authenticate(authenticate(ref), other, event("5"), event("6"), at=NOW)
    store.enqueue(ref.enrollment_id, command("c1"), at=NOW)
    events = store.events_after(cursor, 100)
    assert [one.body.decode() for one in events] == list("123456")
    assert {one.enrollment_id for one in events} == {"UDID-1"}


def test_the_empty_id_names_nobody(store: Store) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.enqueue("", command("c"), at=NOW),
        lambda: store.enqueue("", command("c"), at=NOW, once=Once(b"k" * 32, b"answer")),
        lambda: store.waiting(""),
        lambda: store.clear("", at=NOW),
        lambda: store.block("", at=NOW),
        lambda: store.enrollment(""),
        lambda: store.command("", "c"),
        lambda: store.push_target(""),
    ]
    for call in calls:
        with pytest.raises(MalformedField):
            call()
    assert store.enqueue("UDID-1", command("c"), at=NOW, once=Once(b"k" * 32, b"answer")).answer is None
