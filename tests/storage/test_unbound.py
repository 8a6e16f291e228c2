"""The contract of `UNBOUND`: an administrator vouches for a device, and no certificate is bound by it."""

import pytest

from micromdm_py.errors import IdentityMismatch
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import UNBOUND
from tests.builders import (
    NOW,
    Device,
    authenticate,
    device,
    identity,
    set_bootstrap_token,
    token_update,
    user,
    user_enrollment,
)


def vouch(store: Store, udid: str = "UDID") -> None:
    ref = device(udid)
    assert not store.authenticate(authenticate(ref), UNBOUND, None, None, at=NOW)
    assert store.token_update(token_update(ref), UNBOUND, None, at=NOW)
    assert store.set_bootstrap_token(set_bootstrap_token(ref, b"boot"), UNBOUND, None, at=NOW)


def test_the_first_certificate_is_bound_later(store: Store) -> None:
    vouch(store)
    record = store.enrollment("UDID")
    assert (record.enrolled, record.listed, record.fingerprint, record.bootstrap_token) == (
        True,
        True,
        b"",
        b"boot",
    )
    phone = Device(store, "UDID", identity("first"))
    phone.queue("one")
    assert phone.says("Idle") == "one"
    assert store.enrollment("UDID").fingerprint == identity("first").fingerprint
    with pytest.raises(IdentityMismatch):
        Device(store, "UDID", identity("second")).says("Idle")


def test_several_unbound_enrollments_do_not_know_each_other(store: Store) -> None:
    for udid in ("A", "B"):
        vouch(store, udid)
    strict = identity("first", exclusive=True)
    Device(store, "A", strict).says("Idle")
    with pytest.raises(IdentityMismatch):
        Device(store, "B", strict).says("Idle")


def test_the_kind_of_an_enrollment_is_kept(store: Store) -> None:
    ref = user_enrollment("E")
    store.authenticate(authenticate(ref), UNBOUND, None, None, at=NOW)
    with pytest.raises(IdentityMismatch):
        Device(store, device("E"), identity("x")).says("Idle")
    with pytest.raises(IdentityMismatch):
        store.token_update(token_update(device("E")), UNBOUND, None, at=NOW)


def test_what_is_bound_stays_bound(store: Store) -> None:
    phone = Device(store, "UDID", identity("first")).enrolls()
    store.token_update(token_update(device("UDID"), token=b"new"), UNBOUND, None, at=NOW)
    assert store.push_target("UDID").token_hex == b"new".hex()
    assert store.enrollment("UDID").fingerprint == phone.who.fingerprint


def test_a_queue_that_was_there_before_is_the_new_enrollment_s(store: Store) -> None:
    phone = Device(store, "UDID", identity("first"))
    phone.queue("before")
    vouch(store)
    assert store.waiting("UDID") == []
    phone.queue("after")
    assert phone.says("Idle") == "after"


def test_user_channels_follow_their_device(store: Store) -> None:
    vouch(store)
    store.token_update(token_update(user("UDID", "U")), UNBOUND, None, at=NOW)
    Device(store, device("UDID"), identity("first")).says("Idle")
    assert Device(store, user("UDID", "U"), identity("first")).says("Idle") is None
    with pytest.raises(IdentityMismatch):
        Device(store, user("UDID", "U"), identity("second")).says("Idle")
