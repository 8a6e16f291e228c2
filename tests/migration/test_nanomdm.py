"""The check-in messages for NanoMDM: what a device would have sent, in the order in which it counts."""

from dataclasses import replace
from typing import Any

from micromdm_py.migration.nanomdm import Message, checkins, holders, queued
from micromdm_py.migration.report import Report
from micromdm_py.protocol.checkin import Authenticate, CheckIn, SetBootstrapToken, TokenUpdate, parse_checkin
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.protocol.plist import loads
from micromdm_py.storage.records import EnrollmentRecord
from micromdm_py.storage.transfer import Moved, MovedCommand, MovedEnrollment, MovedPush
from tests.builders import NOW, TOPIC, command, device, user, user_enrollment

PUSH = MovedPush("aabb", "magic", TOPIC)
RECORD = EnrollmentRecord(
    "UDID",
    "",
    EnrollmentKind.DEVICE,
    "UDID",
    "UDID",
    facts={"serial_number": "S", "os_version": "15", "unknown": "x"},
    enrolled=True,
    listed=True,
    unlock_token=b"\0unlock",
    bootstrap_token=b"\0boot",
)
USER = EnrollmentRecord("UDID:U", "", EnrollmentKind.USER, "UDID", "UDID", "U", "short", "long")


def sent(*content: Moved) -> tuple[list[Message], Report]:
    report = Report("")
    return list(checkins(content, report)), report


def parsed(*content: Moved) -> list[Any]:
    return [parse_checkin(loads(body)) for _, body, _ in sent(*content)[0]]


def test_a_device_authenticates_updates_its_token_and_escrows_its_bootstrap_token() -> None:
    first, second, third = parsed(MovedEnrollment(RECORD, PUSH))
    assert first == Authenticate(device("UDID"), TOPIC, {"serial_number": "S", "os_version": "15"})
    assert second == TokenUpdate(device("UDID"), TOPIC, b"\xaa\xbb", "magic", b"\0unlock", False)
    assert third == SetBootstrapToken(device("UDID"), "", b"\0boot")


def test_tokens_that_are_not_there_are_not_sent() -> None:
    record = replace(RECORD, unlock_token=b"", bootstrap_token=b"")
    assert [type(one) for one in parsed(MovedEnrollment(record, PUSH))] == [Authenticate, TokenUpdate]
    assert parsed(MovedEnrollment(record, PUSH))[1].unlock_token is None


def test_users_come_after_their_device() -> None:
    found: list[CheckIn] = parsed(MovedEnrollment(USER, PUSH), MovedEnrollment(RECORD, PUSH))
    assert [one.enrollment.enrollment_id for one in found] == ["UDID", "UDID", "UDID", "UDID:U"]
    assert found[-1].enrollment == user("UDID", "U", "short", "long")


def test_user_enrollments_have_ids_of_their_own() -> None:
    byod = EnrollmentRecord("E", "", EnrollmentKind.USER_ENROLLMENT, "E", enrolled=True, listed=True)
    account = EnrollmentRecord("E:U", "", EnrollmentKind.USER_ENROLLMENT_USER, "E", "", "U")
    found = parsed(MovedEnrollment(byod, PUSH), MovedEnrollment(account, PUSH))
    assert [one.enrollment for one in found] == [
        user_enrollment("E"),
        user_enrollment("E"),
        user_enrollment("E", "U"),
    ]


def test_who_cannot_be_pushed_is_left_out_and_named() -> None:
    waiting = (MovedCommand(command("c"), CommandState.PENDING, NOW),)
    messages, report = sent(
        MovedEnrollment(replace(RECORD, enrollment_id="out", enrolled=False), PUSH),
        MovedEnrollment(replace(RECORD, enrollment_id="blocked", blocked=True), PUSH),
        MovedEnrollment(replace(RECORD, enrollment_id="no push"), None),
        MovedEnrollment(EnrollmentRecord("queue only", "", None, "queue only"), None, waiting),
    )
    assert messages == []
    assert report.warnings == [
        "out is not enrolled: left out",
        "blocked is blocked: left out",
        "no push is not enrolled: left out",
        "queue only is not enrolled: left out",
    ]
    assert holders([MovedEnrollment(replace(RECORD, blocked=True), PUSH, waiting)]) == {}


def moved(name: str, *commands: MovedCommand) -> MovedEnrollment:
    return MovedEnrollment(replace(RECORD, enrollment_id=name), PUSH, commands)


def test_queues_keep_their_order_and_history_stays_behind() -> None:
    done = MovedCommand(command("done"), CommandState.ACKNOWLEDGED, NOW)
    first, shared, put_off = (
        MovedCommand(command(name), state, NOW)
        for name, state in (
            ("first", CommandState.PENDING),
            ("shared", CommandState.AWAITING),
            ("put off", CommandState.TRIED),
        )
    )
    other = MovedCommand(replace(command("shared"), payload=b"another one"), CommandState.PENDING, NOW)
    content = [moved("UDID:U", done, first, shared, shared, put_off), moved("V", shared), moved("W", other)]
    found = holders(content)
    assert sum(map(len, found.values())) == 5
    assert [(one.name, one.path) for one in queued(content, found)] == [
        ("command first of UDID:U", "UDID%3AU?nopush=1"),
        ("command shared of UDID:U, V", "UDID%3AU,V?nopush=1"),
        ("command put off of UDID:U", "UDID%3AU?nopush=1"),
        ("command shared of W", "W?nopush=1"),
    ]
    assert [one.body for one in queued(content, holders(content))][-1] == b"another one"


def test_messages_have_names_without_secrets() -> None:
    messages, _ = sent(MovedEnrollment(RECORD, PUSH))
    assert [one.name for one in messages] == [
        "Authenticate of UDID",
        "TokenUpdate of UDID",
        "SetBootstrapToken of UDID",
    ]
