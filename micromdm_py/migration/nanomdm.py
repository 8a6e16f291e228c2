"""Enrollments as the check-in messages that NanoMDM's migration endpoint takes.

Authenticate, TokenUpdate and SetBootstrapToken of each device, then what its users sent. Queues, history
and certificate bindings are not part of it. Source: NanoMDM's operations guide, "Migration".
"""

from collections.abc import Iterable, Iterator

from micromdm_py.migration.report import Report
from micromdm_py.protocol.checkin import DEVICE_FACTS
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import OPEN_STATES
from micromdm_py.protocol.plist import Value, dumps_indented
from micromdm_py.storage.records import EnrollmentRecord
from micromdm_py.storage.transfer import Moved, MovedEnrollment, MovedPush

__all__ = ["Message", "checkins"]


Message = tuple[str, bytes]
"""A name for people, and the property list."""


def checkins(content: Iterable[Moved], report: Report) -> Iterator[Message]:
    """The messages of every enrollment that can be pushed; a device comes before its users.

    Args:
        content: of a store.
        report: counts enrollments, and names those that have to enrol again or whose queue stays behind.
    """
    users: list[tuple[EnrollmentRecord, MovedPush]] = []
    waiting = 0
    for one in content:
        if not isinstance(one, MovedEnrollment):
            continue
        record, push, kind = one.record, one.push, one.record.kind
        waiting += sum(command.state in OPEN_STATES for command in one.commands)
        if kind is None or record.blocked or push is None or (record.listed and not record.enrolled):
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
    if waiting:
        report.warnings.append(f"{waiting} commands wait in queues, which do not move")


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
    return f"{message_type} of {record.enrollment_id}", body
