"""Device records as administrators see them: listing, blocking, removing."""

from datetime import timedelta

import pytest

from micromdm_py.errors import MalformedField, NotFound, Unenroll
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import DeviceFilter
from tests.builders import (
    NOW,
    Device,
    identity,
    set_bootstrap_token,
    token_update,
    user,
    user_enrollment,
)
from tests.storage.observing import ids_of

# --- listing ---


def test_devices_are_listed_by_enrollment_id(store: Store) -> None:
    for name in ("b", "B", "a", "ä", "a1", "UDID-10", "UDID-9"):
        Device(store, name).enrolls()
    Device(store, user_enrollment("E")).enrolls()
    Device(store, user("a", "USER-1")).updates_token()
    Device(store, "only queued").queue("c1")
    assert ids_of(store) == ["B", "E", "UDID-10", "UDID-9", "a", "a1", "b", "ä"]


def test_devices_come_in_pages(store: Store) -> None:
    for number in range(10):
        Device(store, f"UDID-{number}").enrolls(serial_number=f"S{number}")
    assert ids_of(store, limit=3) == ["UDID-0", "UDID-1", "UDID-2"]
    assert ids_of(store, offset=8, limit=3) == ["UDID-8", "UDID-9"]
    assert ids_of(store, offset=7) == ["UDID-7", "UDID-8", "UDID-9"]
    assert ids_of(store, offset=10) == ids_of(store, limit=0) == []
    chosen = ("S1", "S3", "S5", "S7")
    assert ids_of(store, serials=chosen, offset=1, limit=2) == ["UDID-3", "UDID-5"]
    assert ids_of(store, udids=("UDID-7", "UDID-2", "UDID-4"), offset=1) == ["UDID-4", "UDID-7"]


def test_devices_are_filtered_by_exact_values(store: Store) -> None:
    for number, serial in enumerate(("S1", "S10", "S2", "")):
        Device(store, f"UDID-{number}").enrolls(serial_number=serial)
    assert ids_of(store, serials=("S1",)) == ["UDID-0"]
    assert ids_of(store, serials=("S2", "S1", "S1", "nobody")) == ["UDID-0", "UDID-2"]
    assert ids_of(store, serials=("",)) == []
    assert ids_of(store, serials=("s1",)) == []
    assert ids_of(store, udids=("UDID-1", "nobody")) == ["UDID-1"]
    assert ids_of(store, serials=("S1", "S10"), udids=("UDID-1", "UDID-2")) == ["UDID-1"]
    assert ids_of(store, serials=("S1",), udids=("UDID-2",)) == []


def test_serial_numbers_are_told_apart_whatever_a_device_says(store: Store) -> None:
    odd = ("S1", "S1\0", "S1\0" + "x" * 9, "S" * 5000, "S" * 5001, "\0", "S\ud800", "S?")
    for number, serial in enumerate(odd):
        Device(store, f"UDID-{number}").enrolls(serial_number=serial)
    assert [ids_of(store, serials=(serial,)) for serial in odd] == [[f"UDID-{n}"] for n in range(len(odd))]


def test_devices_with_the_same_serial_number_stay_two(store: Store) -> None:
    Device(store, "UDID-1").enrolls(serial_number="S1")
    Device(store, "UDID-2").enrolls(serial_number="S1")
    assert ids_of(store, serials=("S1",)) == ["UDID-1", "UDID-2"]
    assert [one.enrolled for one in store.devices(DeviceFilter())] == [True, True]


def test_user_channels_are_no_devices_even_by_filter(store: Store) -> None:
    Device(store, user("UDID-1", "USER-1")).updates_token()
    assert ids_of(store, udids=("UDID-1", "UDID-1:USER-1")) == []


def test_enrolled_topics_count_enrolled_devices(store: Store) -> None:
    assert store.enrolled_topics() == {}
    for number, topic in enumerate(("T1", "T1", "T2", "T3")):
        phone = Device(store, f"UDID-{number}")
        phone.authenticates()
        store.token_update(token_update(phone.ref, topic=topic), phone.who, None, at=NOW)
    phone.checks_out()
    channel = user("UDID-1", "USER-1")
    who = identity("of UDID-1")
    store.token_update(token_update(channel, topic="T1"), who, None, at=NOW)
    Device(store, "no record").updates_token()
    assert store.enrolled_topics() == {"T1": 2, "T2": 1}


# --- blocking ---


def test_unknown_udid_may_be_blocked(store: Store, phone: Device) -> None:
    store.block("UDID-1", at=NOW)
    store.block("UDID-1", at=NOW)
    assert store.enrollment("UDID-1").blocked is True
    assert ids_of(store) == []
    with pytest.raises(Unenroll):
        phone.says("Idle")
    store.unblock("UDID-1")
    assert phone.says("Idle") is None


def test_block_outlives_a_new_enrollment(store: Store, phone: Device) -> None:
    phone.enrolls()
    store.block("UDID-1", at=NOW)
    phone.enrolls()
    assert store.enrollment("UDID-1").blocked is True
    with pytest.raises(Unenroll):
        phone.says("Idle")


def test_block_of_one_device_is_not_that_of_another(store: Store) -> None:
    Device(store, "UDID-1").enrolls()
    store.block("UDID-1", at=NOW)
    assert Device(store, "UDID-10").says("Idle") is None


def test_unblocking_what_is_not_blocked_is_not_found(store: Store, phone: Device) -> None:
    for known in (False, True):
        with pytest.raises(NotFound):
            store.unblock("UDID-1")
        if not known:
            phone.enrolls()


# --- removing ---


def test_removing_a_device_deletes_its_record_only(store: Store, phone: Device) -> None:
    phone.authenticates(serial_number="S1")
    phone.updates_token(unlock_token=b"unlock")
    store.set_bootstrap_token(set_bootstrap_token(phone.ref, b"token"), phone.who, None, at=NOW)
    phone.queue("c1")
    store.block("UDID-1", at=NOW)
    store.remove_devices(["UDID-1"], purge=False, at=NOW)
    assert ids_of(store) == ids_of(store, serials=("S1",)) == ids_of(store, udids=("UDID-1",)) == []
    record = store.enrollment("UDID-1")
    assert (record.listed, record.enrolled, record.facts) == (False, False, {})
    assert (record.unlock_token, record.bootstrap_token) == (b"", b"")
    assert (record.blocked, record.fingerprint) == (True, phone.who.fingerprint)
    assert phone.waiting() == ["c1"]
    assert store.push_target("UDID-1").push_magic == "magic UDID-1"


def test_token_update_of_a_removed_device_makes_no_record(store: Store, phone: Device) -> None:
    phone.authenticates()
    store.remove_devices(["UDID-1"], purge=False, at=NOW)
    assert phone.updates_token() is False
    assert ids_of(store) == []
    assert store.enrollment("UDID-1").enrolled is False


def test_purging_a_device_withdraws_its_queue_and_forgets_it(store: Store, phone: Device) -> None:
    phone.enrolls()
    phone.queue("c1", "c2", "c3")
    phone.run("Acknowledged", "NotNow")
    store.block("UDID-1", at=NOW)
    store.remove_devices(["UDID-1"], purge=True, at=NOW)
    assert [phone.state(f"c{n}") for n in (1, 2, 3)] == [
        "Acknowledged",
        "ProtectionCanceled",
        "ProtectionCanceled",
    ]
    record = store.enrollment("UDID-1")
    assert (record.blocked, record.fingerprint) == (False, b"")
    with pytest.raises(NotFound):
        store.push_target("UDID-1")
    assert store.due_pushes(at=NOW + timedelta(days=1), limit=10) == ([], None)
    assert Device(store, "UDID-1", identity("new")).says("Idle") is None


def test_purged_device_may_enroll_again(store: Store, phone: Device) -> None:
    phone.enrolls()
    phone.queue("c1", "c2")
    phone.run("NotNow")
    store.remove_devices(["UDID-1"], purge=True, at=NOW)
    phone.enrolls()
    phone.queue("c3")
    assert phone.run("NotNow") == ["c3", ""]
    assert phone.says("Idle") == "c3"
    assert ids_of(store) == ["UDID-1"]


def test_devices_are_removed_by_any_of_their_names(store: Store) -> None:
    for number in range(4):
        Device(store, f"UDID-{number}").enrolls(serial_number=f"S{number}")
    Device(store, user_enrollment("ENROLLMENT-1")).enrolls(serial_number="")
    store.remove_devices(["UDID-0", "S1", "ENROLLMENT-1", "UDID-1"], purge=False, at=NOW)
    assert ids_of(store) == ["UDID-2", "UDID-3"]
    store.remove_devices([], purge=False, at=NOW)
    assert ids_of(store) == ["UDID-2", "UDID-3"]


@pytest.mark.parametrize("unknown", ["nobody", "", "UDID-2", "UDID-0:USER-1"])
def test_nothing_is_removed_when_one_is_unknown(store: Store, unknown: str) -> None:
    phone = Device(store, "UDID-0").enrolls(serial_number="")
    Device(store, user("UDID-0", "USER-1"), phone.who).updates_token()
    Device(store, "UDID-1").enrolls()
    Device(store, "UDID-2").queue("c1")
    phone.queue("c1")
    with pytest.raises(NotFound, match=f"key {unknown}"):
        store.remove_devices(["UDID-0", unknown, "UDID-1"], purge=True, at=NOW)
    assert ids_of(store) == ["UDID-0", "UDID-1"]
    assert phone.waiting() == ["c1"]


# --- ids that nothing can have ---


@pytest.mark.parametrize("name", ["", "x" * 600, "ü" * 255, "a\0b"])
def test_id_that_no_enrollment_can_have_is_unknown(store: Store, name: str) -> None:
    assert ids_of(store, udids=(name,)) == ids_of(store, serials=(name,)) == []
    for call in (
        lambda: store.enrollment(name),
        lambda: store.command(name, "c1"),
        lambda: store.push_target(name),
        lambda: store.schedule_push(name, at=NOW),
        lambda: store.unblock(name),
        lambda: store.remove_devices([name], purge=True, at=NOW),
    ):
        with pytest.raises((NotFound, MalformedField)):
            call()
