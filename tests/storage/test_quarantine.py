"""Signed reports that nobody can read."""

from datetime import timedelta

from micromdm_py.storage.base import Store
from tests.builders import NOW, event, identity

A, B = identity("A").fingerprint, identity("B").fingerprint


def test_third_time_the_same_bytes_go_into_quarantine(store: Store) -> None:
    cursor = store.receiver("r").cursor
    told = [
        store.note_undecodable(A, b"\x00bad", event(f"{n}"), at=NOW + timedelta(seconds=n))
        for n in range(1, 6)
    ]
    assert told == [False, False, True, True, True]
    assert store.quarantined() == [(NOW + timedelta(seconds=3), A, b"\x00bad")]
    events = store.events_after(cursor, 10)
    assert [(one.body, one.enrollment_id) for one in events] == [(b"3", "")]


def test_each_identity_is_counted_by_itself(store: Store) -> None:
    told = [store.note_undecodable(who, b"bad", None, at=NOW) for who in (A, B, A, B, A, B)]
    assert told == [False, False, False, False, True, True]


def test_other_bytes_are_counted_by_themselves(store: Store) -> None:
    assert [store.note_undecodable(A, body, None, at=NOW) for body in (b"1", b"2", b"3")] == [False] * 3


def test_two_channels_of_one_identity_that_alternate_get_through(store: Store) -> None:
    told = [store.note_undecodable(A, body, None, at=NOW) for body in (b"x", b"y", b"x", b"y", b"x", b"y")]
    assert told == [False, False, False, False, True, True]
    assert store.note_undecodable(A, b"x", None, at=NOW) is True


def test_two_reports_put_aside_at_the_same_time_are_both_kept(store: Store) -> None:
    for body in (b"x", b"y"):
        for _ in range(3):
            store.note_undecodable(A, body, None, at=NOW)
    assert {body for _, _, body in store.quarantined()} == {b"x", b"y"}


def test_newest_come_first_up_to_the_limit(store: Store) -> None:
    for number in range(5):
        for _ in range(3):
            store.note_undecodable(A, f"{number}".encode(), None, at=NOW + timedelta(seconds=number))
    assert [body for _, _, body in store.quarantined()] == [b"4", b"3", b"2", b"1", b"0"]
    assert [body for _, _, body in store.quarantined(limit=2)] == [b"4", b"3"]


def test_no_event_is_stored_when_none_is_given(store: Store) -> None:
    cursor = store.receiver("r").cursor
    for _ in range(3):
        store.note_undecodable(A, b"bad", None, at=NOW)
    assert store.events_after(cursor, 10) == []
