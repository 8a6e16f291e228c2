"""/v1/commands: queueing, viewing and clearing."""

import falcon

from micromdm_py.http.audit import audit_note
from micromdm_py.http.auth import caller_of
from micromdm_py.http.body import read_body
from micromdm_py.http.reply import flag, reply
from micromdm_py.service.access import CREATE
from micromdm_py.service.commands import Commands, Permit

__all__ = ["CommandsResource", "EnrollmentCommandsResource", "permit"]


def permit(req: falcon.Request) -> Permit:
    """The check of a caller who queues commands: whether the token allows this request type."""

    def check(api_id: str, request_type: str) -> None:
        caller_of(req).require(CREATE, request_type)
        audit_note(req, api_id, request_type)

    return check


class CommandsResource:
    """POST /v1/commands: a command given as JSON."""

    needs_api_key = True

    def __init__(self, commands: Commands, max_body_bytes: int) -> None:
        """Queue with `commands`."""
        self._commands, self._max = commands, max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Queue one command."""
        body = read_body(req, self._max)
        key = req.get_header("Idempotency-Key") or ""
        strict = flag(req, "strict")
        reply(resp, self._commands.queue_json(body, permit=permit(req), strict=strict, key=key), 201)

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Clearing needs a UDID in the path; without one there is nothing here, as callers know it."""
        raise falcon.HTTPNotFound


class EnrollmentCommandsResource:
    """/v1/commands/{udid}: a raw command, and what waits for an enrollment."""

    needs_api_key = True

    def __init__(self, commands: Commands, max_body_bytes: int) -> None:
        """Work with `commands`."""
        self._commands, self._max = commands, max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Queue a property list as it is."""
        body = read_body(req, self._max)
        key = req.get_header("Idempotency-Key") or ""
        reply(resp, self._commands.queue_raw(udid, body, permit=permit(req), key=key), 201)

    on_put = on_post

    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Show what waits."""
        reply(resp, self._commands.waiting(udid))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Cancel what waits; a body, which some clients send, is read and ignored."""
        read_body(req, self._max)
        reply(resp, self._commands.clear(udid))
