"""Reports: what a device puts to /mdm/connect.

Source: Apple, "Sending MDM commands to a device".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.enrollment import EnrollmentRef, resolve
from micromdm_py.protocol.ids import check_command_uuid

__all__ = ["DEVICE_INFORMATION", "FINAL", "KEPT_ANSWERS", "Report", "Status", "parse_report"]

DEVICE_INFORMATION = "DeviceInformation"
KEPT_ANSWERS = frozenset(
    {DEVICE_INFORMATION, "SecurityInfo", "ProfileList", "CertificateList", "InstalledApplicationList"}
)
"""Request types whose last answer is kept with the enrollment, since it describes the device."""

_LEARNED = {
    "DeviceName": "device_name",
    "OSVersion": "os_version",
    "BuildVersion": "build_version",
    "ModelName": "model_name",
    "Model": "model",
    "ProductName": "product_name",
}
"""Keys of DeviceInformation's answer that go into the enrollment record, and their names there."""
MAX_FACT_CHARS = 255
"""How much of such a value is kept."""


class Status(StrEnum):
    """Status values of the protocol; UNKNOWN stands for any other value."""

    IDLE = "Idle"
    ACKNOWLEDGED = "Acknowledged"
    ERROR = "Error"
    COMMAND_FORMAT_ERROR = "CommandFormatError"
    NOT_NOW = "NotNow"
    UNKNOWN = ""


FINAL = frozenset({Status.ACKNOWLEDGED, Status.ERROR, Status.COMMAND_FORMAT_ERROR})
"""Statuses that end a command."""

_BY_TEXT = {status.value: status for status in Status}
_NO_FACTS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Report:
    """One decoded report.

    Attributes:
        enrollment: the channel it speaks for.
        status: the Status, UNKNOWN for values outside the protocol.
        sent_status: the Status text as sent, "" when absent.
        command_uuid: the command it answers, "" if it answers none.
        raw: the property list exactly as received.
        facts: what an answer to DeviceInformation says about the device, by the names of the enrollment
            record; empty for other reports.
    """

    enrollment: EnrollmentRef
    status: Status
    sent_status: str
    command_uuid: str
    raw: bytes
    facts: Mapping[str, str] = field(default_factory=dict)


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
    found = _BY_TEXT.get(status, Status.UNKNOWN)
    return Report(resolve(message), found, status, uuid, raw, _facts(message.get("QueryResponses")))


def _facts(responses: object) -> Mapping[str, str]:
    if not isinstance(responses, dict):
        return _NO_FACTS
    told = {name: responses.get(key) for key, name in _LEARNED.items()}
    return {name: value[:MAX_FACT_CHARS] for name, value in told.items() if isinstance(value, str) and value}
