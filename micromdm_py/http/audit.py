"""The audit log: what is written into it for each change, and GET /v1/audit."""

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import falcon

from micromdm_py.http.auth import caller_of
from micromdm_py.http.describe import TIME, describe, note
from micromdm_py.http.permissions import READING, permission_of
from micromdm_py.http.reply import query_number, query_value, reply
from micromdm_py.http.request import path_of, request_id_of
from micromdm_py.protocol.jsonreply import json_reply, rfc3339
from micromdm_py.storage.base import AuditLog
from micromdm_py.storage.records import AuditEntry

__all__ = ["AuditResource", "AuditTrail", "audit_note"]

Responder = Callable[..., None]
MAX_LIMIT = 1000
NEWEST_CURSOR = 2**63 - 1
MAX_TEXT = 255
"""Longest target, detail or request in an entry, in characters; what is longer is cut."""


def audit_note(req: falcon.Request, target: str, detail: str = "") -> None:
    """Say what a request is about, where its path does not: before the change is made."""
    req.context.audit_note = target, detail


class AuditTrail:
    """Writes an entry with each change that an administrator's request makes."""

    def __init__(self, log: AuditLog, now: Callable[[], datetime]) -> None:
        """Write to `log`."""
        self._log, self._now = log, now

    def wrap(self, responder: Responder) -> Responder:
        """The same responder of an administrators' resource, its changes being written down."""

        @functools.wraps(responder)
        def run(req: falcon.Request, resp: falcon.Response, **params: Any) -> None:  # Any: path fields
            action = permission_of(req.uri_template, req.method)
            if action.endswith(READING):
                return responder(req, resp, **params)
            with self._log.audited(lambda: self._entry(req, action, params)):
                return responder(req, resp, **params)

        return run

    def _entry(self, req: falcon.Request, action: str, params: dict[str, Any]) -> AuditEntry:
        named = "/".join(map(str, params.values()))
        target, detail = getattr(req.context, "audit_note", (named, ""))
        return AuditEntry(
            0,
            self._now(),
            caller_of(req).name,
            action,
            (target or named)[:MAX_TEXT],
            detail[:MAX_TEXT],
            f"{req.method} {path_of(req)}"[:MAX_TEXT],
            request_id_of(req),
        )


class AuditResource:
    """GET /v1/audit."""

    needs_api_key = True

    def __init__(self, log: AuditLog) -> None:
        """Read from `log`."""
        self._log = log

    @describe(
        gives={
            "entries": [
                {
                    "at": TIME,
                    **dict.fromkeys(("who", "action", "target", "detail", "request", "request_id"), str),
                }
            ],
            "next": note(str, "cursor of the next page, if there is one"),
        },
        query={"limit": note(int, "100; at most 1000"), "cursor": str, "who": str},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List who has changed what, newest first."""
        limit = query_number(req, "limit", 1, MAX_LIMIT, default=100)
        before = query_number(req, "cursor", 1, NEWEST_CURSOR, default=NEWEST_CURSOR)
        page = self._log.audit_entries(before=before, limit=limit, who=query_value(req, "who"))
        document: dict[str, object] = {"entries": [_shown(entry) for entry in page.entries]}
        if page.next:
            document["next"] = str(page.next)
        reply(resp, json_reply(document))


def _shown(entry: AuditEntry) -> dict[str, object]:
    shown = {
        "at": rfc3339(entry.at),
        "who": entry.who,
        "action": entry.action,
        "target": entry.target,
        "detail": entry.detail,
        "request": entry.request,
        "request_id": entry.request_id,
        "result": "accepted",
    }
    return {name: value for name, value in shown.items() if value}
