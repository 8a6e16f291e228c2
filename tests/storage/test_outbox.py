"""Webhook events on their way, and where each receiver stands."""

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from micromdm_py.errors import NotFound
from micromdm_py.storage.base import Store
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import HeldEvent, ReceiverState, StoredEvent
from tests.builders import NOW, Device, check_out, device, event, identity, report
from tests.storage.backends import open_lmdb

DAY = timedelta(days=1)


def add(store: Store, *bodies: str, who: str = "UDID-1", at: datetime = NOW) -> None:
    for body in bodies:
        store.check_out(check_out(device(who)), identity(who), event(body, "mdm.CheckOut"), at=at)


def bodies(events: list[StoredEvent]) -> str:
    return "".join(one.body.decode() for one in events)


def held(one: StoredEvent, tries: int = 1, error: str = "404") -> HeldEvent:
    return HeldEvent(one, tries, NOW + timedelta(minutes=tries), error)


def test_events_are_in_the_order_of_their_commits(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"abcdefghij")
    events = store.events_after(start, 100)
    assert bodies(events) == "abcdefghij"
    numbers = [one.sequence for one in events]
    assert numbers == list(range(start + 1, start + 11))
    assert bodies(store.events_after(numbers[2], 3)) == "def"
    assert store.events_after(numbers[-1], 3) == []


def test_event_is_kept_as_it_was_given(store: Store) -> None:
    start = store.receiver("r").cursor
    phone = Device(store, "ÜDID-1")
    store.record_report(report(phone.ref, "Idle"), phone.who, event("{ü}\x00", "mdm.Connect"), at=NOW)
    (found,) = store.events_after(start, 10)
    assert found == StoredEvent(start + 1, "ÜDID-1", "mdm.Connect", NOW, "{ü}\x00".encode())


def test_message_without_an_event_stores_none(store: Store, phone: Device) -> None:
    start = store.receiver("r").cursor
    phone.enrolls()
    phone.queue("c1")
    phone.run("Acknowledged")
    phone.checks_out()
    assert store.events_after(start, 10) == []


def test_new_receiver_begins_behind_the_newest_event(store: Store) -> None:
    start = store.receiver("first").cursor
    add(store, *"ab")
    assert store.receiver("second") == ReceiverState("second", start + 2)
    add(store, "c")
    assert store.receiver("second").cursor == start + 2
    assert store.receiver("first").cursor == start
    assert bodies(store.events_after(store.receiver("second").cursor, 10)) == "c"


def test_cursor_moves_forward_only(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"abc")
    store.settle("r", at=NOW, cursor=start + 2, succeeded=True)
    store.settle("r", at=NOW, cursor=start + 1)
    store.settle("r", at=NOW)
    assert store.receiver("r").cursor == start + 2


def test_last_success_and_last_error_are_told_apart(store: Store) -> None:
    store.receiver("r")
    store.settle("r", at=NOW, succeeded=True)
    store.settle("r", at=NOW + DAY, error="connection refused")
    state = store.receiver("r")
    assert (state.last_success_at, state.last_error_at) == (NOW, NOW + DAY)
    assert state.last_error == "connection refused"
    store.settle("r", at=NOW + 2 * DAY)
    assert store.receiver("r") == state


def test_held_event_waits_with_its_tries(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"abc")
    a, b, c = store.events_after(start, 10)
    store.settle("r", at=NOW, cursor=c.sequence, hold=[held(c, 0, ""), held(a, 2, "ünavailable")])
    assert store.held_events("r", 0, 10) == [held(a, 2, "ünavailable"), held(c, 0, "")]
    assert store.receiver("r").held == 2
    store.settle("r", at=NOW, hold=[held(a, 3)])
    assert store.held_events("r", 0, 10)[0] == held(a, 3)
    assert store.receiver("r").held == 2
    store.settle("r", at=NOW, release=[a.sequence, b.sequence])
    assert store.held_events("r", 0, 10) == [held(c, 0, "")]
    assert store.receiver("r").held == 1


def test_held_events_come_in_pages_by_sequence(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"abcdefghij")
    events = store.events_after(start, 10)
    store.settle("r", at=NOW, hold=[held(one) for one in reversed(events)])
    page = store.held_events("r", 0, 4)
    assert bodies([one.event for one in page]) == "abcd"
    page = store.held_events("r", page[-1].event.sequence, 100)
    assert bodies([one.event for one in page]) == "efghij"


def test_buried_event_is_a_dead_letter(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"abc")
    a, b, c = store.events_after(start, 10)
    store.settle("r", at=NOW, hold=[held(a), held(b)])
    store.settle("r", at=NOW, dead=[held(b, 10), held(a, 10)])
    store.settle("r", at=NOW, dead=[held(c, 0)])
    assert store.dead_letters("r", 10) == [held(a, 10), held(b, 10), held(c, 0)]
    assert store.dead_letters("r", 1) == [held(a, 10)]
    assert store.held_events("r", 0, 10) == []
    state = store.receiver("r")
    assert (state.held, state.dead_letters) == (0, 3)


def test_replay_moves_the_cursor_back_and_releases_held_events_that_come_again(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, "a")
    (a,) = store.events_after(start, 10)
    store.settle("r", at=NOW, cursor=a.sequence, hold=[held(a)])
    assert store.forget_events(["r"], before=NOW + DAY, limit=10) == 1
    add(store, *"bcd")
    b, c, d = store.events_after(a.sequence, 10)
    store.settle("r", at=NOW, cursor=d.sequence, hold=[held(b), held(c)])
    store.ask_replay("r", b.sequence)
    assert store.receiver("r").cursor == d.sequence
    store.begin_replay("r")
    assert store.held_events("r", 0, 10) == [held(a), held(b)]
    assert store.receiver("r") == ReceiverState("r", b.sequence, held=2)
    store.ask_replay("r", start)
    store.begin_replay("r")
    assert store.held_events("r", 0, 10) == [held(a)]
    assert store.receiver("r") == ReceiverState("r", start, held=1)


def test_replay_moves_no_cursor_forward_and_begins_only_when_asked_for(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"ab")
    store.begin_replay("r")
    store.begin_replay("unknown")
    assert store.receiver("r") == ReceiverState("r", start)
    store.ask_replay("r", start + 1)
    assert store.receiver("r").replay_after == start + 1
    store.begin_replay("r")
    assert store.receiver("r") == ReceiverState("r", start)
    with pytest.raises(NotFound):
        store.ask_replay("unknown", 0)


def test_event_range_is_from_the_oldest_kept_to_the_newest_ever(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"ab", at=NOW)
    add(store, "c", at=NOW + DAY)
    assert store.event_range() == (start + 1, start + 3)
    store.settle("r", at=NOW, cursor=start + 3)
    store.forget_events(["r"], before=NOW + DAY, limit=10)
    assert store.event_range() == (start + 3, start + 3)
    store.forget_events(["r"], before=NOW + 2 * DAY, limit=10)
    assert store.event_range() == (start + 4, start + 3)


def test_event_range_of_a_new_store_is_empty(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path / "new")
    assert store.event_range() == MemoryStore().event_range() == (0, 0)
    store.close()


def test_receivers_do_not_see_each_others_events(store: Store) -> None:
    start = store.receiver("r").cursor
    store.receiver("r2")
    add(store, "a")
    (a,) = store.events_after(start, 10)
    store.settle("r", at=NOW, hold=[held(a)], dead=[], cursor=a.sequence)
    store.settle("r2", at=NOW, dead=[held(a)])
    assert (store.receiver("r").held, store.receiver("r2").held) == (1, 0)
    assert (store.dead_letters("r", 10), store.held_events("r2", 0, 10)) == ([], [])
    assert store.receiver("r2").cursor == start
    assert (store.dead_letters("unknown", 10), store.held_events("unknown", 0, 10)) == ([], [])


def test_held_event_outlives_the_event_it_was_made_of(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, "a")
    (a,) = store.events_after(start, 10)
    store.settle("r", at=NOW, hold=[held(a)], cursor=a.sequence)
    assert store.forget_events(["r"], before=NOW + DAY, limit=10) == 1
    assert store.events_after(start, 10) == []
    assert store.held_events("r", 0, 10) == [held(a)]


def test_events_are_forgotten_when_every_receiver_is_done_and_they_are_old(store: Store) -> None:
    start = store.receiver("r").cursor
    store.receiver("slow")
    for number, body in enumerate("abcdef"):
        add(store, body, at=NOW + number * DAY)
    store.settle("r", at=NOW, cursor=start + 5)
    store.settle("slow", at=NOW, cursor=start + 3)
    both = ["r", "slow"]
    assert store.forget_events(both, before=NOW, limit=10) == 0
    assert store.forget_events(both, before=NOW + DAY, limit=10) == 1
    assert bodies(store.events_after(start, 10)) == "bcdef"
    assert store.forget_events(both, before=NOW + 9 * DAY, limit=1) == 1
    assert store.forget_events(both, before=NOW + 9 * DAY, limit=10) == 1
    assert bodies(store.events_after(start, 10)) == "def"
    assert store.forget_events(["r", "never asked for"], before=NOW + 9 * DAY, limit=10) == 0
    assert store.forget_events([], before=NOW + 9 * DAY, limit=10) == 3


def test_an_event_that_stays_keeps_later_ones_though_the_clock_went_back(store: Store) -> None:
    start = store.receiver("r").cursor
    for body, days in (("a", 0), ("b", 5), ("c", 1)):
        add(store, body, at=NOW + days * DAY)
    assert store.forget_events([], before=NOW + 2 * DAY, limit=10) == 1
    assert bodies(store.events_after(start, 10)) == "bc"


def test_sequence_goes_on_when_every_event_is_forgotten(store: Store) -> None:
    start = store.receiver("r").cursor
    add(store, *"ab")
    store.forget_events([], before=NOW + DAY, limit=10)
    add(store, "c")
    assert [one.sequence for one in store.events_after(0, 10)] == [start + 3]


def test_receiver_that_is_not_configured_any_more_is_dropped(store: Store) -> None:
    start = store.receiver("old").cursor
    store.receiver("kept")
    add(store, *"ab")
    a, b = store.events_after(start, 10)
    for name in ("old", "kept"):
        store.settle(name, at=NOW, hold=[held(a)], dead=[held(b)])
    before = store.receiver("kept")
    store.forget_receivers(["kept", "new"])
    assert store.receiver("kept") == before
    assert store.held_events("kept", 0, 10) == [held(a)]
    assert store.held_events("old", 0, 10) == store.dead_letters("old", 10) == []
    assert store.receiver("old") == ReceiverState("old", start + 2)


def test_receiver_s_name_may_be_long(store: Store) -> None:
    names = [f"https://hooks.example.com/{'x' * 2000}{n}" for n in range(2)]
    start = store.receiver(names[0]).cursor
    add(store, "a")
    assert store.receiver(names[1]).cursor == start + 1
    assert store.receiver(names[0]) == dataclasses.replace(store.receiver(names[0]), cursor=start)
