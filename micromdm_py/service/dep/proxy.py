"""Calls to Apple on behalf of administrators, answered in MicroMDM's shapes.

They are made within the request: only a few at once, each with the time limit that the caller sets.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from micromdm_py.errors import MalformedField, UpstreamBusy, UpstreamFailed
from micromdm_py.protocol.dep import shapes
from micromdm_py.protocol.dep.faults import DepFault, Meaning
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import Json, field, read_object, strings
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.service.dep.accounts import Accounts, DepCaller
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.tokens import check_name
from micromdm_py.service.request import Tell, tell_nobody
from micromdm_py.service.slots import Slots

__all__ = ["DepProxy"]

_TEMPORARY = (Meaning.TOO_MANY, Meaning.UNAVAILABLE)

logger = logging.getLogger(__name__)


class DepProxy:
    """What an administrator asks Apple; bodies and replies are JSON documents in bytes.

    Every method takes the name of a token, None for the default one; a `tell` learns what is going to be
    changed.
    Raises: MalformedField; NotConfigured without a token; NotFound for another name; Busy; UpstreamBusy and
    UpstreamFailed with Apple's code and what to do about it.
    """

    def __init__(
        self, accounts: Accounts, roster: Roster, call: DepCaller, slots: int, *, now: Callable[[], datetime]
    ) -> None:
        """Allow `slots` calls at once; assignments are also noted in `roster`."""
        self._accounts, self._roster, self._call, self._now = accounts, roster, call, now
        self._slots = Slots(slots, "too many calls to Apple's device assignment service at the moment")

    def define_profile(self, body: bytes, name: str | None, *, tell: Tell = tell_nobody) -> bytes:
        """Store a profile with Apple, and assign it to the devices that it names."""
        request = shapes.profile_request(read_object(body, trailing="ignore"))
        tell(_listed(request["profile_name"], request["devices"]))
        found = self._ask("define profile", name, "POST", "/profile", request)
        return self._assigned(found, name)

    def fetch_profile(self, body: bytes, name: str | None) -> bytes:
        """Show a profile by its UUID."""
        uuid = field(read_object(body, trailing="ignore"), "uuid", str) or ""
        path = f"/profile?profile_uuid={quote(uuid.encode('utf-8', 'replace'), safe='')}"
        return json_reply(shapes.profile(self._ask("fetch profile", name, "GET", path)))

    def assign_profile(self, body: bytes, name: str | None, *, tell: Tell = tell_nobody) -> bytes:
        """Assign a profile to devices. Automatic assignment leaves them alone until its rule is renewed."""
        found = read_object(body, trailing="ignore")
        uuid, serials = field(found, "id", str) or "", _serials(found)
        tell(_listed(uuid, serials))
        request = {"profile_uuid": uuid, "devices": serials}
        return self._assigned(self._ask("assign profile", name, "PUT", "/profile/devices", request), name)

    def remove_profile(self, body: bytes, name: str | None, *, tell: Tell = tell_nobody) -> bytes:
        """Remove the profile of devices. Automatic assignment leaves them alone until its rule is renewed."""
        serials = _serials(read_object(body, trailing="ignore"))
        tell(_listed("no profile", serials))
        found = self._ask("remove profile", name, "DELETE", "/profile/devices", {"devices": serials})
        results = shapes.results_of(found)
        self._roster.note(results, "", self._now(), by_hand=True, token=check_name(name))
        return json_reply({"serials": results})

    def devices(self, body: bytes, name: str | None) -> bytes:
        """Details of devices by serial number."""
        serials = _serials(read_object(body, trailing="ignore"))
        found = self._ask("get device details", name, "POST", "/devices", {"devices": serials})
        return json_reply({"devices": shapes.devices_of(found)})

    def account(self, name: str | None) -> bytes:
        """The organization and the server that the token belongs to."""
        return json_reply(shapes.account(self._ask("account request", name, "GET", "/account")))

    def _assigned(self, found: Mapping[str, Json], name: str | None) -> bytes:
        results, uuid = shapes.results_of(found), str(found.get("profile_uuid") or "")
        self._roster.note(results, uuid, self._now(), by_hand=True, token=check_name(name))
        return json_reply({"profile_uuid": uuid, "devices": results})

    def _ask(
        self, action: str, name: str | None, method: str, path: str, document: Json = None
    ) -> dict[str, Json]:
        account = self._accounts.get(check_name(name))
        body = b"" if document is None else json.dumps(document).encode("utf-8", "replace")
        try:
            with self._slots:
                return shapes.read_answer(self._call(account.url, account.token, method, path, body).body)
        except DepFault as fault:
            logger.warning("%s with the DEP token %s: %s", action, account.name, fault)
            text = f"{action}: {fault}"
            if fault.status and fault.meaning in _TEMPORARY:
                raise UpstreamBusy(text, fault.retry_after_s) from fault
            raise UpstreamFailed(text) from fault


def _listed(what: str, serials: Sequence[str]) -> str:
    return f"{what}: {', '.join(serials)}" if serials else what


def _serials(found: Mapping[str, Json]) -> tuple[str, ...]:
    serials = strings(found, "serials")
    if len(serials) > shapes.MAX_SERIALS:
        raise MalformedField("serials", f"must have at most {shapes.MAX_SERIALS} entries")
    for position, serial in enumerate(serials):
        check_id(f"serials[{position}]", serial)
    return serials
