"""What devices send: check-in messages, reports, and which enrollment each names."""

from typing import Any

import pytest

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckIn,
    CheckOut,
    DeclarativeManagement,
    GetBootstrapToken,
    SetBootstrapToken,
    TokenUpdate,
    UserAuthenticate,
    parse_checkin,
)
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID, EnrollmentKind, EnrollmentRef, resolve
from micromdm_py.protocol.report import MAX_FACT_CHARS, Status, parse_report

PHONE = EnrollmentRef("UDID-1", EnrollmentKind.DEVICE, "UDID-1", "UDID-1")
TOPIC = "com.apple.mgmt.External.1"


def checkin(kind: str, **fields: object) -> CheckIn:
    return parse_checkin({"MessageType": kind, "UDID": "UDID-1", "Topic": TOPIC, **fields})


# --- enrollments ---


@pytest.mark.parametrize(
    ("message", "enrollment_id", "kind", "device_id"),
    [
        ({"UDID": "U"}, "U", EnrollmentKind.DEVICE, "U"),
        ({"UDID": "U", "UserID": "A"}, "U:A", EnrollmentKind.USER, "U"),
        ({"UDID": "U", "EnrollmentUserID": "A"}, "U", EnrollmentKind.DEVICE, "U"),
        ({"EnrollmentID": "E"}, "E", EnrollmentKind.USER_ENROLLMENT, "E"),
        ({"EnrollmentID": "E", "UserID": "A"}, "E", EnrollmentKind.USER_ENROLLMENT, "E"),
        ({"EnrollmentID": "E", "EnrollmentUserID": "A"}, "E:A", EnrollmentKind.USER_ENROLLMENT_USER, "E"),
        ({"UDID": "U", "EnrollmentID": "E"}, "E", EnrollmentKind.USER_ENROLLMENT, "E"),
        (
            {"UDID": "U", "UserID": SHARED_IPAD_USER_ID, "UserShortName": "kid"},
            "U:kid",
            EnrollmentKind.SHARED_IPAD,
            "U",
        ),
    ],
)
def test_the_enrollment_a_message_names(
    message: dict[str, str], enrollment_id: str, kind: EnrollmentKind, device_id: str
) -> None:
    found = resolve(message)
    assert (found.enrollment_id, found.kind, found.device_id) == (enrollment_id, kind, device_id)
    assert found.kind.is_user_channel == (":" in enrollment_id)
    user = message.get("EnrollmentUserID" if "EnrollmentID" in message else "UserID", "")
    assert found.user_id == (user if found.kind.is_user_channel else "")


def test_names_of_a_user_are_kept_as_sent() -> None:
    user = {"UserID": "A", "UserShortName": "short", "UserLongName": "Long Name"}
    found = resolve({"UDID": "U", **user})
    assert (found.user_short_name, found.user_long_name) == ("short", "Long Name")


@pytest.mark.parametrize(
    ("message", "ids"),
    [
        ({"UDID": "U", "UserID": "A"}, (("U", EnrollmentKind.DEVICE),)),
        ({"EnrollmentID": "E"}, (("E", EnrollmentKind.USER_ENROLLMENT),)),
        (
            {"UDID": "U", "EnrollmentID": "E"},
            (("E", EnrollmentKind.USER_ENROLLMENT), ("U", EnrollmentKind.DEVICE)),
        ),
    ],
)
def test_the_certificate_must_match_every_device_id(message: dict[str, str], ids: object) -> None:
    assert resolve(message).bound_ids == ids


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"UserID": "A"},
        {"EnrollmentUserID": "A"},
        {"UDID": ""},
        {"UDID": 5},
        {"UDID": "a:b"},
        {"UDID": "a\nb"},
        {"UDID": "x" * 256},
        {"EnrollmentID": ""},
        {"EnrollmentID": "a:b"},
        {"UDID": "U", "UserID": ""},
        {"UDID": "U", "UserID": b"A"},
        {"UDID": "U", "UserShortName": 5},
        {"UDID": "U", "UserLongName": 5},
        {"UDID": "U", "UserID": SHARED_IPAD_USER_ID},
        {"UDID": "U", "UserID": SHARED_IPAD_USER_ID, "UserShortName": ""},
    ],
)
def test_a_message_without_a_usable_id_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(MalformedRequest):
        resolve(message)


# --- check-in ---


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"MessageType": "Authenticate", "SerialNumber": "S", "Model": "M", "Other": 5},
            Authenticate(PHONE, TOPIC, {"serial_number": "S", "model": "M"}),
        ),
        (
            {
                "MessageType": "TokenUpdate",
                "Token": b"t",
                "PushMagic": "m",
                "UnlockToken": b"u",
                "AwaitingConfiguration": True,
            },
            TokenUpdate(PHONE, TOPIC, b"t", "m", b"u", True),
        ),
        ({"MessageType": "TokenUpdate"}, TokenUpdate(PHONE, TOPIC, b"", "", None, False)),
        ({"MessageType": "CheckOut"}, CheckOut(PHONE, TOPIC)),
        (
            {"MessageType": "SetBootstrapToken", "BootstrapToken": b"b"},
            SetBootstrapToken(PHONE, TOPIC, b"b"),
        ),
        ({"MessageType": "SetBootstrapToken"}, SetBootstrapToken(PHONE, TOPIC, b"")),
        ({"MessageType": "GetBootstrapToken"}, GetBootstrapToken(PHONE, TOPIC)),
        ({"MessageType": "UserAuthenticate"}, UserAuthenticate(PHONE, TOPIC)),
        (
            {"MessageType": "DeclarativeManagement", "Endpoint": "status", "Data": b"{}"},
            DeclarativeManagement(PHONE, TOPIC, "status", b"{}"),
        ),
        ({"MessageType": "DeclarativeManagement"}, DeclarativeManagement(PHONE, TOPIC, "", b"")),
    ],
)
def test_check_in_messages(fields: dict[str, Any], expected: CheckIn) -> None:
    found = parse_checkin({"UDID": "UDID-1", "Topic": TOPIC, **fields})
    assert type(found) is type(expected)
    assert found == expected


def test_a_topic_may_be_missing() -> None:
    assert parse_checkin({"MessageType": "CheckOut", "UDID": "UDID-1"}).topic == ""


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("", {}),
        ("GetToken", {}),
        ("authenticate", {}),
        ("Authenticate", {"UserID": "A"}),
        ("Authenticate", {"SerialNumber": 5}),
        ("TokenUpdate", {"Topic": 5}),
        ("TokenUpdate", {"Token": "text"}),
        ("TokenUpdate", {"PushMagic": b"m"}),
        ("TokenUpdate", {"UnlockToken": "text"}),
        ("TokenUpdate", {"AwaitingConfiguration": 1}),
        ("SetBootstrapToken", {"BootstrapToken": "text"}),
        ("DeclarativeManagement", {"Endpoint": 5}),
        ("DeclarativeManagement", {"Data": "text"}),
        ("CheckOut", {"UDID": ""}),
    ],
)
def test_check_in_messages_of_another_form_are_refused(kind: str, fields: dict[str, object]) -> None:
    with pytest.raises(MalformedRequest):
        checkin(kind, **fields)


def test_a_message_type_that_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="MessageType"):
        parse_checkin({"MessageType": 5, "UDID": "UDID-1"})


# --- reports ---


@pytest.mark.parametrize("status", [one for one in Status if one])
def test_a_report(status: Status) -> None:
    found = parse_report({"UDID": "UDID-1", "Status": str(status), "CommandUUID": "c"}, b"raw")
    assert (found.enrollment, found.status, found.sent_status) == (PHONE, status, status)
    assert (found.command_uuid, found.raw, dict(found.facts)) == ("c", b"raw", {})


@pytest.mark.parametrize(("fields", "sent"), [({}, ""), ({"Status": "Odd"}, "Odd"), ({"Status": ""}, "")])
def test_a_status_outside_the_protocol_is_unknown(fields: dict[str, str], sent: str) -> None:
    found = parse_report({"UDID": "UDID-1", **fields}, b"")
    assert (found.status, found.sent_status, found.command_uuid) == (Status.UNKNOWN, sent, "")


def test_an_answer_tells_what_the_device_is() -> None:
    answers = {"DeviceName": "Lab", "OSVersion": "x" * 300, "Model": "", "BuildVersion": 5, "UDID": "other"}
    found = parse_report({"UDID": "UDID-1", "Status": "Acknowledged", "QueryResponses": answers}, b"")
    assert found.facts == {"device_name": "Lab", "os_version": "x" * MAX_FACT_CHARS}
    assert parse_report({"UDID": "UDID-1", "QueryResponses": "text"}, b"").facts == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"UDID": ""},
        {"Status": 5},
        {"CommandUUID": 5},
        {"CommandUUID": "x" * 1025},
        {"ErrorChain": "text"},
    ],
)
def test_a_report_of_another_form_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(MalformedRequest):
        parse_report({"UDID": "UDID-1", "Status": "Idle", **fields}, b"")
