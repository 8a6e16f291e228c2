"""What became of a command: /v1/commands/{udid}/{command} and /v1/devices/{udid}/commands."""

from functools import partial

import falcon

from micromdm_py.http.auth import caller_of, check_again
from micromdm_py.http.describe import TIME, describe, note, nothing_here
from micromdm_py.http.permissions import SECRETS
from micromdm_py.http.reply import query_number, query_value, reply
from micromdm_py.http.request import stops
from micromdm_py.service.command_records import CommandRecords, parse_filter
from micromdm_py.service.waiting import MAX_WAIT_S

__all__ = ["CommandResource", "DeviceCommandsResource", "may_read_secrets", "seconds_to_wait"]

MAX_LIMIT = 1000
DEFAULT_LIMIT = 50


def may_read_secrets(req: falcon.Request) -> bool:
    """Whether the caller may see passwords, keys and tokens in commands and answers."""
    return caller_of(req).may(SECRETS)


def seconds_to_wait(req: falcon.Request) -> int:
    """How long to wait for the device's answer. Raises: MalformedField."""
    return query_number(req, "wait", 0, MAX_WAIT_S, default=0)


RECORD = note(
    {"id": str, "uuid": str, "status": str, "request_type": str, "udid": str, "created_at": TIME},
    "With everything else of the record, see the manual, Life of a command.",
)
FILTER = {
    **dict.fromkeys(
        ("status", "request_type", "from", "group"), note(str, "one, or several divided by commas")
    ),
    "since": TIME,
    "until": TIME,
    "limit": note(int, f"{DEFAULT_LIMIT}; at most {MAX_LIMIT}"),
    "cursor": note(str, "next of the page before"),
}


class CommandResource:
    """One command: GET shows it, DELETE cancels it."""

    needs_api_key = True

    def __init__(self, records: CommandRecords) -> None:
        """Ask `records`."""
        self._records = records

    @describe(
        gives={"record": RECORD},
        query={"wait": note(int, "seconds to wait until it is answered or withdrawn, at most 60")},
        answers={404: "Enrollment or command is unknown."},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str, command: str) -> None:
        """Show a command with its timeline, request and answer."""
        wait_s = seconds_to_wait(req)
        document = self._records.one(
            udid, command, secrets=may_read_secrets(req), wait_s=wait_s, stop=stops(req)
        )
        if wait_s:
            check_again(req)
        reply(resp, document)

    @describe(gives={}, answers={404: "Enrollment or command is unknown.", 409: "It is in a final state."})
    def on_delete(self, req: falcon.Request, resp: falcon.Response, udid: str, command: str) -> None:
        """Withdraw a command."""
        reply(resp, self._records.cancel(udid, command))

    @nothing_here
    def on_any(self, req: falcon.Request, resp: falcon.Response, udid: str, command: str) -> None:
        """An id with a slash is none that could be queued to: as callers know it, there is nothing here."""
        raise falcon.HTTPNotFound


class DeviceCommandsResource:
    """GET /v1/devices/{udid}/commands."""

    needs_api_key = True

    def __init__(self, records: CommandRecords) -> None:
        """Ask `records`."""
        self._records = records

    @describe(
        gives={"items": [RECORD], "next": note(str, "cursor of the next page, if there is one")},
        query=FILTER,
        answers={404: "The enrollment is unknown."},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """List the commands of an enrollment, newest first."""
        limit = query_number(req, "limit", 1, MAX_LIMIT, default=DEFAULT_LIMIT)
        wanted = parse_filter(partial(query_value, req), limit)
        reply(resp, self._records.page(udid, wanted, secrets=may_read_secrets(req)))
