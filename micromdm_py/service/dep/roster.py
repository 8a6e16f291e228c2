"""The devices that Apple has assigned to our servers, as documents of the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from micromdm_py.errors import NotFound
from micromdm_py.protocol.dep.documents import DEVICE, SYNC, KnownDevice, SyncState
from micromdm_py.protocol.jsonbody import Json
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["Roster"]

BATCH = 500
"""Most documents read or changed at a time, as others wait for a change."""
DONE = "SUCCESS"


class Roster:
    """All devices that Apple has assigned to our servers, by serial number."""

    def __init__(self, shelf: Shelf) -> None:
        """Keep them on `shelf`."""
        self._shelf = shelf

    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self._shelf.documents(DEVICE, limit=1)

    def get(self, serial: str) -> KnownDevice | None:
        """One device, None when it is not known."""
        if not serial:
            return None
        try:
            return KnownDevice.of(self._shelf.document(DEVICE, serial))
        except NotFound:
            return None

    def all(self) -> Iterator[tuple[str, KnownDevice]]:
        """All devices by serial number, read in batches: changes made meanwhile may show."""
        after = ""
        while rows := self._shelf.documents(DEVICE, after=after, limit=BATCH):
            yield from ((serial, KnownDevice.of(body)) for serial, body in rows)
            after = rows[-1][0]

    def take_page(self, name: str, devices: Sequence[Mapping[str, Json]], state: SyncState) -> None:
        """Store a page of a token's devices together with how far the sync has come, both or nothing.

        Args:
            name: of the token.
            devices: as Apple describes them, in the order in which changes happened.
            state: how far the sync has come with this page.
        """

        def change(shelf: Documents) -> None:
            for facts in devices:
                _take(shelf, name, facts, state.fetch_id)
            shelf.put(SYNC, name, state.body())

        self._shelf.change_documents(change)

    def forget(self, name: str, but: str = "") -> int:
        """Remove the devices of a token, except those seen since the full fetch `but` began; how many."""
        removed, after = 0, ""
        while rows := self._shelf.documents(DEVICE, after=after, limit=BATCH):
            after = rows[-1][0]
            gone = [serial for serial, body in rows if _is_gone(body, name, but)]
            if gone:
                removed += self._shelf.change_documents(partial(_remove, serials=gone, name=name, but=but))
        return removed

    def note(
        self, results: Mapping[str, str], profile_uuid: str, at: datetime, *, by_hand: bool, token: str
    ) -> None:
        """Note the result of an assignment.

        Args:
            results: Apple's word for each serial number; devices that are not known are ignored.
            profile_uuid: what was assigned, "" when profiles were removed.
            at: when.
            by_hand: whether an administrator asked for it.
            token: name of the token it was done with.
        """

        def change(shelf: Documents, serials: Sequence[str]) -> None:
            for serial in serials:
                row = shelf.get(DEVICE, serial)
                if row is not None and (old := KnownDevice.of(row)).token == token:
                    new = old.assigned(profile_uuid, at) if results[serial] == DONE else old
                    if not by_hand:
                        new = replace(new, result=results[serial], tried_at=at)
                    elif new is not old:
                        new = replace(new, by_hand=profile_uuid, by_hand_at=at)
                    shelf.put(DEVICE, serial, new.body())

        serials = list(results)
        for begin in range(0, len(serials), BATCH):
            self._shelf.change_documents(partial(change, serials=serials[begin : begin + BATCH]))

    def hide(self, serials: Sequence[str]) -> None:
        """Leave devices out of lists until Apple mentions them again."""
        if not serials:
            return

        def change(shelf: Documents) -> None:
            for serial in serials:
                if row := shelf.get(DEVICE, serial):
                    shelf.put(DEVICE, serial, replace(KnownDevice.of(row), listed=False).body())

        self._shelf.change_documents(change)


def _take(shelf: Documents, name: str, facts: Mapping[str, Json], fetch_id: str) -> None:
    serial = str(facts["serial_number"])
    row = shelf.get(DEVICE, serial)
    old = KnownDevice.of(row) if row else None
    mine = old if old and old.token == name else None
    if facts.get("op_type") == "deleted":
        if mine:
            shelf.remove(DEVICE, serial)
        return
    told = {key: value for key, value in facts.items() if value not in (None, "")}
    known = replace(mine, fetch_id=fetch_id, facts=told, listed=True) if mine else None
    shelf.put(DEVICE, serial, (known or KnownDevice(name, fetch_id, told)).body())


def _is_gone(body: bytes, name: str, but: str) -> bool:
    known = KnownDevice.of(body)
    return known.token == name and (not but or known.fetch_id != but)


def _remove(shelf: Documents, serials: Sequence[str], name: str, but: str) -> int:
    removed = 0
    for serial in serials:
        row = shelf.get(DEVICE, serial)
        if row and _is_gone(row, name, but):
            shelf.remove(DEVICE, serial)
            removed += 1
    return removed
