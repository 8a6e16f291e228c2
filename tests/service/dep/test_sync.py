"""Keeping up with Apple: fetch, sync, expired cursors, removed devices, assignment, faults, and when."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from micromdm_py.protocol.dep.documents import AUTOASSIGNER, TOKEN, WANTED, Rule, StoredToken, SyncState
from micromdm_py.protocol.dep.session import Answer
from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN, DepToken
from micromdm_py.service.dep.accounts import Accounts, AsyncDepCaller
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.schedule import DepSyncing
from micromdm_py.service.dep.sync import PAGE, load_state
from micromdm_py.simulator.depsim import DepService, Fault
from micromdm_py.storage.base import Store
from micromdm_py.storage.memory.store import MemoryStore
from tests.fakes.clock import Clock
from tests.fakes.dep import URL, async_client_of
from tests.storage.backends import open_lmdb

T = TypeVar("T")
FETCH, SYNC, ASSIGN = "POST /server/devices", "POST /devices/sync", "PUT /profile/devices"


async def at_once(call: Callable[[], T], /) -> T:
    return call()


class Site:
    """A store, Apple's service with a fleet, and the courier's part between them."""

    def __init__(self, store: Store | None = None, devices: int = 7, page: int = 3) -> None:
        self.store, self.clock, self._page = store or MemoryStore(), Clock(), page
        self.apple = DepService(map("S{:05}".format, range(devices)), now=self.clock)
        self.accounts, self.roster = Accounts(self.store, URL), Roster(self.store)
        self.give(SIMULATOR_TOKEN)
        self._numbers = itertools.count(1)
        self.restart()

    def restart(self, call: AsyncDepCaller | None = None, **more: Any) -> None:
        """As a new courier, which may call Apple in another way."""
        self.part = DepSyncing(
            self.store,
            self.accounts,
            call or async_client_of(self.apple, self.clock),
            blocking=at_once,
            now=self.clock,
            draw=lambda: 0.0,
            make_id=lambda: f"fetch-{next(self._numbers)}",
            page=self._page,
            **more,
        )

    def step(self) -> list[str]:
        """Do what is due; returns the calls that were made."""
        del self.apple.calls[:]
        asyncio.run(self.part.step())
        return [call for call in self.apple.calls if call != "GET /session"]

    def later(self, **time: float) -> list[str]:
        self.clock.now += timedelta(**time)
        return self.step()

    def define(self) -> str:
        uuid = f"profile-{len(self.apple.profiles)}"
        self.apple.profiles[uuid] = {"profile_uuid": uuid}
        return uuid

    def rule(self) -> str:
        """Define a profile, and say that all devices shall have it."""
        uuid = self.define()
        rule = Rule(uuid, self.clock())
        self.store.change_documents(lambda shelf: shelf.put(AUTOASSIGNER, "default", rule.body()))
        return uuid

    def want(self) -> None:
        self.store.change_documents(lambda shelf: shelf.put(WANTED, "default", b""))

    def fail(
        self, path: str, status: int, code: str = "", times: int = 1, wait: int = 0, skip: int = 0
    ) -> None:
        self.apple.faults.append(Fault(path, status, code, times, wait, skip))

    def give(self, token: DepToken, name: str = "default") -> None:
        self.store.change_documents(lambda shelf: shelf.put(TOKEN, name, StoredToken(token).body()))

    def keep(self, state: SyncState) -> None:
        self.store.change_documents(lambda shelf: shelf.put("dep-sync", "default", state.body()))

    @property
    def known(self) -> dict[str, str]:
        """Profile of each device as we know it."""
        return {serial: known.profile_uuid for serial, known in self.roster.all()}

    @property
    def real(self) -> dict[str, str]:
        """The same as Apple knows it."""
        return {serial: str(facts.get("profile_uuid") or "") for serial, facts in self.apple.devices.items()}

    @property
    def state(self) -> SyncState:
        return load_state(self.store, "default")


@pytest.fixture
def site() -> Site:
    return Site()


# --- reading ---


def test_everything_is_fetched_at_start_then_only_changes(site: Site) -> None:
    assert site.step() == [FETCH] * 3 + [SYNC]
    assert site.known == site.real
    assert len(site.known) == 7
    assert site.step() == []
    assert site.later(minutes=30) == [SYNC]


def test_changes_come_with_the_next_sync(site: Site) -> None:
    site.step()
    site.apple.add("NEW")
    site.apple.remove("S00000")
    site.apple.assign("S00001", "other")
    for _ in range(4):
        site.apple.assign("S00002", "another")
    assert site.later(minutes=30) == [SYNC] * 3
    assert site.known == site.real
    assert site.known["S00002"] == "another"


def test_a_device_that_left_and_came_back_is_known(site: Site) -> None:
    site.step()
    site.apple.remove("S00003")
    site.apple.add("S00003")
    site.later(minutes=30)
    assert site.known == site.real


@pytest.mark.parametrize("code", ["EXPIRED_CURSOR", "INVALID_CURSOR", "CURSOR_REQUIRED"])
def test_a_cursor_that_is_no_good_means_a_full_fetch(site: Site, code: str) -> None:
    site.step()
    for serial in ("S00002", "S00005"):
        del site.apple.devices[serial]  # no sync will ever tell of it
    site.apple.add("NEW")
    site.fail("/devices/sync", 400, code)
    assert site.later(minutes=30) == [SYNC] + [FETCH] * 2 + [SYNC]
    assert site.known == site.real
    assert site.state.error == ""


def test_cursors_expire_after_a_week(site: Site) -> None:
    site.step()
    site.apple.add("NEW")
    assert site.later(days=8) == [SYNC] + [FETCH] * 3 + [SYNC]
    assert site.known == site.real


def test_cursors_that_are_never_any_good_end_the_round(site: Site) -> None:
    site.step()
    site.fail("/devices/sync", 400, "EXPIRED_CURSOR", 99)
    assert site.later(minutes=30) == [SYNC] + [FETCH] * 3 + [SYNC]
    assert site.state.error == "400 EXPIRED_CURSOR"


def test_an_exhausted_cursor_ends_the_fetch(site: Site) -> None:
    site.step()
    site.keep(replace(site.state, phase="fetch"))  # the answer to the last page was lost on its way to us
    site.apple.add("NEW")
    assert site.later(minutes=30) == [FETCH, SYNC]
    assert site.known == site.real


def test_an_interrupted_fetch_goes_on_where_it_was(site: Site) -> None:
    site.fail("/server/devices", 503, skip=1)
    assert site.step() == [FETCH] * 2
    assert len(site.known) == 3
    site.restart()
    assert site.step() == [FETCH] * 2 + [SYNC]
    assert site.known == site.real


def test_an_interrupted_sweep_is_made_up_for(site: Site) -> None:
    site.step()
    del site.apple.devices["S00004"]
    site.keep(replace(site.state, phase="sweep", fetch_id="the last"))
    site.roster.take_page("default", list(site.apple.devices.values()), site.state)
    site.restart()
    assert site.step() == [SYNC]
    assert site.known == site.real


def test_the_same_cursor_again_ends_the_round() -> None:
    site, calls = Site(), []

    async def call(url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        calls.append(path)
        return Answer(200, b'{"devices": [], "cursor": "same", "more_to_follow": true}')

    site.restart(call)
    asyncio.run(site.part.step())
    assert len(calls) == 2
    assert "same cursor" in site.state.error
    site.restart()
    assert site.step() == [FETCH] * 3 + [SYNC]


# --- assigning ---


def test_every_device_that_differs_is_assigned(site: Site) -> None:
    site.apple.assign("S00001", "something else")
    uuid = site.rule()
    assert site.step() == [FETCH] * 3 + [SYNC, ASSIGN]
    assert set(site.real.values()) == {uuid}
    assert site.known == site.real
    assert ASSIGN not in site.later(minutes=30)


def test_a_device_that_was_changed_elsewhere_is_assigned_again(site: Site) -> None:
    uuid = site.rule()
    site.step()
    site.apple.assign("S00004", "other")
    site.apple.assign("S00005", "")
    assert site.later(minutes=30)[-1] == ASSIGN
    assert set(site.real.values()) == {uuid}


def test_a_new_rule_is_for_devices_that_were_there_before(site: Site) -> None:
    site.rule()
    site.step()
    uuid = site.rule()
    site.want()
    assert site.step()[-1] == ASSIGN
    assert set(site.real.values()) == {uuid}


def test_what_was_assigned_by_hand_stays(site: Site) -> None:
    site.rule()
    site.step()
    by_hand = site.define()
    site.clock.move(1)
    site.apple.assign("S00006", by_hand)
    site.roster.note({"S00006": "SUCCESS"}, by_hand, site.clock(), by_hand=True, token="default")
    site.later(minutes=30)
    assert site.real["S00006"] == by_hand


def test_a_device_that_could_not_be_assigned_is_tried_again(site: Site) -> None:
    uuid = site.rule()
    site.apple.failing = {"S00002"}
    site.step()
    known = site.roster.get("S00002")
    assert known
    assert (known.result, known.tried_at, known.profile_uuid) == ("FAILED", site.clock(), "")
    site.apple.failing = set()
    site.later(minutes=30)
    assert site.real["S00002"] == uuid


def test_a_rule_with_an_unknown_profile_is_told(site: Site) -> None:
    site.rule()
    site.apple.profiles.clear()
    site.step()
    assert (site.state.error, "another token" in site.state.remedy) == ("404 NOT_FOUND", True)
    assert len(site.known) == 7


def test_a_batch_has_at_most_a_thousand_devices() -> None:
    site = Site(devices=2500, page=1000)
    site.rule()
    assert site.step() == [FETCH] * 3 + [SYNC] + [ASSIGN] * 3
    assert "" not in site.real.values()


# --- faults and times ---


def test_pauses_grow_after_faults(site: Site) -> None:
    site.fail("/server/devices", 500, times=8)
    site.step()
    waits = []
    while site.state.failures and site.state.next_at:
        waits.append((site.state.next_at - site.clock()).total_seconds() / 60)
        site.clock.now = site.state.next_at
        site.step()
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert site.known == site.real


def test_terms_that_nobody_has_accepted_are_told(site: Site) -> None:
    site.fail("/session", 403, "T_C_NOT_SIGNED")
    assert site.step() == []
    assert site.state.error == "403 T_C_NOT_SIGNED"
    assert "terms and conditions" in site.state.remedy
    site.want()
    assert site.step()[0] == FETCH
    assert (site.state.error, site.state.remedy, site.state.failures) == ("", "", 0)


def test_nobody_asks_before_apple_wants_to_be_asked(site: Site) -> None:
    site.fail("/server/devices", 429, wait=300)
    site.step()
    site.want()
    site.restart()
    assert site.later(seconds=299) == []
    assert site.later(seconds=1)[0] == FETCH


def test_a_request_is_served_once(site: Site) -> None:
    site.step()
    site.want()
    assert site.step() == [SYNC]
    assert site.step() == []


def test_a_request_that_comes_during_a_round_is_served_afterwards(site: Site) -> None:
    site.step()
    call = async_client_of(site.apple, site.clock)

    async def slow(url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        site.want()
        return await call(url, token, method, path, body)

    site.restart(slow)
    site.step()
    site.restart()
    assert site.step() == [SYNC]


def test_an_expiring_token_is_warned_of(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.give(replace(SIMULATOR_TOKEN, expires_at=site.clock() + timedelta(days=29)))
    site.step()
    assert "DEP token default expires on 2026-12-22" in caplog.text


def test_every_token_has_its_own_devices_and_rule(site: Site) -> None:
    site.give(replace(SIMULATOR_TOKEN, access_token="AT_other"), "school")
    site.rule()
    site.step()
    assert load_state(site.store, "school").error == "401 token_rejected"
    assert site.state.error == ""
    assert site.known == site.real


def test_a_device_that_moves_to_another_server_is_not_lost(site: Site) -> None:
    site.step()
    moved = {"serial_number": "S00001", "op_type": "added"}
    site.roster.take_page("school", [moved], SyncState("sync", "f", "c"))
    site.apple.remove("S00001")
    site.later(minutes=30)
    known = site.roster.get("S00001")
    assert known
    assert known.token == "school"


def test_a_token_that_is_removed_during_a_round_leaves_nothing(site: Site) -> None:
    call = async_client_of(site.apple, site.clock)

    async def slow(url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        answer = await call(url, token, method, path, body)
        if site.store.documents(TOKEN):
            site.store.change_documents(lambda shelf: shelf.remove(TOKEN, "default"))
        return answer

    site.restart(slow)
    site.step()
    assert site.known == {}
    assert site.store.documents("dep-sync") == []


# --- all of it ---


def test_ten_thousand_devices_sync_are_assigned_and_survive_an_expired_cursor(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path / "store")
    try:
        site = Site(store, devices=10_000, page=PAGE)
        site.apple.assign("S00007", "other")
        uuid = site.rule()
        site.step()
        assert site.known == site.real == dict.fromkeys(site.apple.devices, uuid)
        site.apple.expire_cursors()
        for number in range(50):
            site.apple.remove(f"S{number:05}")
            site.apple.add(f"NEW{number}")
        site.apple.assign("S09999", "other")
        assert site.later(minutes=30).count(FETCH) == 20
        assert site.known == site.real == dict.fromkeys(site.apple.devices, uuid)
        assert len(site.known) == 10_000
    finally:
        store.close()


def test_the_part_runs_until_it_is_stopped(site: Site) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        work = asyncio.create_task(site.part.run(stop))
        while site.known != site.real:
            await asyncio.sleep(0)
        stop.set()
        site.part.wake()
        await asyncio.wait_for(work, 10)

    asyncio.run(run())


def test_a_call_on_its_way_does_not_hold_up_the_stop(site: Site) -> None:
    called = asyncio.Event()

    async def never(url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def run() -> None:
        site.restart(never, grace_s=0.0)
        stop = asyncio.Event()
        work = asyncio.create_task(site.part.run(stop))
        await called.wait()
        stop.set()
        site.part.wake()
        await asyncio.wait_for(work, 10)

    asyncio.run(run())
