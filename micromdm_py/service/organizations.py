"""Commands as the organizations' API has them: one record, lists, cancelling, queueing, groups.

Source: the public reference of that API ("Retrieve command details" and its neighbours).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from micromdm_py.errors import MalformedField, NotFound
from micromdm_py.logs import request_id
from micromdm_py.protocol.commands import NewCommand, convert_fields
from micromdm_py.protocol.jsonbody import read_object
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.service.bulk import check_confirmed
from micromdm_py.service.command_records import CommandRecords, RecordStore
from micromdm_py.service.command_view import camel_record
from micromdm_py.service.commands import Permit, check_api_id, copies
from micromdm_py.service.options import read_options
from micromdm_py.storage.records import CommandFilter, CommandRecord, EnrollmentRecord

__all__ = ["MAX_TARGETS", "OrganizationCommands", "Path"]

Path = Mapping[str, str]
"""Fields of a request's path: organizationId, targetType, targetId, admCommandId."""

MAX_TARGETS = 1000
"""Most targets of one request."""
MAX_COUNTED, PAGE = 10_000, 1000
"""How many of the newest records of a target `grouped` reads, and how many at a time."""

_PATTERNS = {
    "organizationId": re.compile(r"[a-fA-F0-9]{24}|[a-zA-Z0-9-]{3,}"),
    "targetType": re.compile(r"device|deviceUser"),
    "admCommandId": re.compile(r"[a-fA-F0-9]{24}"),
}
_OPTIONS = {
    "supersede": "supersede",
    "groupName": "group",
    "expiresAt": "expires_at",
    "ttl": "ttl",
    "from": "from",
}
_BODY = ("command", "targetIds", "confirm", *_OPTIONS)


class OrganizationCommands:
    """Commands by the organizations' API; replies are JSON documents in bytes.

    With `secrets` passwords, keys and tokens are shown; otherwise they are masked.
    """

    def __init__(
        self,
        store: RecordStore,
        records: CommandRecords,
        *,
        slug: str,
        strict: bool,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_uuid: Callable[[], str],
    ) -> None:
        """Work on `store`; `slug` names the organization in paths, as its id does."""
        self._store, self._records, self._slug, self._strict = store, records, slug, strict
        self._wake, self._now, self._make_uuid = wake, now, make_uuid

    # --- reading ---

    def one(self, path: Path, *, secrets: bool) -> bytes:
        """A record. Raises: MalformedField for the path, NotFound."""
        target, record = self._command(path)
        return _reply(self._shown(target, [record], secrets=secrets)[0])

    def page(self, path: Path, wanted: CommandFilter, *, secrets: bool) -> bytes:
        """A page of records, newest first. Raises: MalformedField, NotFound, Conflict."""
        target = self._target(path)
        page = self._store.commands(target.enrollment_id, wanted)
        data: dict[str, object] = {"items": self._shown(target, page.records, secrets=secrets)}
        if page.next:
            data["next"] = page.next
        return _reply(data)

    def grouped(self, path: Path, wanted: CommandFilter, number: int, *, secrets: bool) -> bytes:
        """Per group: how many commands, by status, and the newest one.

        Args:
            path: the target.
            wanted: which commands to count; its limit is the number of groups of a page.
            number: which page, the first being 1.
            secrets: whether to show secrets.
        Raises: MalformedField, NotFound, Conflict.
        """
        target = self._target(path)
        groups: dict[str, list[CommandRecord]] = {}
        for record in self._newest(target, wanted):
            groups.setdefault(record.group, []).append(record)
        names = list(groups)[(number - 1) * wanted.limit : number * wanted.limit]
        newest = self._shown(target, [groups[name][0] for name in names], secrets=secrets)
        items = [
            {
                "groupName": name,
                "total": len(groups[name]),
                "statuses": dict(Counter(one.state.value for one in groups[name])),
                "last": shown,
            }
            for name, shown in zip(names, newest, strict=True)
        ]
        return _reply({"items": items, "page": number, "limit": wanted.limit, "total": len(groups)})

    def _newest(self, target: EnrollmentRecord, wanted: CommandFilter) -> list[CommandRecord]:
        found: list[CommandRecord] = []
        page = replace(wanted, limit=PAGE)
        for _ in range(MAX_COUNTED // PAGE):
            records = self._store.commands(target.enrollment_id, page)
            found += records.records
            if not records.next:
                break
            page = replace(page, cursor=records.next)
        return found

    # --- changing ---

    def cancel(self, path: Path) -> bytes:
        """Withdraw an open command. Raises: MalformedField for the path, NotFound, CommandDone."""
        target, record = self._command(path)
        name = request_id.get()
        self._store.cancel(target.enrollment_id, record.command_id, at=self._now(), request_id=name)
        return _reply({"canceled": "OK"})

    def create(
        self, path: Path, body: bytes, *, permit: Permit, query: Mapping[str, object], secrets: bool
    ) -> bytes:
        """Queue a command for the target of the path, or for each of `targetIds`: all or none.

        Args:
            path: the target, or only organization and target type.
            body: `{"command": {"RequestType": …, …}, "targetIds": […]}`, keys as in the property list.
            permit: called once, with all ids, before anything is stored.
            query: options (`service.options`) given beside the body.
            secrets: whether to show secrets.
        Raises: MalformedField, Forbidden, NotFound naming the target, Conflict.
        """
        self._check(path)
        fields = read_object(body, trailing="refuse")
        for name in fields:
            if name not in _BODY:
                raise MalformedField(name, "is not known")
        given = {_OPTIONS[name]: value for name, value in fields.items() if name in _OPTIONS}
        options = read_options(query, given, now=self._now())
        command = self._convert(fields.get("command"))
        single = "targetId" in path
        names = [path["targetId"]] if single else _target_ids(fields.get("targetIds"))
        targets = [self._target({**path, "targetId": name}) for name in names]
        ids = [target.enrollment_id for target in targets]
        permit(",".join(ids), command.request_type, options.replaces)
        check_confirmed(command.request_type, len(ids), fields.get("confirm"))
        entries = copies(command, len(ids), self._make_uuid)
        orders = [(name, options.apply(entry)) for name, entry in zip(ids, entries, strict=True)]
        queued = self._store.enqueue_all(orders, at=self._now())
        if any(one.push_wanted for one in queued):
            self._wake()
        shown: list[dict[str, object]] = []
        for target, one in zip(targets, queued, strict=True):
            record = self._store.command(one.enrollment_id, one.command_id)
            shown += self._shown(target, [record], secrets=secrets)
        return _reply(shown[0] if single else shown)

    def _convert(self, command: Any) -> NewCommand:  # Any: a JSON value
        if not isinstance(command, dict):
            raise MalformedField("command", "must be an object")
        inner = dict(command)
        kind = inner.pop("RequestType", "")
        if not isinstance(kind, str) or not kind:
            raise MalformedField("RequestType", "must be a non-empty string")
        fields = {**inner, "udid": "-", "request_type": kind}
        return convert_fields(fields, strict=self._strict, make_uuid=self._make_uuid)

    # --- what a path means ---

    def _check(self, path: Path) -> None:
        for name, pattern in _PATTERNS.items():
            if name in path and not pattern.fullmatch(path[name]):
                raise MalformedField(name, "")
        own = self._store.organization()[0]
        if path["organizationId"].lower() not in (own, self._slug.lower()):
            raise NotFound(f"not found: organization {path['organizationId']}")

    def _target(self, path: Path) -> EnrollmentRecord:
        self._check(path)
        return self._store.find_target(path["targetId"], user=path["targetType"] == "deviceUser")

    def _command(self, path: Path) -> tuple[EnrollmentRecord, CommandRecord]:
        target, command_id = self._target(path), path["admCommandId"].lower()
        record = self._store.command(target.enrollment_id, command_id)
        if record.command_id != command_id:  # another target has the id, but this one has such a uuid
            raise NotFound(f"not found: command {command_id}")
        return target, record

    def _shown(
        self, target: EnrollmentRecord, records: Sequence[CommandRecord], *, secrets: bool
    ) -> list[dict[str, object]]:
        return [camel_record(one, secrets=secrets) for one in self._records.full_records(target, records)]


def _reply(data: object) -> bytes:
    return json_reply({"status": True, "data": data})


def _target_ids(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise MalformedField("targetIds", "must be a list of strings")
    if not 1 <= len(value) <= MAX_TARGETS:
        raise MalformedField("targetIds", f"must have 1 to {MAX_TARGETS} entries")
    return list(dict.fromkeys(check_api_id("targetIds", one) for one in value))
