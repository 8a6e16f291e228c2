"""A method that raises has changed nothing; what is refused for lack of room can be tried again later."""

from collections.abc import Callable
from pathlib import Path

import pytest

from micromdm_py.errors import MdmError, StorageUnavailable
from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.store import open_store
from micromdm_py.storage.records import DeviceFilter, NewEntry, Once
from tests.builders import (
    NOW,
    SHARED,
    Device,
    authenticate,
    check_out,
    command,
    device,
    event,
    get_bootstrap_token,
    identity,
    report,
    set_bootstrap_token,
    token_update,
    user,
    user_enrollment,
)
from tests.storage.observing import contents

ONCE = Once(b"k" * 32, b"answer")
PHONE, NEW, BLOCKED = device("UDID-1"), device("UDID-9"), device("UDID-2")
WRONG = identity("wrong")
STRICT = identity("wrong", allow_rebind=False)
EXCLUSIVE = identity("of UDID-1", exclusive=True)
E1 = event("1")

Call = Callable[[Store], object]

RAISING: dict[str, Call] = {
    "connect, wrong certificate": lambda s: s.record_report(report(PHONE, "NotNow", "c2"), WRONG, E1, at=NOW),
    "connect of a blocked device": lambda s: s.record_report(report(BLOCKED, "Idle"), WRONG, E1, at=NOW),
    "connect of its user": lambda s: s.record_report(
        report(user("UDID-2", "USER-7"), "Idle"), WRONG, E1, at=NOW
    ),
    "connect by another kind of id": lambda s: s.record_report(
        report(user_enrollment("UDID-1"), "Idle"), WRONG, E1, at=NOW
    ),
    "connect with a new and a wrong id": lambda s: s.record_report(
        report(user_enrollment("NEW", udid="UDID-1"), "Idle"), WRONG, E1, at=NOW
    ),
    "connect, certificate of another": lambda s: s.record_report(report(NEW, "Idle"), EXCLUSIVE, E1, at=NOW),
    "authenticate, bound": lambda s: s.authenticate(authenticate(PHONE), STRICT, E1, E1, at=NOW),
    "authenticate, other kind": lambda s: s.authenticate(
        authenticate(user_enrollment("UDID-1")), WRONG, E1, E1, at=NOW
    ),
    "token update": lambda s: s.token_update(token_update(PHONE), WRONG, E1, at=NOW),
    "token update of a new user": lambda s: s.token_update(
        token_update(user("UDID-1", "USER-9")), WRONG, E1, at=NOW
    ),
    "check out": lambda s: s.check_out(check_out(PHONE), WRONG, E1, at=NOW),
    "set bootstrap token": lambda s: s.set_bootstrap_token(
        set_bootstrap_token(PHONE, b"t"), WRONG, E1, at=NOW
    ),
    "get bootstrap token": lambda s: s.get_bootstrap_token(get_bootstrap_token(PHONE), WRONG, E1, at=NOW),
    "get bootstrap token, no record": lambda s: s.get_bootstrap_token(
        get_bootstrap_token(NEW), WRONG, E1, at=NOW
    ),
    "check binding": lambda s: s.check_binding(PHONE, WRONG, at=NOW),
    "enqueue to an ambiguous user": lambda s: s.enqueue("USER-1", command("c"), at=NOW, once=ONCE),
    "enqueue to every Shared iPad": lambda s: s.enqueue(SHARED, command("c"), at=NOW, once=ONCE),
    "enqueue to several, one ambiguous": lambda s: s.enqueue_all(
        [("UDID-1", command("c")), ("new", command("c")), ("USER-1", command("c"))], at=NOW
    ),
    "cancel what is done": lambda s: s.cancel("UDID-1", "c4", at=NOW),
    "cancel the unknown": lambda s: s.cancel("UDID-1", "c5", at=NOW),
    "clear an ambiguous user": lambda s: s.clear("USER-1", at=NOW),
    "push to an ambiguous user": lambda s: s.schedule_push("USER-1", at=NOW),
    "push without push data": lambda s: s.schedule_push("UDID-2", at=NOW),
    "remove, one unknown": lambda s: s.remove_devices(["UDID-1", "nobody"], purge=True, at=NOW),
    "remove, none": lambda s: s.remove_devices(["UDID-2"], purge=False, at=NOW),
    "unblock what is not blocked": lambda s: s.unblock("UDID-1"),
    "unblock the unknown": lambda s: s.unblock("nobody"),
}


@pytest.mark.parametrize("call", RAISING.values(), ids=RAISING)
def test_call_that_raises_changes_nothing(store: Store, call: Call) -> None:
    phone = Device(store, "UDID-1").enrolls()
    phone.queue("c4")
    phone.run("Acknowledged")
    phone.queue("c1", "c2", "c3")
    phone.run("NotNow")
    store.set_bootstrap_token(set_bootstrap_token(phone.ref, b"token"), phone.who, None, at=NOW)
    for udid in ("UDID-1", "UDID-3"):
        Device(store, user(udid, "USER-1")).updates_token()
    store.block("UDID-2", at=NOW)
    before = contents(store)
    with pytest.raises(MdmError):
        call(store)
    assert contents(store) == before


def test_full_store_says_so_and_goes_on_reading(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size_bytes=1 << 20)
    phone = Device(store, "UDID-1").enrolls()
    kept = 0
    with pytest.raises(StorageUnavailable):
        for kept in range(1000):
            store.enqueue(phone.id, NewEntry(f"c{kept}", "InstallProfile", bytes(50_000)), at=NOW)
    before = contents(store)
    assert phone.waiting() == [f"c{number}" for number in range(kept)]
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            store.enqueue(phone.id, NewEntry("more", "InstallProfile", bytes(200_000)), at=NOW)
    assert contents(store) == before
    assert store.enrollment(phone.id).enrolled
    store.close()


def test_full_store_opened_with_more_room_takes_more(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size_bytes=1 << 20)
    entry = NewEntry("c", "InstallProfile", bytes(700_000))
    store.enqueue("UDID-1", entry, at=NOW)
    with pytest.raises(StorageUnavailable):
        store.enqueue("UDID-1", entry, at=NOW)
    store.close()
    store = open_store(tmp_path / "store", map_size_bytes=1 << 24)
    store.enqueue("UDID-1", entry, at=NOW)
    assert len(store.waiting("UDID-1")) == 2
    store.close()


def test_write_that_found_no_room_leaves_room_for_smaller_ones(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size_bytes=1 << 20)
    phone = Device(store, "UDID-1").enrolls()
    for number in range(5):
        with pytest.raises(StorageUnavailable):
            store.enqueue(phone.id, NewEntry("large", "InstallProfile", bytes(2 << 20)), at=NOW)
        phone.queue(f"c{number}")
        Device(store, f"UDID-{number + 2}").enrolls()
    assert phone.run(*["Acknowledged"] * 5) == ["c0", "c1", "c2", "c3", "c4", ""]
    assert len(store.devices(DeviceFilter())) == 6
    store.close()


def test_device_enrolls_with_all_that_welcomes_it_or_not_at_all(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size_bytes=1 << 20)
    phone = Device(store, "UDID-1")
    phone.authenticates()
    before = contents(store)
    welcome = [command("small"), NewEntry("large", "InstallProfile", bytes(2 << 20))]
    with pytest.raises(StorageUnavailable):
        store.token_update(token_update(phone.ref), phone.who, E1, at=NOW, welcome=welcome)
    assert contents(store) == before
    assert store.token_update(token_update(phone.ref), phone.who, E1, at=NOW, welcome=welcome[:1])
    assert phone.waiting() == ["small"]
    store.close()
