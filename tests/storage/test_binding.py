"""Which certificate may act for which enrollment."""

from collections.abc import Callable

import pytest

from micromdm_py.errors import IdentityMismatch, NotFound
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import Identity
from tests.builders import (
    NOW,
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

Send = Callable[[Store, EnrollmentRef, Identity], object]

MESSAGES: dict[str, Send] = {
    "connect": lambda s, ref, who: s.record_report(report(ref, "Idle"), who, event("e"), at=NOW),
    "idle": lambda s, ref, who: s.nothing_to_do(report(ref, "Idle"), who, at=NOW),
    "TokenUpdate": lambda s, ref, who: s.token_update(token_update(ref), who, event("e"), at=NOW),
    "CheckOut": lambda s, ref, who: s.check_out(check_out(ref), who, event("e"), at=NOW),
    "SetBootstrapToken": lambda s, ref, who: s.set_bootstrap_token(
        set_bootstrap_token(ref, b"t"), who, event("e"), at=NOW
    ),
    "GetBootstrapToken": lambda s, ref, who: s.get_bootstrap_token(
        get_bootstrap_token(ref), who, event("e"), at=NOW
    ),
    "other": lambda s, ref, who: s.check_binding(ref, who, at=NOW),
}
THAT_BIND = [name for name in MESSAGES if name not in ("idle", "GetBootstrapToken")]

every_message = pytest.mark.parametrize("send", MESSAGES.values(), ids=MESSAGES)
every_binding_message = pytest.mark.parametrize("send", [MESSAGES[n] for n in THAT_BIND], ids=THAT_BIND)


def bound(store: Store, enrollment_id: str = "UDID-1") -> bytes:
    try:
        return store.enrollment(enrollment_id).fingerprint
    except NotFound:
        return b""


@every_binding_message
def test_first_message_binds(store: Store, send: Send) -> None:
    send(store, device("UDID-1"), identity("A"))
    assert bound(store) == identity("A").fingerprint


@every_message
def test_another_certificate_is_refused_and_nothing_changes(store: Store, send: Send) -> None:
    Device(store, "UDID-1", identity("A")).enrolls()
    store.enqueue("UDID-1", command("c1"), at=NOW)
    before = store.enrollment("UDID-1"), store.push_target("UDID-1"), store.waiting("UDID-1")
    cursor = store.receiver("r").cursor
    with pytest.raises(IdentityMismatch):
        send(store, device("UDID-1"), identity("B"))
    assert (store.enrollment("UDID-1"), store.push_target("UDID-1"), store.waiting("UDID-1")) == before
    assert store.events_after(cursor, 10) == []


@every_message
def test_user_channel_is_bound_by_its_device(store: Store, send: Send) -> None:
    Device(store, "UDID-1", identity("A")).enrolls()
    channel = user("UDID-1", "USER-1")
    with pytest.raises(IdentityMismatch):
        send(store, channel, identity("B"))
    with pytest.raises(NotFound):
        store.enrollment(channel.enrollment_id)
    send(store, channel, identity("A"))


@every_binding_message
def test_user_channel_that_speaks_first_binds_its_device(store: Store, send: Send) -> None:
    send(store, user("UDID-1", "USER-1"), identity("A"))
    assert bound(store) == identity("A").fingerprint
    assert bound(store, "UDID-1:USER-1") == b""
    with pytest.raises(IdentityMismatch):
        send(store, device("UDID-1"), identity("B"))


@every_message
def test_user_enrollment_is_bound_too(store: Store, send: Send) -> None:
    Device(store, user_enrollment("ENROLLMENT-1"), identity("A")).enrolls()
    for ref in (user_enrollment("ENROLLMENT-1"), user_enrollment("ENROLLMENT-1", "USER-1")):
        with pytest.raises(IdentityMismatch):
            send(store, ref, identity("B"))


@every_message
def test_enrollment_id_equal_to_anothers_udid_is_refused(store: Store, send: Send) -> None:
    Device(store, "VICTIM", identity("A")).enrolls()
    for rule in ({}, {"warn_only": True}, {"allow_rebind": True}):
        with pytest.raises(IdentityMismatch):
            send(store, user_enrollment("VICTIM"), identity("B", **rule))
        with pytest.raises(IdentityMismatch):
            send(store, user_enrollment("VICTIM", "USER-1"), identity("B", **rule))
    assert bound(store, "VICTIM") == identity("A").fingerprint


@every_message
def test_udid_equal_to_anothers_enrollment_id_is_refused(store: Store, send: Send) -> None:
    Device(store, user_enrollment("VICTIM"), identity("A")).enrolls()
    for rule in ({}, {"warn_only": True}):
        with pytest.raises(IdentityMismatch):
            send(store, device("VICTIM"), identity("B", **rule))


@pytest.mark.parametrize("rule", [{}, {"warn_only": True}])
def test_authenticate_does_not_take_over_an_id_of_another_kind(store: Store, rule: dict[str, bool]) -> None:
    phone = Device(store, "VICTIM", identity("A")).enrolls()
    phone.queue("c1")
    with pytest.raises(IdentityMismatch):
        Device(store, user_enrollment("VICTIM"), identity("B", **rule)).authenticates()
    assert phone.says("Idle") == "c1"


def test_message_with_both_ids_must_fit_both(store: Store) -> None:
    Device(store, "VICTIM", identity("A")).enrolls()
    both = user_enrollment("ENROLLMENT-1", udid="VICTIM")
    for send in (*MESSAGES.values(), lambda s, r, w: Device(s, r, w).authenticates()):
        if send is MESSAGES["idle"]:
            continue
        with pytest.raises(IdentityMismatch):
            send(store, both, identity("B", allow_rebind=False))
        assert bound(store, "ENROLLMENT-1") == b"", "nothing is bound by a refused message"


def test_message_with_both_ids_binds_both(store: Store) -> None:
    both = user_enrollment("ENROLLMENT-1", udid="UDID-1")
    Device(store, both, identity("A")).enrolls()
    assert bound(store, "ENROLLMENT-1") == bound(store, "UDID-1") == identity("A").fingerprint
    for ref in (device("UDID-1"), user_enrollment("ENROLLMENT-1")):
        with pytest.raises(IdentityMismatch):
            Device(store, ref, identity("B")).says("Idle")


def test_one_certificate_may_act_for_several_devices(store: Store) -> None:
    for number in range(3):
        Device(store, f"UDID-{number}", identity("A")).enrolls()
    assert [bound(store, f"UDID-{n}") for n in range(3)] == [identity("A").fingerprint] * 3


def test_udids_are_told_apart_by_case(store: Store) -> None:
    Device(store, "udid-1", identity("A")).says("Idle")
    Device(store, "UDID-1", identity("B")).says("Idle")
    assert bound(store, "UDID-1") != bound(store, "udid-1")


# --- Authenticate with another certificate ---


def test_authenticate_binds_again_and_says_so(store: Store) -> None:
    assert Device(store, "UDID-1", identity("A")).authenticates() is False
    assert Device(store, "UDID-1", identity("A")).authenticates() is False
    assert Device(store, "UDID-1", identity("B")).authenticates() is True
    assert bound(store) == identity("B").fingerprint
    with pytest.raises(IdentityMismatch):
        Device(store, "UDID-1", identity("A")).says("Idle")


def test_event_of_a_rebinding_is_stored_only_with_one(store: Store) -> None:
    cursor = store.receiver("r").cursor
    for who in ("A", "A", "B"):
        store.authenticate(
            authenticate(device("UDID-1")), identity(who), event(who), event("rebound"), at=NOW
        )
    assert [one.body for one in store.events_after(cursor, 10)] == [b"A", b"A", b"B", b"rebound"]


def test_authenticate_may_be_kept_from_binding_again(store: Store) -> None:
    phone = Device(store, "UDID-1", identity("A")).enrolls()
    phone.queue("c1")
    before = store.enrollment("UDID-1")
    with pytest.raises(IdentityMismatch):
        Device(store, "UDID-1", identity("B", allow_rebind=False)).authenticates()
    assert store.enrollment("UDID-1") == before
    assert phone.waiting() == ["c1"]
    Device(store, "UDID-1", identity("A", allow_rebind=False)).authenticates()
    Device(store, "UDID-2", identity("B", allow_rebind=False)).authenticates()


def test_checked_out_device_may_bind_again_all_the_same(store: Store) -> None:
    Device(store, "UDID-1", identity("A")).enrolls().checks_out()
    assert Device(store, "UDID-1", identity("B", allow_rebind=False)).authenticates() is True
    with pytest.raises(IdentityMismatch):
        Device(store, "UDID-1", identity("A", allow_rebind=False)).authenticates()


def test_token_update_after_check_out_takes_the_freedom_to_rebind_away(store: Store) -> None:
    phone = Device(store, "UDID-1", identity("A")).enrolls()
    phone.checks_out()
    phone.updates_token()
    with pytest.raises(IdentityMismatch):
        Device(store, "UDID-1", identity("B", allow_rebind=False)).authenticates()


def test_check_out_on_a_user_channel_does_not_free_the_device(store: Store) -> None:
    phone = Device(store, "UDID-1", identity("A")).enrolls()
    Device(store, user("UDID-1", "USER-1"), phone.who).checks_out()
    assert store.enrollment("UDID-1").enrolled is True
    with pytest.raises(IdentityMismatch):
        Device(store, "UDID-1", identity("B", allow_rebind=False)).authenticates()


# --- warn only ---


@pytest.mark.parametrize("name", [name for name in MESSAGES if name != "idle"])
def test_warn_only_accepts_another_certificate_and_keeps_the_binding(store: Store, name: str) -> None:
    Device(store, "UDID-1", identity("A")).enrolls()
    for ref in (device("UDID-1"), user("UDID-1", "USER-1")):
        MESSAGES[name](store, ref, identity("B", warn_only=True))
    assert bound(store) == identity("A").fingerprint


def test_warn_only_serves_the_queue(store: Store) -> None:
    Device(store, "UDID-1", identity("A")).enrolls()
    other = Device(store, "UDID-1", identity("B", warn_only=True))
    other.queue("c1")
    assert other.run("Acknowledged") == ["c1", ""]
    assert store.nothing_to_do(report(other.ref, "Idle"), other.who, at=NOW)


def test_warn_only_binds_what_is_not_bound(store: Store) -> None:
    Device(store, "UDID-1", identity("A", warn_only=True)).says("Idle")
    assert bound(store) == identity("A").fingerprint


def test_warn_only_lets_authenticate_bind_again(store: Store) -> None:
    Device(store, "UDID-1", identity("A", warn_only=True)).authenticates()
    assert Device(store, "UDID-1", identity("B", warn_only=True)).authenticates() is True
    assert bound(store) == identity("B").fingerprint


# --- one identity per enrollment ---


@every_binding_message
def test_exclusive_refuses_a_certificate_that_is_bound_elsewhere(store: Store, send: Send) -> None:
    Device(store, "UDID-1", identity("A")).says("Idle")
    with pytest.raises(IdentityMismatch):
        send(store, device("UDID-2"), identity("A", exclusive=True))
    with pytest.raises(NotFound):
        store.enrollment("UDID-2")


def test_exclusive_refuses_at_authenticate(store: Store) -> None:
    Device(store, "UDID-1", identity("A")).enrolls()
    Device(store, "UDID-2", identity("B")).enrolls()
    for udid in ("UDID-2", "UDID-3"):
        with pytest.raises(IdentityMismatch):
            Device(store, udid, identity("A", exclusive=True)).authenticates()
    assert bound(store, "UDID-2") == identity("B").fingerprint


def test_exclusive_accepts_the_device_it_is_bound_to(store: Store) -> None:
    for ref in (device("UDID-1"), user("UDID-1", "USER-1"), user("UDID-1", "USER-2")):
        for send in MESSAGES.values():
            Device(store, "UDID-1", identity("A", exclusive=True)).authenticates()
            send(store, ref, identity("A", exclusive=True))


def test_exclusive_accepts_both_ids_of_one_message(store: Store) -> None:
    both = user_enrollment("ENROLLMENT-1", udid="UDID-1")
    Device(store, user_enrollment("ENROLLMENT-1"), identity("A", exclusive=True)).enrolls()
    Device(store, both, identity("A", exclusive=True)).says("Idle")
    assert bound(store, "UDID-1") == identity("A").fingerprint


@pytest.mark.parametrize("way", ["another certificate", "purge"])
def test_exclusive_accepts_a_certificate_that_was_freed(store: Store, way: str) -> None:
    Device(store, "UDID-1", identity("A")).enrolls()
    if way == "purge":
        store.remove_devices(["UDID-1"], purge=True, at=NOW)
    else:
        Device(store, "UDID-1", identity("B")).authenticates()
    Device(store, "UDID-2", identity("A", exclusive=True)).enrolls()
    assert bound(store, "UDID-2") == identity("A").fingerprint
