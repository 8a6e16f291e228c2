"""Command records as JSON, with names as in the organizations' API or in snake case."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.jsonreply import base64_text, rfc3339
from micromdm_py.protocol.outcome import outcome_of
from micromdm_py.protocol.plain import as_json, holds_secrets
from micromdm_py.protocol.plist import loads
from micromdm_py.service.inventory import ENVELOPE
from micromdm_py.storage.records import CommandRecord, EnrollmentRecord

__all__ = ["FullRecord", "camel_record", "snake_record"]

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class FullRecord:
    """A record with everything else that is shown with it.

    Attributes:
        organization: ids of organization and enterprise.
        target: the enrollment it is for.
        record: the record.
        payload, command: the property list of the command, and the `Command` in it.
        report, answer: the property list of the device's answer (b"" for none), and its content.
    """

    organization: tuple[str, str]
    target: EnrollmentRecord
    record: CommandRecord
    payload: bytes
    command: Mapping[str, object]
    report: bytes
    answer: Mapping[str, object]

    @classmethod
    def of(
        cls,
        organization: tuple[str, str],
        target: EnrollmentRecord,
        record: CommandRecord,
        payload: bytes,
        report: bytes,
    ) -> "FullRecord":
        """Read the property lists of a record; the arguments are attributes."""
        found = _read(payload).get("Command")
        command = found if isinstance(found, Mapping) else {"RequestType": record.request_type}
        return cls(organization, target, record, payload, command, report, _read(report))

    @property
    def data(self) -> Mapping[str, object]:
        """The answer without `ENVELOPE`."""
        return {key: value for key, value in self.answer.items() if key not in ENVELOPE}


def _read(body: bytes) -> Mapping[str, object]:
    try:
        return loads(body) if body else {}
    except MalformedRequest:  # was readable when it came; limits may have changed since
        return {}


def camel_record(full: FullRecord, *, secrets: bool) -> dict[str, object]:
    """The record with the names of the organizations' API; what has no value is left out.

    Args:
        full: what to show.
        secrets: show passwords, keys and tokens; otherwise they are masked.
    """
    record, target = full.record, full.target
    user = target.is_user_channel
    times = {
        "sentAt": record.sent_at,
        "receivedAt": record.received_at,
        "triedAt": record.tried_at,
        "canceledAt": record.canceled_at,
    }
    shown: dict[str, object] = {
        "id": record.command_id,
        "organization": full.organization[0],
        "admEnterprise": full.organization[1],
        "targetType": "deviceUser" if user else "device",
        "targetId": target.target_id,
        **({"mdmUser": target.target_id} if user else {}),
        "UUID": record.command_uuid,
        "status": record.state.value,
        "command": as_json(full.command, secrets=secrets),
        "from": record.origin,
    }
    if full.report:
        shown["data"] = as_json(full.data, secrets=secrets)
    return shown | {
        **{name: rfc3339(at) for name, at in times.items() if at},
        "numTries": record.tries,
        "groupName": record.group,
        "info": dict(record.info),
        "createdAt": rfc3339(record.created_at),
        "updatedAt": rfc3339(record.updated_at),
    }


def snake_record(full: FullRecord, *, secrets: bool, bodies: bool = False) -> dict[str, object]:
    """The record with names in snake case, and with what the organizations' API does not have.

    Args:
        full: what to show.
        secrets: as in `camel_record`.
        bodies: also show the timeline, and the property lists in base64; those that hold secrets only with
            `secrets`.
    """
    camel = camel_record(full, secrets=secrets)
    shown = {_snake(name): value for name, value in camel.items()}
    shown["udid"] = full.target.enrollment_id
    shown["request_type"] = full.record.request_type
    record = full.record
    outcome = outcome_of(record.request_type, record.state, record.tries, full.answer)
    shown["outcome"] = outcome.verdict.value
    if outcome.reason:
        shown["outcome_reason"] = outcome.reason
    if record.expires_at:
        shown["expires_at"] = rfc3339(record.expires_at)
    if bodies:
        shown["timeline"] = [
            {
                "at": rfc3339(step.at),
                "step": step.name,
                **({"detail": step.detail} if step.detail else {}),
                **({"request_id": step.request_id} if step.request_id else {}),
            }
            for step in record.timeline
        ]
        if secrets or not holds_secrets(full.payload):
            shown["payload"] = base64_text(full.payload)
        if full.report and (secrets or not holds_secrets(full.report)):
            shown["response"] = base64_text(full.report)
    return shown


@cache  # there are as many names as a record has
def _snake(name: str) -> str:
    return _WORD.sub("_", name).lower()
