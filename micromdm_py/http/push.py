"""/push/{udid} and /v1/push/{udid}: ask a device to connect, now."""

from collections.abc import Callable

import falcon

from micromdm_py.errors import MalformedField
from micromdm_py.http.describe import describe, note
from micromdm_py.http.reply import query_value, reply
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.service.commands import check_api_id

__all__ = ["LegacyPushResource", "PushResource"]

PushNow = Callable[[str, int | None], str]
"""Pushes to an API id with an optional expiration (seconds since 1970); returns APNs' id of the push."""

PUSHED = {"status": note(str, "success"), "push_notification_id": str}
EXPIRATION = {"expiration": note(int, "seconds since 1970")}
REFUSED = {
    404: "The enrollment is unknown, or has told no push data.",
    409: "The token is dead.",
    502: "The push service refused.",
    503: "There is no push certificate, or too many calls at once.",
}


class _Pushing:
    """What both spellings do."""

    needs_api_key = True

    def __init__(self, push: PushNow) -> None:
        """Push with `push`."""
        self._push = push

    def _answer(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        apns_id = self._push(check_api_id("udid", udid), _expiration(req))
        reply(resp, json_reply({"status": "success", "push_notification_id": apns_id}))


class PushResource(_Pushing):
    """POST /v1/push/{udid}."""

    @describe(gives=PUSHED, query=EXPIRATION, answers=REFUSED)
    def on_post(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Push at once and answer with APNs' id."""
        self._answer(req, resp, udid)


class LegacyPushResource(_Pushing):
    """GET /push/{udid}, the older spelling that mdmctl and scripts use."""

    @describe(gives=PUSHED, query=EXPIRATION, answers=REFUSED)
    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Push at once and answer with APNs' id."""
        self._answer(req, resp, udid)


def _expiration(req: falcon.Request) -> int | None:
    text = query_value(req, "expiration")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise MalformedField("expiration", "must be seconds since 1970")
    return int(text)
