"""What a command has achieved, where its status alone says too little.

Devices answer Acknowledged to commands that they have only begun, and to some that they have partly refused.
Source: the response keys of Apple's command schema.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState

__all__ = ["Outcome", "Verdict", "outcome_of"]

Answer = Mapping[str, Any]  # a report as it was sent


class Verdict(StrEnum):
    """Whether the intention behind a command has been carried out; the values appear in the API."""

    DONE = "done"
    REFUSED = "refused"
    IN_PROGRESS = "in_progress"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict and its reason, "" when there is nothing to add."""

    verdict: Verdict
    reason: str = ""


DONE = Outcome(Verdict.DONE)


def outcome_of(request_type: str, state: CommandState, tries: int, answer: Answer) -> Outcome:
    """What a command has achieved.

    Args:
        request_type: its RequestType.
        state: its state.
        tries: how often it was handed to the device.
        answer: the device's final answer, empty if there is none.
    """
    if state in OPEN_STATES:
        return Outcome(Verdict.IN_PROGRESS, "put off by the device" if state is CommandState.TRIED else "")
    if state in (CommandState.ERROR, CommandState.COMMAND_FORMAT_ERROR):
        return Outcome(Verdict.REFUSED, _chain(answer) or state.value)
    status = answer.get("Status", "Acknowledged")
    if state is not CommandState.ACKNOWLEDGED and not answer:
        if tries:
            return Outcome(Verdict.UNKNOWN, "withdrawn after the device had it; no answer came")
        return Outcome(Verdict.REFUSED, "withdrawn before the device had it")
    if status != "Acknowledged":
        return Outcome(Verdict.REFUSED, _chain(answer) or str(status))
    judge = _JUDGES.get(request_type)
    return judge(answer) if judge else DONE


def _chain(answer: Answer) -> str:
    """The first error of an ErrorChain in words, "" when there is none."""
    chain = answer.get("ErrorChain")
    first = chain[0] if isinstance(chain, list) and chain else None
    if not isinstance(first, Mapping):
        return ""
    text = first.get("USEnglishDescription") or first.get("LocalizedDescription") or ""
    domain, code = first.get("ErrorDomain", ""), first.get("ErrorCode", "")
    place = f"{domain} {code}".strip()
    return f"{text} ({place})" if text and place else str(text or place)


_INSTALLED = frozenset({"Managed", "UserInstalledApp", "Installed"})
_NOT_INSTALLED = frozenset(
    {"Failed", "UserRejected", "UpdateRejected", "ManagementRejected", "ManagedButUninstalled", "Uninstalled"}
)


def _installation(answer: Answer) -> Outcome:
    """InstallApplication and InstallMedia: `State` and `RejectionReason`."""
    rejection, state = _word(answer, "RejectionReason"), _word(answer, "State")
    if rejection:
        return Outcome(Verdict.REFUSED, rejection)
    if state in _INSTALLED:
        return Outcome(Verdict.DONE, state)
    if state in _NOT_INSTALLED:
        return Outcome(Verdict.REFUSED, state)
    if state == "Unknown":
        return Outcome(Verdict.UNKNOWN, "Unknown")
    return Outcome(Verdict.IN_PROGRESS, state or "the device tells no more; ask for its applications")


def _begun(answer: Answer) -> Outcome:
    """Commands that are acknowledged when they begin, and whose end is never reported."""
    chain = _chain(answer)
    if chain:
        return Outcome(Verdict.REFUSED, chain)
    return Outcome(Verdict.IN_PROGRESS, "the device tells no more; ask for its applications")


def _os_update(answer: Answer) -> Outcome:
    """ScheduleOSUpdate: a result for each update."""
    results = _items(answer.get("UpdateResults"))
    if not results:
        return Outcome(Verdict.UNKNOWN, "the device named no updates; ask for OSUpdateStatus")
    for one in results:
        status = str(one.get("Status", ""))
        failed = status.endswith("Failed") or "Insufficient" in status or "Requires" in status
        if one.get("InstallAction") == "Error" or failed or status == "InstallPhoneCallInProgress":
            reason = status if failed or not _chain(one) else _chain(one)
            return Outcome(Verdict.REFUSED, f"{one.get('ProductKey', '')}: {reason}".removeprefix(": "))
    found = ", ".join(sorted({str(one.get("Status", "")) for one in results}))
    return Outcome(Verdict.IN_PROGRESS, found)


def _scan(answer: Answer) -> Outcome:
    if answer.get("ScanInitiated") is False:
        return Outcome(Verdict.REFUSED, "ScanInitiated is false")
    return Outcome(Verdict.IN_PROGRESS, "ask for AvailableOSUpdates")


def _settings(answer: Answer) -> Outcome:
    """Settings: a result for each item; a dictionary in Apple's schema, a list from devices."""
    refused = [one for one in _items(answer.get("Settings")) if one.get("Status") != "Acknowledged"]
    if not refused:
        return DONE
    names = [str(one.get("Item") or one.get("Identifier") or "setting") for one in refused]
    reasons = [_chain(one) or str(one.get("Status", "")) for one in refused]
    pairs = zip(names, reasons, strict=True)
    return Outcome(Verdict.REFUSED, "; ".join(f"{name}: {reason}" for name, reason in pairs))


def _invitation(answer: Answer) -> Outcome:
    result = answer.get("InvitationResult", "Acknowledged")
    return DONE if result == "Acknowledged" else Outcome(Verdict.REFUSED, str(result))


def _mirroring(answer: Answer) -> Outcome:
    result = str(answer.get("MirroringResult", ""))
    if result in ("DestinationNotFound", "Cancelled"):
        return Outcome(Verdict.REFUSED, result)
    return Outcome(Verdict.IN_PROGRESS if result == "Prompting" else Verdict.UNKNOWN, result)


def _word(answer: Answer, key: str) -> str:
    """A string of an answer, "" if it is absent or anything else."""
    value = answer.get(key)
    return value if isinstance(value, str) else ""


def _items(value: object) -> list[Answer]:
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, Mapping)]


_JUDGES: Mapping[str, Callable[[Answer], Outcome]] = {
    "InstallApplication": _installation,
    "InstallEnterpriseApplication": _begun,
    "InstallMedia": _installation,
    "ApplyRedemptionCode": _begun,
    "ScheduleOSUpdate": _os_update,
    "ScheduleOSUpdateScan": _scan,
    "Settings": _settings,
    "InviteToProgram": _invitation,
    "RequestMirroring": _mirroring,
}
