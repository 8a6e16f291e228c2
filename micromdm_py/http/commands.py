"""/v1/commands: queueing, viewing and clearing."""

from collections.abc import Callable, Mapping
from typing import Protocol

import falcon

from micromdm_py.errors import Unauthenticated
from micromdm_py.http.audit import audit_note
from micromdm_py.http.auth import caller_of, check_again
from micromdm_py.http.body import read_body
from micromdm_py.http.command_records import RECORD, may_read_secrets, seconds_to_wait
from micromdm_py.http.describe import ANY, BASE64, TIME, Content, Schema, describe, needed, note, nothing_here
from micromdm_py.http.permissions import CANCEL, DEVICES
from micromdm_py.http.reply import flag, query_value, reply
from micromdm_py.http.request import stops
from micromdm_py.protocol.commands import OPTIONS
from micromdm_py.service.access import ADMINISTRATOR, CREATE
from micromdm_py.service.command_records import CommandRecords
from micromdm_py.service.commands import Commands, Permit, Receipt

__all__ = ["BulkResource", "CommandsResource", "EnrollmentCommandsResource", "QueueMany", "options", "permit"]


def permit(req: falcon.Request) -> Permit:
    """The check of a caller who queues commands: whether the token allows this request type.

    Who takes the place of other commands has to be allowed to queue those, or to cancel commands.
    """

    def check(api_id: str, request_type: str, replaces: str) -> None:
        caller = caller_of(req)
        caller.require(CREATE, request_type)
        if replaces and not caller.may(CANCEL):
            caller.require(CREATE, replaces)
        audit_note(req, api_id, request_type)

    return check


def once_key(req: falcon.Request) -> str:
    """The Idempotency-Key of a request, which counts for its caller alone: answers may hold secrets."""
    key, caller = req.get_header("Idempotency-Key") or "", caller_of(req)
    return f"{caller.name}\0{key}" if key and caller != ADMINISTRATOR else key


def options(req: falcon.Request) -> dict[str, object]:
    """How to queue a command, as far as the query says."""
    return {name: value for name in OPTIONS if (value := query_value(req, name)) is not None}


QUEUED = {"payload": {"command_uuid": str, "command": ANY}, "record": note(RECORD, "with wait")}
HOW = {
    "wait": note(int, "seconds to wait for the device's answer, at most 60"),
    "supersede": note(bool, "replace what is still open of the same group"),
    "group": note(str, "a label; without it the request type"),
    "ttl": note(int, "seconds, after which the command is withdrawn"),
    "expires_at": note(TIME, "when the command is withdrawn"),
    "from": note(str, "what caused it"),
}
ONCE = {"Idempotency-Key": note(str, "the same key of a caller within 24 hours gets the first answer")}
NOT_YET = "With wait: the time is over and the device has not answered."


def _any_command() -> Schema:
    from micromdm_py.http.command_schema import command_shape  # only here: it reads every command's schema

    return command_shape()


class _Queueing:
    needs_api_key = True

    def __init__(self, commands: Commands, records: CommandRecords, max_body_bytes: int) -> None:
        """Queue with `commands`, wait with `records`."""
        self._commands, self._records, self._max = commands, records, max_body_bytes

    def _answer(self, req: falcon.Request, resp: falcon.Response, receipt: Receipt, wait_s: int) -> None:
        """201: queued, or with `?wait=` answered. 202: the time is over, and the device has not answered."""
        if not wait_s:
            return reply(resp, receipt.reply, 201)
        secrets = may_read_secrets(req)
        answered, document = self._records.answered(receipt, wait_s, secrets=secrets, stop=stops(req))
        try:
            check_again(req)
        except Unauthenticated:  # the command is queued all the same; what became of it is no longer told
            answered, document = False, receipt.reply
        return reply(resp, document, 201 if answered else 202)


class QueueMany(Protocol):
    """`service.bulk.Bulk`."""

    def __call__(
        self,
        body: bytes,
        *,
        permit: Permit,
        permit_search: Callable[[], None],
        query: Mapping[str, object],
        key: str,
    ) -> tuple[bool, bytes]:
        """Queue a command to many devices."""
        ...


class BulkResource:
    """POST /v1/bulk/commands: one command for many devices."""

    needs_api_key = True

    def __init__(self, bulk: QueueMany, max_body_bytes: int) -> None:
        """Queue with `bulk`."""
        self._bulk, self._max = bulk, max_body_bytes

    @describe(
        takes={
            "command": needed({"request_type": needed(str)}, "as for /v1/commands"),
            "udids": [str],
            "filter": note({str: str}, "in place of udids: as in /v1/devices/search, with its permission"),
            "dry_run": note(bool, "queue nothing, show who would get it"),
            "confirm": note(int, "how many devices; needed to erase or lock more than ten"),
        },
        gives={
            "results": [{"udid": str, "command_uuid": str, "id": str, "error": str}],
            "queued": int,
            "failed": int,
        },
        status=201,
        query={name: shape for name, shape in HOW.items() if name != "wait"},
        answers={200: "Nothing was queued."},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Queue a command for many devices."""
        body = read_body(req, self._max)
        key = once_key(req)
        queued, document = self._bulk(
            body,
            permit=permit(req),
            permit_search=lambda: caller_of(req).require(DEVICES),
            query=options(req),
            key=key,
        )
        reply(resp, document, 201 if queued else 200)


class CommandsResource(_Queueing):
    """POST /v1/commands: a command given as JSON."""

    @describe(
        takes=Content("application/json", _any_command, "Fields in snake case; data is base64."),
        gives=Content("application/json", QUEUED, "Queued; with wait: answered."),
        status=201,
        query={"strict": note(bool, "refuse what breaks Apple's schema"), **HOW},
        headers=ONCE,
        answers={202: NOT_YET},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Queue one command."""
        body = read_body(req, self._max)
        key, wait_s = once_key(req), seconds_to_wait(req)
        receipt = self._commands.queue_json(
            body, permit=permit(req), strict=flag(req, "strict"), key=key, query=options(req)
        )
        self._answer(req, resp, receipt, wait_s)

    @nothing_here
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Clearing needs a UDID in the path; without one there is nothing here, as callers know it."""
        raise falcon.HTTPNotFound


class EnrollmentCommandsResource(_Queueing):
    """/v1/commands/{udid}: a raw command, and what waits for an enrollment."""

    @describe(
        takes=Content("application/xml", text="A property list with CommandUUID and Command."),
        gives=Content("application/json", QUEUED, "Queued; with wait: answered."),
        status=201,
        query=HOW,
        headers=ONCE,
        answers={202: NOT_YET},
        about="The device gets exactly these bytes.",
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Queue a property list as it is."""
        body = read_body(req, self._max)
        key, wait_s = once_key(req), seconds_to_wait(req)
        receipt = self._commands.queue_raw(udid, body, permit=permit(req), key=key, query=options(req))
        self._answer(req, resp, receipt, wait_s)

    on_put = on_post

    @describe(gives={"commands": [{"uuid": str, "payload": BASE64}]})
    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Show what waits."""
        reply(resp, self._commands.waiting(udid, secrets=may_read_secrets(req)))

    @describe(gives={})
    def on_delete(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Cancel everything that waits."""
        read_body(req, self._max)
        reply(resp, self._commands.clear(udid))
