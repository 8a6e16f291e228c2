"""Devices for administrators: searching, one device, and what it says about itself."""

from collections.abc import Callable
from typing import Protocol

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonreply import json_reply, rfc3339
from micromdm_py.protocol.plain import as_json
from micromdm_py.protocol.plist import loads
from micromdm_py.protocol.times import read_time
from micromdm_py.service.commands import check_api_id
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.push import find_target
from micromdm_py.storage.base import Enrollments, PushBook
from micromdm_py.storage.records import SEARCHED, Answer, DeviceSearch, EnrollmentRecord, PushTarget

__all__ = ["ENVELOPE", "Inventory", "InventoryStore", "parse_search"]

STATES = {
    "enrolled": {"enrolled": True},
    "unenrolled": {"enrolled": False},
    "blocked": {"blocked": True},
}
"""Values of `state` in a search."""
ENVELOPE = ("CommandUUID", "EnrollmentID", "EnrollmentUserID", "Status", "UDID", "UserID", "UserLongName")
"""Keys of a report that are not part of the answer."""


class InventoryStore(Enrollments, PushBook, Protocol):
    """What the inventory needs of the store."""


class Inventory:
    """Replies are JSON documents in bytes; ids of the API may be UDIDs, EnrollmentIDs or user channels."""

    def __init__(self, store: InventoryStore, roster: Roster) -> None:
        """Read from `store`, and from `roster` what Apple says about devices."""
        self._store, self._roster = store, roster

    def search(self, search: DeviceSearch) -> bytes:
        """A page of devices. Raises: MalformedField: cursor."""
        page = self._store.search_devices(search)
        document: dict[str, object] = {"devices": [_summary(record) for record in page.devices]}
        if page.next:
            document["next"] = page.next
        return json_reply(document)

    def device(self, api_id: str) -> bytes:
        """Everything known of an enrollment, except its secrets. Raises: NotFound, Conflict."""
        record = self._store.enrollment(check_api_id("udid", api_id))
        document = _detail(record)
        if known := self._roster.get(record.serial_number):
            document["dep_profile_status"] = known.profile_status
        push = find_target(self._store, record.enrollment_id)
        if push is not None:
            document["push"] = _push(push)
        answers = self._store.answers(record.enrollment_id)
        if answers:
            document["inventory"] = {answer.request_type: rfc3339(answer.at) for answer in answers}
        return json_reply({"device": document})

    def answers(self, api_id: str) -> bytes:
        """The latest answers of an enrollment, as JSON. Raises: NotFound, Conflict."""
        found = self._store.answers(check_api_id("udid", api_id))
        return json_reply({"inventory": {answer.request_type: _answer(answer) for answer in found}})


def parse_search(query: Callable[[str], str | None], limit: int) -> DeviceSearch:
    """Read a search from the query of a request.

    Args:
        query: gives the value of a parameter, None when it is absent.
        limit: most devices of a page.
    Raises: MalformedField.
    """
    starts = {name: value for name in SEARCHED if (value := query(name))}
    for name, value in starts.items():
        check_id(name, value)
    state = query("state")
    if state and state not in STATES:
        raise MalformedField("state", f"must be one of {', '.join(STATES)}")
    before, after = (read_time(name, query(name)) for name in ("seen_before", "seen_after"))
    wanted = STATES.get(state or "", {})
    return DeviceSearch(
        starts,
        wanted.get("enrolled"),
        wanted.get("blocked"),
        before,
        after,
        query("cursor") or "",
        limit,
    )


def _summary(record: EnrollmentRecord) -> dict[str, object]:
    shown: dict[str, object] = {"enrollment_id": record.enrollment_id, "id": record.target_id}
    if record.udid and record.udid != record.enrollment_id:
        shown["udid"] = record.udid
    shown |= {name: value for name, value in sorted(record.facts.items()) if value}
    shown |= {"enrolled": record.enrolled, "blocked": record.blocked}
    if record.last_seen_at:
        shown["last_seen_at"] = rfc3339(record.last_seen_at)
    return shown


def _detail(record: EnrollmentRecord) -> dict[str, object]:
    texts = {
        "kind": record.kind.value if record.kind else "",
        "device_id": record.device_id if record.device_id != record.enrollment_id else "",
        "user_id": record.user_id,
        "user_short_name": record.user_short_name,
        "user_long_name": record.user_long_name,
        "dep_profile_status": record.dep_profile_status,
        "certificate_fingerprint": record.fingerprint.hex(),
    }
    times = {"authenticated_at": record.authenticated_at, "token_update_at": record.token_update_at}
    return {
        **_summary(record),
        **{name: text for name, text in texts.items() if text},
        **{name: rfc3339(at) for name, at in times.items() if at},
        "awaiting_configuration": record.awaiting_configuration,
        "has_unlock_token": bool(record.unlock_token),
        "has_bootstrap_token": bool(record.bootstrap_token),
    }


def _push(target: PushTarget) -> dict[str, object]:
    shown: dict[str, object] = {"topic": target.topic}
    for name, at in {"due_at": target.due_at, "dead_at": target.dead_at}.items():
        if at is not None:
            shown[name] = rfc3339(at)
    if target.dead_reason:
        shown["dead_reason"] = target.dead_reason
    if target.last is not None:
        last = {"at": rfc3339(target.last.at), "accepted": target.last.accepted}
        texts = {"apns_id": target.last.apns_id, "reason": target.last.reason}
        shown["last"] = {**last, **{name: text for name, text in texts.items() if text}}
    return shown


def _answer(answer: Answer) -> dict[str, object]:
    try:
        report = loads(answer.report)
    except MalformedRequest:  # was readable when it came; limits may have changed since
        return {"at": rfc3339(answer.at), "unreadable": True}
    data = {key: value for key, value in report.items() if key not in ENVELOPE}
    return {"at": rfc3339(answer.at), "data": as_json(data, secrets=False)}
