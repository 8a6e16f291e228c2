"""A stand-in for Apple's device assignment service: serial numbers, cursors, profiles, and faults on demand.

`DepService` is the whole service except for the network. It demands signed requests for sessions, as
Apple does, and follows Apple's rules for cursors: each is valid for seven days, one whose fetch has ended is
exhausted, and a sync returns what has changed since.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from urllib.parse import parse_qs, urlsplit

from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN, DepToken
from micromdm_py.protocol.jsonbody import Json
from micromdm_py.protocol.jsonreply import json_time
from micromdm_py.simulator.depdoor import Door, Refused

__all__ = ["DepService", "Fault"]

CURSOR_LASTS = timedelta(days=7)
LIMIT, MAX_LIMIT = 100, 1000


@dataclass(slots=True)
class Fault:
    """A refusal on demand.

    Attributes:
        path: path of the calls to refuse, "" for all.
        status, code: the answer.
        times: how many calls to refuse.
        retry_after_s: value of `Retry-After`, 0 for none.
        skip: how many calls to let pass first.
    """

    path: str
    status: int
    code: str = ""
    times: int = 1
    retry_after_s: int = 0
    skip: int = 0


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far a client has got: at `position` in the fetch of `serials`, or past change number `seen`."""

    made_at: datetime
    seen: int
    serials: tuple[str, ...] = ()
    position: int = 0
    fetching: bool = False


@dataclass(frozen=True, slots=True)
class _Change:
    serial: str
    op_type: str
    op_date: datetime
    facts: Mapping[str, Json] = field(default_factory=dict)


class DepService:
    """The service for one MDM server. Not thread-safe."""

    def __init__(
        self,
        serials: Iterable[str] = (),
        *,
        now: Callable[[], datetime],
        token: DepToken = SIMULATOR_TOKEN,
    ) -> None:
        """Start with a fleet of these serial numbers.

        Args:
            serials: the devices' serial numbers.
            now: gives the time, aware UTC.
            token: the credentials that callers must have.
        """
        self._now = now
        self.devices: dict[str, dict[str, Json]] = {}
        self.profiles: dict[str, dict[str, Json]] = {}
        self.faults: list[Fault] = []
        self.failing: set[str] = set()
        self.calls: list[str] = []
        self._changes: list[_Change] = []
        self._cursors: dict[str, _Cursor] = {}
        self._door = Door(token, now)
        self._numbers = count(1)
        for serial in serials:
            self.devices[serial] = self._made(serial)

    # --- the fleet ---

    def add(self, serial: str) -> None:
        """Assign a device to the server, as in the portal."""
        self.devices[serial] = self._made(serial)
        self._changed(serial, "added")

    def remove(self, serial: str) -> None:
        """Take a device away from the server. Raises: KeyError."""
        facts = self.devices.pop(serial)
        self._changes.append(_Change(serial, "deleted", self._now(), facts))

    def assign(self, serial: str, profile_uuid: str) -> None:
        """Give a device a profile, "" for none, as another client of the service would. Raises: KeyError."""
        status = "assigned" if profile_uuid else "empty"
        told = {"profile_uuid": profile_uuid, "profile_status": status}
        self.devices[serial] |= told | {"profile_assign_time": json_time(self._now())}
        self._changed(serial, "modified")

    def expire_cursors(self) -> None:
        """Make all present cursors too old."""
        for name, cursor in self._cursors.items():
            self._cursors[name] = _Cursor(cursor.made_at - CURSOR_LASTS - timedelta(1), cursor.seen)

    def end_sessions(self) -> None:
        """Forget every session."""
        self._door.forget()

    def _made(self, serial: str) -> dict[str, Json]:
        return {
            "serial_number": serial,
            "model": "Mac mini",
            "description": "MAC MINI",
            "color": "SILVER",
            "profile_status": "empty",
            "device_assigned_date": json_time(self._now()),
            "device_assigned_by": "admin@example.com",
            "os": "OSX",
            "device_family": "Mac",
        }

    def _changed(self, serial: str, op_type: str) -> None:
        self._changes.append(_Change(serial, op_type, self._now()))

    # --- calls ---

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, url: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer one call.

        Args:
            method: as in the request line.
            target: the same.
            headers: by name in lower case.
            body: the whole body.
            url: the service's URL without path, as the client has signed it.
        Returns: status, headers, body.
        """
        parts = urlsplit(target)
        self.calls.append(f"{method} {parts.path}")
        try:
            self._fail(parts.path)
            if parts.path == "/session":
                value = self._door.open(headers.get("authorization", ""), f"{url}/session")
                return 200, _JSON, json.dumps({"auth_session_token": value}).encode()
            self._door.check(headers.get("x-adm-auth-session", ""))
            found = _request(body) if method != "GET" else {"profile_uuid": _query(parts.query)}
            handler = self._handlers().get((method, parts.path.lstrip("/")))
            if handler is None:
                raise Refused(404, "NOT_FOUND")
            return 200, _JSON, json.dumps(handler(found)).encode()
        except Refused as refused:
            return refused.status, _TEXT | refused.headers, refused.code.encode()

    def _handlers(self) -> Mapping[tuple[str, str], Callable[[dict[str, Json]], object]]:
        return {
            ("GET", "account"): self._account,
            ("POST", "server/devices"): self._fetch,
            ("POST", "devices/sync"): self._sync,
            ("POST", "devices"): self._details,
            ("POST", "profile"): self._define,
            ("GET", "profile"): self._profile,
            ("PUT", "profile/devices"): self._assign,
            ("POST", "profile/devices"): self._assign,
            ("DELETE", "profile/devices"): self._unassign,
        }

    def _fail(self, path: str) -> None:
        for fault in self.faults:
            if fault.times <= 0 or fault.path not in ("", path):
                continue
            if fault.skip:
                fault.skip -= 1
            else:
                fault.times -= 1
                wait = {"Retry-After": str(fault.retry_after_s)} if fault.retry_after_s else {}
                raise Refused(fault.status, fault.code, wait)

    # --- devices ---

    def _fetch(self, found: dict[str, Json]) -> object:
        name = found.get("cursor") or ""
        if not name:
            cursor = _Cursor(self._now(), len(self._changes), tuple(self.devices), fetching=True)
        else:
            cursor = self._cursor(name)
            if not cursor.fetching:
                raise Refused(400, "EXHAUSTED_CURSOR")
        end = cursor.position + _limit(found)
        page = [self.devices[one] for one in cursor.serials[cursor.position : end] if one in self.devices]
        more = end < len(cursor.serials)
        return self._page(page, _Cursor(self._now(), cursor.seen, cursor.serials, end, more), more)

    def _sync(self, found: dict[str, Json]) -> object:
        name = found.get("cursor") or ""
        if not name:
            raise Refused(400, "CURSOR_REQUIRED")
        cursor = self._cursor(name)
        end = min(cursor.seen + _limit(found), len(self._changes))
        page = [self._told(change) for change in self._changes[cursor.seen : end]]
        return self._page(page, _Cursor(self._now(), end), end < len(self._changes))

    def _cursor(self, name: str) -> _Cursor:
        cursor = self._cursors.get(name)
        if cursor is None:
            raise Refused(400, "INVALID_CURSOR")
        if self._now() - cursor.made_at > CURSOR_LASTS:
            raise Refused(400, "EXPIRED_CURSOR")
        return cursor

    def _page(self, devices: list[dict[str, Json]], cursor: _Cursor, more: bool) -> object:
        name = f"cursor-{next(self._numbers)}"
        self._cursors[name] = cursor
        return {
            "devices": devices,
            "cursor": name,
            "more_to_follow": more,
            "fetched_until": json_time(self._now()),
        }

    def _told(self, change: _Change) -> dict[str, Json]:
        facts = self.devices.get(change.serial, change.facts)
        op = {"op_type": change.op_type, "op_date": json_time(change.op_date)}
        return {"serial_number": change.serial, **facts, **op}

    def _details(self, found: dict[str, Json]) -> object:
        told: dict[str, Json] = {}
        for serial in _serials(found):
            missing = {"serial_number": serial, "response_status": "NOT_ACCESSIBLE"}
            facts = self.devices.get(serial)
            told[serial] = facts | {"response_status": "SUCCESS"} if facts else missing
        return {"devices": told}

    # --- profiles ---

    def _define(self, found: dict[str, Json]) -> object:
        if not found.get("profile_name"):
            raise Refused(400, "CONFIG_NAME_REQUIRED")
        if not found.get("url"):
            raise Refused(400, "CONFIG_URL_REQUIRED")
        uuid = hashlib.md5(f"profile {next(self._numbers)}".encode(), usedforsecurity=False).hexdigest()
        self.profiles[uuid] = {**found, "profile_uuid": uuid}
        return {"profile_uuid": uuid, "devices": self._results(found.get("devices") or (), uuid)}

    def _profile(self, found: dict[str, Json]) -> object:
        if not found["profile_uuid"]:
            raise Refused(400, "PROFILE_UUID_REQUIRED")
        return self._known(found["profile_uuid"])

    def _assign(self, found: dict[str, Json]) -> object:
        uuid = found.get("profile_uuid")
        if not uuid:
            raise Refused(400, "PROFILE_UUID_REQUIRED")
        self._known(uuid)
        return {"profile_uuid": uuid, "devices": self._results(_serials(found), uuid)}

    def _unassign(self, found: dict[str, Json]) -> object:
        return {"devices": self._results(_serials(found), "")}

    def _known(self, uuid: str) -> dict[str, Json]:
        try:
            return self.profiles[uuid]
        except KeyError:
            raise Refused(404, "NOT_FOUND") from None

    def _results(self, serials: Iterable[str], uuid: str) -> dict[str, str]:
        results = {}
        for serial in serials:
            if serial not in self.devices:
                results[serial] = "NOT_ACCESSIBLE"
            elif serial in self.failing:
                results[serial] = "FAILED"
            else:
                self.assign(serial, uuid)
                results[serial] = "SUCCESS"
        return results

    def _account(self, _found: dict[str, Json]) -> object:
        limit = {"default": LIMIT, "maximum": MAX_LIMIT}
        return {
            "server_name": "Simulated server",
            "server_uuid": "00000000000000000000000000000001",
            "admin_id": "admin@example.com",
            "org_name": "Example Organization",
            "org_email": "it@example.com",
            "org_phone": "+15555550100",
            "org_address": "1 Example Street",
            "org_id": "1",
            "org_id_hash": "1",
            "urls": [{"uri": "/devices/sync", "http_method": ["POST"], "limit": limit}],
            "org_type": "org",
            "org_version": "v2",
        }


_JSON = {"Content-Type": "application/json;charset=UTF8"}
_TEXT = {"Content-Type": "text/plain;charset=UTF8"}


def _request(body: bytes) -> dict[str, Json]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "MALFORMED_REQUEST_BODY")
    return found


def _serials(found: Mapping[str, Json]) -> list[str]:
    serials = found.get("devices")
    if not isinstance(serials, list) or not serials or len(serials) > MAX_LIMIT:
        raise Refused(400, "DEVICE_ID_REQUIRED")
    return [str(serial) for serial in serials]


def _limit(found: Mapping[str, Json]) -> int:
    limit = found.get("limit", LIMIT)
    if not isinstance(limit, int) or not 0 < limit <= MAX_LIMIT:
        raise Refused(400, "MALFORMED_REQUEST_BODY")
    return limit


def _query(query: str) -> str:
    return parse_qs(query).get("profile_uuid", [""])[0]
