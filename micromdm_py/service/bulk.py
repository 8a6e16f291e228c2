"""One command for many devices."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from micromdm_py.errors import MalformedField, MdmError, NotFound, StorageUnavailable
from micromdm_py.protocol.commands import OPTIONS, NewCommand, convert_fields
from micromdm_py.protocol.jsonbody import read_object
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.service.commands import Permit, check_api_id, copies, once_digest
from micromdm_py.service.inventory import parse_search
from micromdm_py.service.options import QueueOptions, read_options
from micromdm_py.storage.base import CommandQueue, Enrollments
from micromdm_py.storage.records import SEARCHED, NewEntry, Once

__all__ = ["Bulk", "BulkStore", "check_confirmed"]

BATCH = 256
"""Commands queued in one transaction."""
MAX_TARGETS = 100_000
DANGEROUS = frozenset({"EraseDevice", "DeviceLock"})
FREE = 10
"""How many dangerous commands one request may queue without `confirm`."""

_FIELDS = ("udids", "filter", "command", "dry_run", "confirm", *OPTIONS)
_FILTER = (*SEARCHED, "state", "seen_before", "seen_after")

Line = dict[str, object]


class BulkStore(CommandQueue, Enrollments, Protocol):
    """What bulk commands need of the store."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A request as read; `dry_run`: queue nothing; `key`: Idempotency-Key."""

    ids: list[str]
    command: NewCommand
    options: QueueOptions
    dry_run: bool
    key: str


class Bulk:
    """Queues one command for each of many devices, several hundred in one transaction."""

    def __init__(
        self,
        store: BulkStore,
        *,
        strict: bool,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_uuid: Callable[[], str],
    ) -> None:
        """Queue into `store`; the rest as in `service.commands.Commands`."""
        self._store, self._strict = store, strict
        self._wake, self._now, self._make_uuid = wake, now, make_uuid

    def __call__(
        self,
        body: bytes,
        *,
        permit: Permit,
        permit_search: Callable[[], None],
        query: Mapping[str, object],
        key: str = "",
    ) -> tuple[bool, bytes]:
        """Queue a command for each device that is named, or for each that matches a filter.

        Args:
            body: `{"udids": […]}` or `{"filter": {…}}` with `command`, a JSON command without `udid`; perhaps
                `dry_run`, `confirm` (how many devices, for dangerous commands) and options.
            permit: called once, with the number of devices, before anything is stored.
            permit_search: called before a filter is applied, as that shows which devices there are; may raise
                Forbidden.
            query: options (`service.options`) given beside the body.
            key: Idempotency-Key; a device whose command was queued under it before gets no other.
        Returns: whether anything was queued; and `{"results": [line, …], "queued": n, "failed": n}` with one
            line for each device.
        Raises: MalformedField, Forbidden; StorageUnavailable if nothing could be queued because of it.
        """
        job = self._read(body, query, permit, permit_search, key)
        lines: list[Line] = []
        queued = 0
        for begin in range(0, len(job.ids), BATCH):
            found = self._batch(job, job.ids[begin : begin + BATCH], queued > 0)
            queued += sum("error" not in line for line in found)
            lines += found
        document = {"results": lines, "queued": 0 if job.dry_run else queued, "failed": len(lines) - queued}
        if job.dry_run:
            document["dry_run"] = True
        return queued > 0 and not job.dry_run, json_reply(document)

    def _read(
        self,
        body: bytes,
        query: Mapping[str, object],
        permit: Permit,
        permit_search: Callable[[], None],
        key: str,
    ) -> _Job:
        fields = read_object(body, trailing="refuse")
        for name in fields:
            if name not in _FIELDS:
                raise MalformedField(name, "is not known")
        given = {name: fields[name] for name in OPTIONS if name in fields}
        options = read_options(query, given, now=self._now())
        dry_run = fields.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise MalformedField("dry_run", "must be true or false")
        command = self._command(fields.get("command"))
        if ("udids" in fields) == ("filter" in fields):
            raise MalformedField("udids", "or filter must be given, and not both")
        if "filter" in fields:
            permit_search()
        ids = _ids(fields["udids"]) if "udids" in fields else list(self._matching(fields["filter"]))
        permit(f"{len(ids)} devices", command.request_type, options.replaces)
        if not dry_run:
            check_confirmed(command.request_type, len(ids), fields.get("confirm"))
        return _Job(ids, command, options, dry_run, key)

    def _command(self, command: Any) -> NewCommand:  # Any: a JSON value
        if not isinstance(command, dict):
            raise MalformedField("command", "must be an object")
        for name in command:
            if name.lower() in ("udid", "command_uuid", *OPTIONS):
                raise MalformedField(f"command.{name}", "does not belong here")
        return convert_fields({**command, "udid": "-"}, strict=self._strict, make_uuid=self._make_uuid)

    def _matching(self, wanted: Any) -> Iterator[str]:  # Any: a JSON value
        """Ids of the devices that match a filter."""
        if not isinstance(wanted, dict):
            raise MalformedField("filter", "must be an object")
        for name, value in wanted.items():
            if name not in _FILTER:
                raise MalformedField(f"filter.{name}", "is not known")
            if not isinstance(value, str):
                raise MalformedField(f"filter.{name}", "must be a string")
        search = parse_search(wanted.get, 1000)
        count = 0
        while True:
            page = self._store.search_devices(search)
            count += len(page.devices)
            if count > MAX_TARGETS:
                raise MalformedField("filter", f"matches more than {MAX_TARGETS} devices")
            yield from (record.enrollment_id for record in page.devices)
            if not page.next:
                return
            search = replace(search, cursor=page.next)

    def _batch(self, job: _Job, ids: Sequence[str], some_queued: bool) -> list[Line]:
        if job.dry_run:
            return [self._checked(name) for name in ids]
        entries = copies(job.command, len(ids), self._make_uuid)
        orders = [(name, job.options.apply(entry)) for name, entry in zip(ids, entries, strict=True)]
        try:
            return self._queue(orders, job.key)
        except StorageUnavailable as fault:
            if not some_queued:
                raise
            return [{"udid": name, "error": str(fault)} for name in ids]
        except MdmError:  # because of one of them: try each by itself
            return [self._queue_one(order, job.key) for order in orders]

    def _checked(self, name: str) -> Line:
        """The line of a dry run; the id need not be known."""
        try:
            self._store.enrollment(check_api_id("udid", name))
        except NotFound:
            return {"udid": name}
        except MdmError as fault:
            return {"udid": name, "error": str(fault)}
        return {"udid": name}

    def _queue_one(self, order: tuple[str, NewEntry], key: str) -> Line:
        try:
            return self._queue([order], key)[0]
        except MdmError as fault:
            return {"udid": order[0], "error": str(fault)}

    def _queue(self, orders: Sequence[tuple[str, NewEntry]], key: str) -> list[Line]:
        lines: list[Line] = []
        once: list[Once | None] = []
        for name, entry in orders:
            digest = once_digest("bulk", check_api_id("udid", name), key)
            lines.append({"udid": name, "command_uuid": entry.command_uuid})
            once.append(Once(digest, json.dumps(lines[-1]).encode()) if digest else None)
        done = self._store.enqueue_all(orders, at=self._now(), once=once)
        if any(one.push_wanted for one in done):
            self._wake()
        return [
            {**line, "id": one.command_id} if one.answer is None else json.loads(one.answer)
            for line, one in zip(lines, done, strict=True)
        ]


def _ids(value: Any) -> list[str]:  # Any: a JSON value
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise MalformedField("udids", "must be a list of strings")
    if not 1 <= len(value) <= MAX_TARGETS:
        raise MalformedField("udids", f"must have 1 to {MAX_TARGETS} entries")
    return list(dict.fromkeys(value))


def check_confirmed(request_type: str, count: int, confirm: object) -> None:
    """Refuse to erase or lock many devices unless the caller has said how many.

    Args:
        request_type: of the command.
        count: how many devices would get it.
        confirm: the number that the caller gave, None for none.
    Raises: MalformedField.
    """
    if request_type not in DANGEROUS or (confirm is None and count <= FREE):
        return
    if confirm != count or isinstance(confirm, bool):
        raise MalformedField(
            "confirm", f"must be {count}, the number of devices that would get {request_type}"
        )
