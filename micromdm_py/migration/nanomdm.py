"""What NanoMDM's API takes: enrollments as check-in messages, and the commands that wait.

Authenticate, TokenUpdate and SetBootstrapToken of each device, then what its users sent. History and
bindings of certificates are not part of it. Source: NanoMDM's operations guide, "Migration" and "Enqueue".
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

from micromdm_py.migration.report import Report
from micromdm_py.protocol.checkin import DEVICE_FACTS
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import OPEN_STATES
from micromdm_py.protocol.plist import Value, dumps_indented
from micromdm_py.storage.records import EnrollmentRecord
from micromdm_py.storage.transfer import Moved, MovedCommand, MovedEnrollment, MovedPush

__all__ = ["Message", "checkins", "holders", "queued"]

Holders = dict[bytes, dict[str, None]]
"""Ids of enrollments, in their order, by what names a command."""


class Message(NamedTuple):
    """A name for people, the property list, and what comes behind the endpoint's address."""

    name: str
    body: bytes
    path: str = ""


def checkins(content: Iterable[Moved], report: Report) -> Iterator[Message]:
    """The messages of every enrollment that can be pushed; a device comes before its users.

    Args:
        content: of a store.
        report: counts enrollments, and names those that have to enroll again.
    """
    users: list[tuple[EnrollmentRecord, MovedPush]] = []
    for one in content:
        if not isinstance(one, MovedEnrollment):
            continue
        record, push, kind = one.record, one.push, one.record.kind
        if kind is None or push is None or not _moves(one):
            why = "is blocked" if record.blocked else "is not enrolled"
            report.warnings.append(f"{record.enrollment_id} {why}: left out")
            continue
        report.enrollments[kind.replace("_", " ")] += 1
        if kind.is_user_channel:
            users.append((record, push))
        else:
            yield from _device(record, push)
    for record, push in users:
        yield _message(record, "TokenUpdate", _push(push))


def holders(content: Iterable[Moved]) -> Holders:
    """In which queues each waiting command is, of the enrollments that `checkins` sends."""
    found: Holders = {}
    for record, command in _waiting(content):
        found.setdefault(_key(command), {})[record.enrollment_id] = None
    return found


def queued(content: Iterable[Moved], found: Holders) -> Iterator[Message]:
    """The waiting commands, each queue in its order.

    NanoMDM takes a CommandUUID once, for all enrollments that shall have it: it goes to all of them when the
    first one's turn comes, and comes once in each queue.

    Args:
        content: of a store, once more.
        found: its `holders`; is used up.
    """
    for _, command in _waiting(content):
        ids = found.pop(_key(command), None)
        if ids:
            path = ",".join(quote(one, safe="") for one in ids) + "?nopush=1"
            yield Message(
                f"command {command.entry.command_uuid} of {', '.join(ids)}", command.entry.payload, path
            )


def _waiting(content: Iterable[Moved]) -> Iterator[tuple[EnrollmentRecord, MovedCommand]]:
    for one in content:
        if isinstance(one, MovedEnrollment) and _moves(one):
            yield from ((one.record, command) for command in one.commands if command.state in OPEN_STATES)


def _key(command: MovedCommand) -> bytes:
    """Another command with the same CommandUUID is sent as well, for NanoMDM to refuse it."""
    return sha256(command.entry.command_uuid.encode() + b"\0" + command.entry.payload).digest()


def _moves(one: MovedEnrollment) -> bool:
    record = one.record
    known = record.kind is not None and one.push is not None
    return known and not record.blocked and (record.enrolled or not record.listed)


def _device(record: EnrollmentRecord, push: MovedPush) -> Iterator[Message]:
    facts: dict[str, Value] = {
        key: record.facts[name] for key, name in DEVICE_FACTS.items() if record.facts.get(name)
    }
    yield _message(record, "Authenticate", {**facts, "Topic": push.topic})
    unlock: dict[str, Value] = {"UnlockToken": record.unlock_token} if record.unlock_token else {}
    yield _message(record, "TokenUpdate", {**_push(push), **unlock})
    if record.bootstrap_token:
        yield _message(record, "SetBootstrapToken", {"BootstrapToken": record.bootstrap_token})


def _push(push: MovedPush) -> dict[str, Value]:
    return {"Topic": push.topic, "PushMagic": push.push_magic, "Token": bytes.fromhex(push.token_hex)}


def _message(record: EnrollmentRecord, message_type: str, fields: dict[str, Value]) -> Message:
    """A message with the ids that the device itself would send."""
    account_driven = record.kind in (EnrollmentKind.USER_ENROLLMENT, EnrollmentKind.USER_ENROLLMENT_USER)
    ids: dict[str, Value] = {"EnrollmentID" if account_driven else "UDID": record.device_id}
    if record.kind is not None and record.kind.is_user_channel:
        ids["EnrollmentUserID" if account_driven else "UserID"] = record.user_id
        ids["UserShortName"], ids["UserLongName"] = record.user_short_name, record.user_long_name
    body = dumps_indented({"MessageType": message_type, **fields, **ids})
    return Message(f"{message_type} of {record.enrollment_id}", body)
