"""What became of a command: one record, lists of them, cancelling, and waiting for the answer."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from micromdm_py.errors import Busy, MalformedField, NotFound
from micromdm_py.logs import request_id
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.protocol.lifecycle import FINAL_STATES, ORIGINS, CommandState
from micromdm_py.protocol.times import read_time
from micromdm_py.service.command_view import FullRecord, snake_record
from micromdm_py.service.commands import Receipt, check_api_id
from micromdm_py.service.waiting import Wait
from micromdm_py.storage.base import CommandHistory, CommandQueue, Enrollments
from micromdm_py.storage.records import CommandFilter, CommandRecord, EnrollmentRecord

__all__ = ["CommandRecords", "RecordStore", "parse_filter"]

logger = logging.getLogger(__name__)


class RecordStore(CommandQueue, CommandHistory, Enrollments, Protocol):
    """What command records need of the store."""

    def organization(self) -> tuple[str, str]:
        """See `storage.base.Store`."""
        ...


class CommandRecords:
    """What an administrator does with command records; replies are JSON documents in bytes.

    With `secrets` passwords, keys and tokens are shown; otherwise they are masked.
    """

    def __init__(self, store: RecordStore, wait: Wait, *, now: Callable[[], datetime]) -> None:
        """Work on `store`; `wait` waits for answers."""
        self._store, self._wait, self._now = store, wait, now

    def one(
        self, api_id: str, command: str, *, secrets: bool, wait_s: float = 0, stop: Callable[[], bool] = bool
    ) -> bytes:
        """A record with timeline and bodies, after waiting `wait_s` seconds at most until it is done.

        Raises: NotFound, Conflict, MalformedField.
        """
        record = self._store.command(check_api_id("udid", api_id), command)
        target = self._target(api_id)
        if wait_s and not _is_done(record):
            record = self._waited(target.enrollment_id, record.command_id, wait_s, stop) or record
        (full,) = self.full_records(target, [record])
        return json_reply({"record": snake_record(full, secrets=secrets, bodies=True)})

    def page(self, api_id: str, wanted: CommandFilter, *, secrets: bool) -> bytes:
        """A page of the records of an enrollment. Raises: NotFound, Conflict, MalformedField."""
        target = self._target(check_api_id("udid", api_id))
        page = self._store.commands(target.enrollment_id, wanted)
        full = self.full_records(target, page.records)
        document: dict[str, object] = {"items": [snake_record(one, secrets=secrets) for one in full]}
        if page.next:
            document["next"] = page.next
        return json_reply(document)

    def cancel(self, api_id: str, command: str) -> bytes:
        """Withdraw an open command. Raises: NotFound, Conflict, CommandDone, StorageUnavailable."""
        record = self._store.cancel(
            check_api_id("udid", api_id), command, at=self._now(), request_id=request_id.get()
        )
        logger.info("cancelled %s %s of %s", record.request_type, record.command_id, api_id)
        return json_reply({})

    def answered(
        self, receipt: Receipt, wait_s: float, *, secrets: bool, stop: Callable[[], bool] = bool
    ) -> tuple[bool, bytes]:
        """Wait until a command that was just queued is done, the time is over, or `stop` returns true.

        Does not wait when too many requests are waiting. Returns: whether the command is done; and
        `{"payload": …, "record": …}`.
        """
        if not receipt.command_id:
            return True, receipt.reply
        record = self._waited(receipt.enrollment_id, receipt.command_id, wait_s, stop)
        document: dict[str, object] = {"payload": receipt.payload}
        if record is not None:
            (full,) = self.full_records(self._target(receipt.enrollment_id), [record])
            document["record"] = snake_record(full, secrets=secrets, bodies=True)
        return _is_done(record), json_reply(document)

    def _waited(
        self, enrollment_id: str, command_id: str, wait_s: float, stop: Callable[[], bool]
    ) -> CommandRecord | None:
        try:
            return self._wait(
                lambda: self._look(enrollment_id, command_id), lambda one: _is_done(one) or stop(), wait_s
            )
        except Busy:
            return self._look(enrollment_id, command_id)

    def _look(self, enrollment_id: str, command_id: str) -> CommandRecord | None:
        try:
            return self._store.command(enrollment_id, command_id)
        except NotFound:
            return None

    def _target(self, api_id: str) -> EnrollmentRecord:
        return self._store.enrollment(api_id)

    def full_records(self, target: EnrollmentRecord, records: Sequence[CommandRecord]) -> list[FullRecord]:
        """The records of an enrollment with their bodies."""
        bodies = self._store.command_bodies([one.command_id for one in records])
        organization = self._store.organization()
        return [
            FullRecord.of(organization, target, one, *body) for one, body in zip(records, bodies, strict=True)
        ]


def _is_done(record: CommandRecord | None) -> bool:
    return record is None or record.state in FINAL_STATES


def parse_filter(query: Callable[[str], str | None], limit: int) -> CommandFilter:
    """Read a filter from the query of a request.

    `status`, `request_type`, `from` and `group` take several values divided by commas.

    Args:
        query: gives the value of a parameter, None when it is absent.
        limit: most records of a page.
    Raises: MalformedField.
    """
    states, origins = _words(query("status")), _words(query("from"))
    _check("status", states, tuple(CommandState))
    _check("from", origins, ORIGINS)
    return CommandFilter(
        frozenset(map(CommandState, states)),
        _words(query("request_type")),
        origins,
        _words(query("group")) | ({group} if (group := query("group")) else set()),  # may hold commas
        read_time("since", query("since")),
        read_time("until", query("until")),
        query("cursor") or "",
        limit,
    )


def _words(text: str | None) -> frozenset[str]:
    return frozenset(word for word in (text or "").split(",") if word)


def _check(name: str, found: frozenset[str], allowed: Sequence[str]) -> None:
    if not found <= set(allowed):
        raise MalformedField(name, f"must be one of {', '.join(allowed)}")
