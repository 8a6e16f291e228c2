"""Queueing, viewing and clearing commands for administrators."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from micromdm_py.errors import MalformedField
from micromdm_py.logs import request_id
from micromdm_py.protocol.commands import NewCommand, convert_json, read_raw
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonreply import base64_text, json_reply
from micromdm_py.protocol.plain import holds_secrets
from micromdm_py.service.options import read_options
from micromdm_py.storage.base import CommandQueue
from micromdm_py.storage.records import NewEntry, Once

__all__ = ["Commands", "Permit", "Receipt", "allow_all", "check_api_id", "copies", "once_digest"]

MAX_KEY_CHARS = 128
_NOTHING: Mapping[str, object] = {}

logger = logging.getLogger(__name__)


class Permit(Protocol):
    """Decides whether a caller may queue a command."""

    def __call__(self, api_id: str, request_type: str, replaces: str, /) -> None:
        """Return if the caller may.

        Args:
            api_id: whom the command is for.
            request_type: what it is.
            replaces: the group of open commands that it replaces, "" for none.
        Raises: Forbidden.
        """
        ...


def allow_all(_api_id: str, _request_type: str, _replaces: str) -> None:
    """The `Permit` of callers that may queue everything."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of queueing a command.

    Attributes:
        payload: the part of the reply that says what was queued.
        reply: the reply, a JSON document.
        enrollment_id, command_id: where it is; both "" when `reply` is the earlier one of an idempotency key.
    """

    payload: Mapping[str, object]
    reply: bytes
    enrollment_id: str = ""
    command_id: str = ""


class Commands:
    """What an administrator does with commands; replies are JSON documents in bytes."""

    def __init__(
        self,
        queue: CommandQueue,
        *,
        strict: bool,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_uuid: Callable[[], str],
    ) -> None:
        """Queue into `queue`; `strict` refuses JSON commands that break Apple's schema."""
        self._queue, self._strict, self._wake = queue, strict, wake
        self._now, self._make_uuid = now, make_uuid

    def queue_json(
        self,
        body: bytes,
        *,
        permit: Permit = allow_all,
        strict: bool = False,
        key: str = "",
        query: Mapping[str, object] = _NOTHING,
    ) -> Receipt:
        """Queue a command given as JSON.

        Args:
            body: the request's body.
            permit: called before anything is stored; may raise Forbidden.
            strict: refuse what breaks Apple's schema.
            key: Idempotency-Key, see `once_digest`.
            query: options (`service.options`) given beside the body.
        Returns: the reply, for a key used before the first reply.
        Raises: MalformedRequest, Forbidden, Conflict, StorageUnavailable.
        """
        command = convert_json(body, strict=strict or self._strict, make_uuid=self._make_uuid)
        api_id = check_api_id("udid", command.udid)
        options = read_options(query, command.options, now=self._now())
        permit(api_id, command.request_type, options.replaces)
        if command.ignored_fields:
            names = ", ".join(command.ignored_fields)
            logger.warning("%s: ignored unknown fields: %s", command.request_type, names)
        echo = {"command_uuid": command.command_uuid, "command": command.echo}
        entry = NewEntry(command.command_uuid, command.request_type, command.payload)
        return self._enqueue(api_id, options.apply(entry), echo, once_digest("json", api_id, key))

    def queue_raw(
        self,
        api_id: str,
        body: bytes,
        *,
        permit: Permit = allow_all,
        key: str = "",
        query: Mapping[str, object] = _NOTHING,
    ) -> Receipt:
        """Queue a property list byte for byte; arguments, result and errors as in `queue_json`."""
        check_api_id("udid", api_id)
        command = read_raw(body)
        options = read_options(query, {}, now=self._now())
        permit(api_id, command.request_type, options.replaces)
        payload = {
            "udid": api_id,
            "command_uuid": command.command_uuid,
            "command": {"request_type": command.request_type},
            "payload": base64_text(body),
        }
        entry = NewEntry(command.command_uuid, command.request_type, command.payload)
        return self._enqueue(api_id, options.apply(entry), payload, once_digest("raw", api_id, key))

    def _enqueue(
        self, api_id: str, entry: NewEntry, payload: Mapping[str, object], digest: bytes | None
    ) -> Receipt:
        reply = json_reply({"payload": payload})
        once = Once(digest, reply) if digest else None
        done = self._queue.enqueue(
            api_id, replace(entry, request_id=request_id.get()), at=self._now(), once=once
        )
        if done.answer is not None:
            return Receipt(payload, done.answer)
        if done.push_wanted:
            self._wake()
        return Receipt(payload, reply, done.enrollment_id, done.command_id)

    def waiting(self, api_id: str, *, secrets: bool = True) -> bytes:
        """The commands that wait for an enrollment, as a reply; `{}` when there are none.

        Without `secrets`, a payload that holds passwords, keys or tokens is shown as "". Raises: Conflict.
        """
        found = self._queue.waiting(check_api_id("udid", api_id))
        shown = [b"" if not secrets and holds_secrets(one.payload) else one.payload for one in found]
        listed = [
            {"uuid": one.command_uuid, "payload": base64_text(payload)}
            for one, payload in zip(found, shown, strict=True)
        ]
        return json_reply({"commands": listed} if listed else {})

    def clear(self, api_id: str) -> bytes:
        """Cancel what waits for an enrollment. Raises: Conflict, StorageUnavailable."""
        count = self._queue.clear(check_api_id("udid", api_id), at=self._now())
        logger.info("cleared the queue of %s: %d commands", api_id, count)
        return json_reply({})


def copies(command: NewCommand, count: int, make_uuid: Callable[[], str]) -> list[NewEntry]:
    """A command for several enrollments, each with a uuid of its own."""
    first, name = command.command_uuid.encode(), request_id.get()
    uuids = [command.command_uuid, *(make_uuid() for _ in range(count - 1))]
    return [
        NewEntry(uuid, command.request_type, command.payload.replace(first, uuid.encode()), request_id=name)
        for uuid in uuids
    ]


def check_api_id(field: str, api_id: str) -> str:
    """Return an API id unchanged if it has the form of one: UDID, EnrollmentID, UserID or UDID:UserID.

    Raises: MalformedField.
    """
    device, colon, user = api_id.partition(":")
    check_id(field, device)
    if colon:
        check_id(field, user)
    return api_id


def once_digest(kind: str, api_id: str, key: str) -> bytes | None:
    """SHA-256 that stands for an idempotency key, None for no key.

    Args:
        kind: route or form of the request; one key counts for each by itself.
        api_id: the target: a caller may use one key for the same command to many devices.
        key: the key, with the name of its caller and a NUL before it, so that nobody gets another's answer.
    Raises: MalformedField.
    """
    if not key:
        return None
    if len(key.rpartition("\0")[2]) > MAX_KEY_CHARS:
        raise MalformedField("Idempotency-Key", f"is longer than {MAX_KEY_CHARS} characters")
    return hashlib.sha256("\0".join((kind, api_id, key)).encode("utf-8", "surrogatepass")).digest()
