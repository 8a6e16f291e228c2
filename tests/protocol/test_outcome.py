"""What a command has achieved."""

from typing import Any

import pytest

from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.protocol.outcome import Outcome, Verdict, outcome_of

CHAIN = [
    {"ErrorDomain": "MCMDMErrorDomain", "ErrorCode": 12040, "USEnglishDescription": "No such app."},
    {"ErrorDomain": "Other", "ErrorCode": 1},
]
TEXT = "No such app. (MCMDMErrorDomain 12040)"


def outcome(
    request_type: str, state: CommandState = CommandState.ACKNOWLEDGED, tries: int = 1, **answer: Any
) -> Outcome:
    return outcome_of(request_type, state, tries, answer)


def acknowledged(request_type: str, **answer: Any) -> tuple[str, str]:
    found = outcome(request_type, Status="Acknowledged", **answer)
    return str(found.verdict), found.reason


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
def test_what_is_open_is_in_progress(state: CommandState) -> None:
    assert outcome("InstallApplication", state).verdict is Verdict.IN_PROGRESS


def test_what_most_commands_acknowledge_is_done() -> None:
    assert acknowledged("SecurityInfo", SecurityInfo={}) == ("done", "")
    assert acknowledged("Nothing") == ("done", "")


@pytest.mark.parametrize("state", [CommandState.ERROR, CommandState.COMMAND_FORMAT_ERROR])
def test_an_error_is_a_refusal_with_its_first_reason(state: CommandState) -> None:
    assert outcome("ProfileList", state, ErrorChain=CHAIN) == Outcome(Verdict.REFUSED, TEXT)
    assert outcome("ProfileList", state) == Outcome(Verdict.REFUSED, state)
    for chain in ([], ["x"], "x", [{}], None):
        assert outcome("ProfileList", state, ErrorChain=chain).reason == state
    german = [{"ErrorDomain": "D", "LocalizedDescription": "Nein"}]
    assert outcome("ProfileList", state, ErrorChain=german).reason == "Nein (D)"
    assert outcome("ProfileList", state, ErrorChain=[{"ErrorCode": 5}]).reason == "5"


@pytest.mark.parametrize(
    "state", [CommandState.CANCEL, CommandState.SUPERSEDED, CommandState.PROTECTION_CANCELED]
)
def test_what_was_withdrawn_depends_on_whether_the_device_had_it(state: CommandState) -> None:
    assert outcome("ProfileList", state, 0).verdict is Verdict.REFUSED
    assert outcome("ProfileList", state, 1).verdict is Verdict.UNKNOWN
    assert outcome("ProfileList", state, 1, Status="Acknowledged").verdict is Verdict.DONE
    assert outcome("ProfileList", state, 1, Status="Error", ErrorChain=CHAIN).reason == TEXT


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"State": "Managed"}, ("done", "Managed")),
        ({"State": "UserInstalledApp"}, ("done", "UserInstalledApp")),
        ({"State": "Queued"}, ("in_progress", "Queued")),
        ({"State": "PromptingForLogin"}, ("in_progress", "PromptingForLogin")),
        ({"State": "UserRejected"}, ("refused", "UserRejected")),
        ({"State": "Failed"}, ("refused", "Failed")),
        ({"State": "Unknown"}, ("unknown", "Unknown")),
        ({"State": "Queued", "RejectionReason": "NotSupported"}, ("refused", "NotSupported")),
        ({"RejectionReason": "AppStoreDisabled"}, ("refused", "AppStoreDisabled")),
    ],
)
@pytest.mark.parametrize("request_type", ["InstallApplication", "InstallMedia"])
def test_an_acknowledged_installation_may_be_refused_or_going_on(
    request_type: str, answer: dict[str, str], expected: tuple[str, str]
) -> None:
    assert acknowledged(request_type, **answer) == expected


@pytest.mark.parametrize("odd", [[], {}, ["Failed"], b"Failed", 7, 1.5, True, None])
def test_an_answer_of_odd_types_is_no_fault_of_the_server(odd: object) -> None:
    for request_type in (
        *("InstallApplication", "InstallEnterpriseApplication", "InstallMedia", "ApplyRedemptionCode"),
        *("ScheduleOSUpdate", "ScheduleOSUpdateScan", "Settings", "InviteToProgram", "RequestMirroring"),
    ):
        names = ("State", "RejectionReason", "ErrorChain", "UpdateResults", "ScanInitiated", "Settings")
        for name in (*names, "InvitationResult", "MirroringResult", "Status"):
            for value in (odd, [odd], [{name: odd}], [{"Status": odd, "ErrorChain": odd}]):
                for state in CommandState:
                    outcome_of(request_type, state, 1, {"Status": "Acknowledged", name: value})
    told = outcome_of(
        "InstallApplication", CommandState.ACKNOWLEDGED, 1, {"State": odd, "RejectionReason": odd}
    )
    assert told.verdict is Verdict.IN_PROGRESS


def test_an_installation_whose_end_nobody_reports_is_going_on() -> None:
    for request_type in ("InstallApplication", "InstallEnterpriseApplication", "ApplyRedemptionCode"):
        assert acknowledged(request_type)[0] == "in_progress"
    assert acknowledged("InstallEnterpriseApplication", ErrorChain=CHAIN) == ("refused", TEXT)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([{"Status": "Downloading"}, {"Status": "Installing"}], ("in_progress", "Downloading, Installing")),
        ([{"Status": "Idle", "InstallAction": "NotifyOnly"}], ("in_progress", "Idle")),
        (
            [{"Status": "Installing"}, {"ProductKey": "p", "Status": "DownloadInsufficientSpace"}],
            ("refused", "p: DownloadInsufficientSpace"),
        ),
        ([{"Status": "DownloadRequiresComputer"}], ("refused", "DownloadRequiresComputer")),
        ([{"ProductKey": "p", "Status": "InstallFailed"}], ("refused", "p: InstallFailed")),
        ([{"Status": "InstallFailed", "ErrorChain": CHAIN}], ("refused", "InstallFailed")),
        (
            [{"Status": "InstallPhoneCallInProgress"}],
            ("refused", "InstallPhoneCallInProgress"),
        ),
        (
            [{"ProductKey": "p", "InstallAction": "Error", "Status": "Idle", "ErrorChain": CHAIN}],
            ("refused", f"p: {TEXT}"),
        ),
    ],
)
def test_an_update_is_as_far_as_its_worst_result(results: object, expected: tuple[str, str]) -> None:
    assert acknowledged("ScheduleOSUpdate", UpdateResults=results) == expected


@pytest.mark.parametrize("results", [None, [], "x", [5]])
def test_an_update_without_results_is_unknown(results: object) -> None:
    assert acknowledged("ScheduleOSUpdate", UpdateResults=results)[0] == "unknown"


def test_a_scan_goes_on_or_was_not_begun() -> None:
    assert acknowledged("ScheduleOSUpdateScan", ScanInitiated=True)[0] == "in_progress"
    assert acknowledged("ScheduleOSUpdateScan", ScanInitiated=False)[0] == "refused"


def test_settings_are_done_when_each_item_is() -> None:
    good, bad = {"Item": "DeviceName", "Status": "Acknowledged"}, {"Item": "Wallpaper", "Status": "Error"}
    assert acknowledged("Settings", Settings=[good, good]) == ("done", "")
    assert acknowledged("Settings", Settings=[good, bad]) == ("refused", "Wallpaper: Error")
    chained = {"Identifier": "com.example.app", "Status": "Error", "ErrorChain": CHAIN}
    both = ("refused", f"Wallpaper: Error; com.example.app: {TEXT}")
    assert acknowledged("Settings", Settings=[bad, good, chained]) == both
    assert acknowledged("Settings", Settings=good) == ("done", "")
    assert acknowledged("Settings", Settings={"Status": "Error"}) == ("refused", "setting: Error")
    assert acknowledged("Settings") == ("done", "")


def test_invitation_and_mirroring_have_results() -> None:
    assert acknowledged("InviteToProgram", InvitationResult="Acknowledged") == ("done", "")
    assert acknowledged("InviteToProgram", InvitationResult="InvalidProgramID")[0] == "refused"
    for result, verdict in {"Prompting": "in_progress", "Cancelled": "refused", "Unknown": "unknown"}.items():
        assert acknowledged("RequestMirroring", MirroringResult=result) == (verdict, result)
