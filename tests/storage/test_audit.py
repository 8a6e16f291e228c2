"""The audit log: written together with the change it is about."""

from datetime import timedelta

import pytest

from micromdm_py.errors import NotFound
from micromdm_py.storage.base import Store
from micromdm_py.storage.base.audit import MAX_AUDIT_LOOKED_AT
from micromdm_py.storage.records import AuditEntry
from tests.builders import NOW


def entry(target: str, who: str = "ci", minutes: int = 0) -> AuditEntry:
    at = NOW + timedelta(minutes=minutes)
    return AuditEntry(0, at, who, "mdm.apple.device.block", target, "", "POST /", "r-1")


def block(store: Store, udid: str, *, who: str = "ci", minutes: int = 0) -> None:
    with store.audited(lambda: entry(udid, who, minutes)):
        store.block(udid, at=NOW)


def targets(store: Store, **wanted: object) -> list[str]:
    found = store.audit_entries(**wanted)  # type: ignore[arg-type]  # its keywords
    return [one.target for one in found.entries]


def test_entries_come_newest_first_as_they_were_kept(store: Store) -> None:
    for number in range(3):
        block(store, f"U{number}")
    found = store.audit_entries().entries
    assert [one.target for one in found] == ["U2", "U1", "U0"]
    assert found[0] == AuditEntry(
        found[0].sequence, NOW, "ci", "mdm.apple.device.block", "U2", "", "POST /", "r-1"
    )
    assert targets(store, limit=2) == ["U2", "U1"]
    assert targets(store, before=found[1].sequence) == ["U0"]
    assert targets(store, before=found[0].sequence + 100) == ["U2", "U1", "U0"]


def test_entries_of_one_caller(store: Store) -> None:
    for number in range(4):
        block(store, f"U{number}", who="even" if number % 2 == 0 else "odd")
    assert targets(store, who="even", limit=1) == ["U2"]
    assert targets(store, who="nobody") == []


def test_a_page_says_where_the_next_begins_however_few_it_holds(store: Store) -> None:
    for number in range(3):
        block(store, f"U{number}")
    for _ in range(MAX_AUDIT_LOOKED_AT - 1):
        with store.audited(lambda: entry("push", who="busy")):
            pass
    first = store.audit_entries(who="ci", limit=9)
    assert [one.target for one in first.entries] == ["U2"]
    rest = store.audit_entries(who="ci", limit=9, before=first.next)
    assert ([one.target for one in rest.entries], rest.next) == (["U1", "U0"], 0)
    exact = store.audit_entries(who="ci", limit=2, before=first.next)
    assert (len(exact.entries), exact.next) == (2, 0)
    assert store.audit_entries(limit=1).next == store.audit_entries(limit=1).entries[0].sequence


def test_block_that_changes_nothing_is_kept_all_the_same(store: Store) -> None:
    with store.audited(lambda: entry("push")):
        pass
    assert targets(store) == ["push"]


def test_block_that_raises_is_not_kept(store: Store) -> None:
    with pytest.raises(NotFound), store.audited(lambda: entry("U1")):
        store.unblock("U1")
    block(store, "U2")
    assert targets(store) == ["U2"]


def test_several_changes_of_a_block_are_one_entry(store: Store) -> None:
    with store.audited(lambda: entry("both")):
        store.block("U1", at=NOW)
        store.block("U2", at=NOW)
    store.block("U3", at=NOW)
    assert targets(store) == ["both"]


def test_old_entries_are_forgotten_but_not_the_numbering(store: Store) -> None:
    for number in range(4):
        block(store, f"U{number}", minutes=number)
    newest = store.audit_entries().entries[0].sequence
    assert store.forget_audit(before=NOW + timedelta(minutes=2), limit=1) == 1
    assert store.forget_audit(before=NOW + timedelta(minutes=2), limit=9) == 1
    assert targets(store) == ["U3", "U2"]
    store.forget_audit(before=NOW + timedelta(days=1), limit=9)
    block(store, "U9")
    assert store.audit_entries().entries[0].sequence == newest + 1
