"""Reports: what a device puts to /mdm/connect.

Source: Apple, "Sending MDM commands to a device".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.enrollment import EnrollmentRef, resolve
from micromdm_py.protocol.ids import check_command_uuid

__all__ = ["Report", "Status", "parse_report"]


class Status(StrEnum):
    """Status values of the protocol; anything else a device says is UNKNOWN."""

    IDLE = "Idle"
    ACKNOWLEDGED = "Acknowledged"
    ERROR = "Error"
    COMMAND_FORMAT_ERROR = "CommandFormatError"
    NOT_NOW = "NotNow"
    UNKNOWN = ""


FINAL = frozenset({Status.ACKNOWLEDGED, Status.ERROR, Status.COMMAND_FORMAT_ERROR})
"""Statuses that end a command."""


@dataclass(frozen=True, slots=True)
class Report:
    """One decoded report.

    Attributes:
        enrollment: the channel it speaks for.
        status: what the device says, UNKNOWN for anything outside the protocol.
        sent_status: the Status text as sent, "" when absent.
        command_uuid: the command it answers, "" when none.
        raw: the property list exactly as received.
    """

    enrollment: EnrollmentRef
    status: Status
    sent_status: str
    command_uuid: str
    raw: bytes


def parse_report(message: Mapping[str, object], raw: bytes) -> Report:
    """Read a decoded connect message.

    Args:
        message: the property list of the report.
        raw: its bytes as received.
    Raises: MalformedRequest when no id is given or a field has the wrong type.
    """
    status, uuid = message.get("Status", ""), message.get("CommandUUID", "")
    if not isinstance(status, str):
        raise MalformedField("Status", "must be a string")
    if not isinstance(uuid, str):
        raise MalformedField("CommandUUID", "must be a string")
    if uuid:
        check_command_uuid("CommandUUID", uuid)
    chain = message.get("ErrorChain", [])
    if not isinstance(chain, list):
        raise MalformedField("ErrorChain", "must be an array")
    return Report(resolve(message), _STATUS.get(status, Status.UNKNOWN), status, uuid, raw)


_STATUS = {status.value: status for status in Status}
