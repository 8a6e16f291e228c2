"""The life of a command: its states, and how a report changes them.

Two rules:

1. Only one thing changes a final state: the device's own final answer to a command in state `CANCEL`, since
   the answer says what really happened.
2. Repeating an answer changes nothing.

Source: the command states of the field's command API (see the manual, "Life of a command").
"""

from enum import StrEnum

from micromdm_py.protocol.report import Status

__all__ = ["FINAL_STATES", "MAX_GROUP_CHARS", "OPEN_STATES", "ORIGINS", "CommandState", "after_report"]


class CommandState(StrEnum):
    """State of a command; the values appear in the API."""

    PENDING = "Pending"
    AWAITING = "Awaiting"
    TRIED = "Tried"
    ACKNOWLEDGED = "Acknowledged"
    ERROR = "Error"
    COMMAND_FORMAT_ERROR = "CommandFormatError"
    CANCEL = "Cancel"
    SUPERSEDED = "Superseded"
    PROTECTION_CANCELED = "ProtectionCanceled"


OPEN_STATES = frozenset({CommandState.PENDING, CommandState.AWAITING, CommandState.TRIED})
"""States in which a command is still offered to its device."""

FINAL_STATES = frozenset(CommandState) - OPEN_STATES

ORIGINS = (
    "force",
    "configurationChanged",
    "unknown",
    "sync",
    "refresh",
    "creation",
    "installApplication",
    "unInstallApplication",
    "deviceUpdated",
    "deviceUserUpdated",
    "profileUpdated",
    "applicationUpdated",
    "policyUpdated",
    "buildUpdated",
    "managedConfigurationChanged",
)
"""What may have caused a command: the values of `from` in its record."""

MAX_GROUP_CHARS = 128
"""Longest label of a group of commands."""

_ANSWERS = {
    Status.ACKNOWLEDGED: CommandState.ACKNOWLEDGED,
    Status.ERROR: CommandState.ERROR,
    Status.COMMAND_FORMAT_ERROR: CommandState.COMMAND_FORMAT_ERROR,
}


def after_report(state: CommandState, status: Status) -> CommandState:
    """The state of a command after a report with its CommandUUID.

    Args:
        state: state before the report.
        status: Status of the report.
    Returns: the new state; the same one when the report changes nothing.
    """
    answer = _ANSWERS.get(status)
    if state in OPEN_STATES:
        if answer is not None:
            return answer
        return CommandState.TRIED if status is Status.NOT_NOW else state
    if state is CommandState.CANCEL and answer is not None:
        return answer
    return state
