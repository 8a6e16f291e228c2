"""/v1/dep-tokens and /v1/dep/…: automated enrollment. `?name=` means another token than the default one."""

from dataclasses import dataclass
from functools import partial

import falcon

from micromdm_py.http.audit import audit_note
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import ANY, BASE64, TIME, describe, needed, note
from micromdm_py.http.reply import flag, query_value, reply
from micromdm_py.service.dep.proxy import DepProxy
from micromdm_py.service.dep.rules import DepRules
from micromdm_py.service.dep.tokens import DepTokens
from micromdm_py.service.request import Tell

__all__ = [
    "Dep",
    "DepAccountResource",
    "DepAssignResource",
    "DepDeviceResource",
    "DepDevicesResource",
    "DepProfilesResource",
    "DepRulesResource",
    "DepStatusResource",
    "DepSyncResource",
    "DepTokensResource",
]

MAX_BODY_BYTES = 1 << 20

NAME = {"name": note(str, "the token; without it default")}
APPLE = {
    502: "Apple refused; the text has its code and what to do.",
    503: "There is no token, or Apple is down.",
}
TOKEN = {
    **dict.fromkeys(("consumer_key", "consumer_secret", "access_token", "access_secret"), str),
    "access_token_expiry": TIME,
}
PROFILE = note(
    {"profile_name": str, "url": str, "devices": [str], "is_supervised": bool, "skip_setup_items": [str]},
    "With the other fields of Apple's profile.",
)
RULE = {"filter": note(str, "always *"), "profile_uuid": str}


@dataclass(frozen=True, slots=True)
class Dep:
    """The use cases of automated enrollment."""

    tokens: DepTokens
    proxy: DepProxy
    rules: DepRules


class _Resource:
    """What all have in common."""

    needs_api_key = True

    def __init__(self, dep: Dep) -> None:
        """Work with `dep`."""
        self._dep = dep


class DepTokensResource(_Resource):
    """GET lists, PUT stores, DELETE removes."""

    @describe(
        gives={"dep_tokens": [TOKEN], "public_key": note(BASE64, "certificate for Apple's portal, DER")},
        query=NAME,
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the tokens and the certificate for Apple's portal."""
        reply(resp, self._dep.tokens.show(_name(req)))

    @describe(
        takes={"p7m_content": needed(BASE64, "the token file")},
        gives={},
        query={**NAME, "force": note(bool, "replace a token of another server")},
        answers={409: "The name belongs to another server."},
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a token file."""
        body = _body(req)
        reply(resp, self._dep.tokens.store(body, _name(req), force=flag(req, "force"), tell=_tell(req)))

    @describe(gives={}, query=NAME, answers={404: "There is none of this name."})
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Forget a token."""
        reply(resp, self._dep.tokens.remove(_name(req), tell=_tell(req)))


class DepProfilesResource(_Resource):
    """PUT defines, POST fetches, DELETE takes a profile away from devices."""

    @describe(takes=PROFILE, gives={"profile_uuid": str, "devices": {str: str}}, query=NAME, answers=APPLE)
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Define a profile."""
        reply(resp, self._dep.proxy.define_profile(_body(req), _name(req), tell=_tell(req)))

    @describe(takes={"uuid": needed(str)}, gives=PROFILE, query=NAME, answers=APPLE)
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Fetch a profile."""
        reply(resp, self._dep.proxy.fetch_profile(_body(req), _name(req)))

    @describe(takes={"serials": needed([str])}, gives={"serials": {str: str}}, query=NAME, answers=APPLE)
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take the profile away from devices."""
        reply(resp, self._dep.proxy.remove_profile(_body(req), _name(req), tell=_tell(req)))


class DepAssignResource(_Resource):
    """POST /v1/dep/assign."""

    @describe(
        takes={"id": needed(str, "the profile's uuid"), "serials": needed([str])},
        gives={"profile_uuid": str, "devices": {str: str}},
        query=NAME,
        answers=APPLE,
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Give a profile to devices."""
        reply(resp, self._dep.proxy.assign_profile(_body(req), _name(req), tell=_tell(req)))


class DepDevicesResource(_Resource):
    """POST /v1/dep/devices."""

    @describe(
        takes={"serials": needed([str])}, gives={"devices": {str: {str: ANY}}}, query=NAME, answers=APPLE
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Ask Apple for details of devices."""
        reply(resp, self._dep.proxy.devices(_body(req), _name(req)))


class DepDeviceResource(_Resource):
    """GET /v1/dep/devices/{serial}."""

    @describe(gives={str: ANY}, answers={404: "No token knows this device."})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, serial: str) -> None:
        """Tell what is known of a device and which profile it shall have."""
        reply(resp, self._dep.rules.explain(serial))


class DepAccountResource(_Resource):
    """GET /v1/dep/account."""

    @describe(gives={str: ANY}, query=NAME, answers=APPLE)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Ask Apple for the organization."""
        reply(resp, self._dep.proxy.account(_name(req)))


class DepSyncResource(_Resource):
    """POST /v1/dep/syncnow."""

    @describe(query=NAME)
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Ask for a sync; the answer is empty, as MicroMDM has it."""
        self._dep.rules.sync_now(_name(req))


class DepRulesResource(_Resource):
    """/v1/dep/autoassigners: GET lists, POST sets, DELETE removes."""

    @describe(gives={"autoassigners": [RULE]}, query=NAME)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show which profile devices get."""
        reply(resp, self._dep.rules.show(_name(req)))

    @describe(takes=RULE, gives={}, query=NAME)
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say which profile devices get."""
        reply(resp, self._dep.rules.store(_body(req), _name(req), tell=_tell(req)))

    @describe(takes={"filter": needed(str)}, gives={}, query=NAME)
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Assign no profile automatically any more."""
        reply(resp, self._dep.rules.remove(_body(req), _name(req), tell=_tell(req)))


class DepStatusResource(_Resource):
    """GET /v1/dep/status."""

    @describe(gives={str: ANY})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Tell how each token stands."""
        reply(resp, self._dep.rules.status())


def _body(req: falcon.Request) -> bytes:
    return read_body(req, MAX_BODY_BYTES)


def _name(req: falcon.Request) -> str | None:
    return query_value(req, "name")


def _tell(req: falcon.Request) -> Tell:
    return partial(audit_note, req)
