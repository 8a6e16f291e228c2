"""One round of synchronization: reads what is new for a token, and assigns profiles by its rule."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from micromdm_py.protocol.dep import shapes
from micromdm_py.protocol.dep.documents import SYNC, Rule, SyncState
from micromdm_py.protocol.dep.faults import DepFault, Meaning
from micromdm_py.protocol.dep.shapes import MAX_SERIALS, DevicePage
from micromdm_py.protocol.jsonbody import Json
from micromdm_py.service.blocking import Blocking
from micromdm_py.service.dep.accounts import Account, AsyncDepCaller
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.rules import rule_of
from micromdm_py.storage.base import Shelf

__all__ = ["PAGE", "DepRound", "load_state", "save_state"]

PAGE = 500
"""Devices to ask for in one call; each page is one transaction, and others wait for it."""
EXPIRY_WARNING = timedelta(days=30)

logger = logging.getLogger(__name__)


def load_state(shelf: Shelf, name: str) -> SyncState:
    """How far the synchronization of a token has come."""
    return SyncState.of(dict(shelf.documents(SYNC)).get(name))


def save_state(shelf: Shelf, name: str, state: SyncState) -> None:
    """Keep that by itself; `Roster.take_page` keeps it together with a page."""
    shelf.change_documents(lambda documents: documents.put(SYNC, name, state.body()))


class DepRound:
    """One round for one token; if it fails half-way, what it has done stays."""

    def __init__(
        self,
        shelf: Shelf,
        account: Account,
        call: AsyncDepCaller,
        *,
        blocking: Blocking,
        now: Callable[[], datetime],
        make_id: Callable[[], str],
        page: int = PAGE,
    ) -> None:
        """Work for `account`.

        Args:
            shelf: where devices and states are kept.
            account: the token and its server.
            call: calls Apple.
            blocking: runs calls of the store.
            now: current time, aware UTC.
            make_id: makes ids for full fetches, each unique.
            page: how many devices to ask for at a time, at most `MAX_SERIALS`.
        """
        self._shelf, self._account, self._call = shelf, account, call
        self._roster = Roster(shelf)
        self._blocking, self._now, self._make_id = blocking, now, make_id
        self._page, self._begun_again, self._seen = page, False, 0

    async def run(self) -> None:
        """Read everything there is to read, then assign. Raises: DepFault."""
        self._warn_of_expiry()
        state = await self._blocking(lambda: load_state(self._shelf, self._account.name))
        if not state.fetch_id:
            state = self._from_the_start(state)
        while state.phase != "done":
            state = await self._step(state)
        await self._assign()

    async def _step(self, state: SyncState) -> SyncState:
        """Make one call and store its result; the state after it has phase `done` when all is read."""
        if state.phase == "sweep":
            return await self._sweep(state)
        fetching = state.phase == "fetch"
        try:
            page = await self._read("/server/devices" if fetching else "/devices/sync", state.cursor)
        except DepFault as fault:
            if fault.meaning is Meaning.ALL_FETCHED and fetching and state.cursor:
                return replace(state, phase="sweep")
            if fault.meaning is Meaning.START_AGAIN and not self._begun_again:
                logger.info("DEP token %s: %s, fetching everything again", self._account.name, fault.code)
                self._begun_again = True
                return self._from_the_start(state)
            raise
        after = replace(state, cursor=page.cursor)
        if fetching and not page.more:
            after = replace(after, phase="sweep")
        await self._blocking(lambda: self._roster.take_page(self._account.name, page.devices, after))
        self._tell(state.phase, page)
        if page.more and page.cursor == state.cursor:
            # This would go on for ever. The next round starts from the beginning.
            await self._blocking(
                lambda: save_state(self._shelf, self._account.name, replace(after, fetch_id=""))
            )
            raise DepFault(200, "the same cursor was returned again", Meaning.UNAVAILABLE)
        return replace(after, phase="done") if not fetching and not page.more else after

    def _from_the_start(self, state: SyncState) -> SyncState:
        return replace(state, phase="fetch", cursor="", fetch_id=self._make_id())

    async def _read(self, path: str, cursor: str) -> DevicePage:
        request: dict[str, Json] = {"limit": self._page}
        if cursor:
            request["cursor"] = cursor
        return shapes.page_of(await self._ask("POST", path, request))

    async def _sweep(self, state: SyncState) -> SyncState:
        """Everything was fetched: forget the devices that were not part of it."""
        name, after = self._account.name, replace(state, phase="sync")
        gone = await self._blocking(lambda: self._roster.forget(name, but=state.fetch_id))
        if gone:
            logger.info("DEP token %s: %d devices are no longer assigned to this server", name, gone)
        await self._blocking(lambda: save_state(self._shelf, name, after))
        return after

    # --- assignment ---

    async def _assign(self) -> None:
        """Assign the rule's profile to the devices that should have it and do not."""
        rule = await self._blocking(lambda: rule_of(self._shelf, self._account.name))
        if rule is None:
            return
        serials = await self._blocking(lambda: self._differing(rule))
        for begin in range(0, len(serials), MAX_SERIALS):
            await self._assign_some(rule.profile_uuid, serials[begin : begin + MAX_SERIALS])

    def _differing(self, rule: Rule) -> list[str]:
        """Serial numbers of the devices that should have the rule's profile and do not."""
        wanted = rule.profile_uuid
        return [
            serial
            for serial, known in self._roster.all()
            if known.token == self._account.name and known.wanted(rule)[0] == wanted != known.profile_uuid
        ]

    async def _assign_some(self, profile_uuid: str, serials: Sequence[str]) -> None:
        request = {"profile_uuid": profile_uuid, "devices": serials}
        found = shapes.results_of(await self._ask("PUT", "/profile/devices", request))
        results = {serial: found.get(serial, "FAILED") for serial in serials}
        at, name = self._now(), self._account.name
        await self._blocking(lambda: self._roster.note(results, profile_uuid, at, by_hand=False, token=name))
        counts = {word: list(results.values()).count(word) for word in sorted(set(results.values()))}
        told = ", ".join(f"{number} {word}" for word, number in counts.items())
        logger.info("DEP token %s: assigned profile %s: %s", name, profile_uuid, told)

    async def _ask(self, method: str, path: str, request: object) -> dict[str, Json]:
        body = json.dumps(request).encode()
        answer = await self._call(self._account.url, self._account.token, method, path, body)
        return shapes.read_answer(answer.body)

    # --- for the log ---

    def _tell(self, phase: str, page: DevicePage) -> None:
        self._seen += len(page.devices)
        if not page.more:
            level = logging.INFO if self._seen else logging.DEBUG
            logger.log(level, "DEP token %s: %s: %d devices", self._account.name, phase, self._seen)
            self._seen = 0

    def _warn_of_expiry(self) -> None:
        ends = self._account.token.expires_at
        if ends and ends - self._now() < EXPIRY_WARNING:
            verb = "expires" if ends > self._now() else "has expired"
            logger.warning(
                "DEP token %s %s on %s: download another in Apple's portal and store it",
                self._account.name,
                verb,
                f"{ends:%Y-%m-%d}",
            )
