"""Permissions: what a grant covers, how it is narrowed, and who may give it away."""

import pytest

from micromdm_py.errors import Forbidden, MalformedField
from micromdm_py.service.access import ADMINISTRATOR, CREATE, Caller, parse_grant


def caller(*grants: str) -> Caller:
    return Caller("test", tuple(map(parse_grant, grants)))


@pytest.mark.parametrize(
    ("grant", "permission", "expected"),
    [
        ("mdm.event.get", "mdm.event.get", True),
        ("mdm.event.get", "mdm.event.get2", False),
        ("mdm.event.get", "mdm.event", False),
        ("mdm.event.*", "mdm.event.get", True),
        ("mdm.event.*", "mdm.eventual.get", False),
        ("mdm.event.*", "mdm.event", False),
        ("*", "server.other", True),
        (f"{CREATE}:SecurityInfo", CREATE, True),
    ],
)
def test_grant_covers_its_permissions(grant: str, permission: str, expected: bool) -> None:
    assert caller(grant).may(permission) is expected


def test_narrowed_grant_allows_its_details_alone() -> None:
    narrow = caller(f"{CREATE}:SecurityInfo,DeviceInformation", "mdm.event.get")
    narrow.require(CREATE, "DeviceInformation")
    with pytest.raises(Forbidden):
        narrow.require(CREATE, "EraseDevice")
    with pytest.raises(Forbidden):
        narrow.require("mdm.apple.command.cancel")
    caller(f"{CREATE}:SecurityInfo", CREATE).require(CREATE, "EraseDevice")
    ADMINISTRATOR.require(CREATE, "EraseDevice")


@pytest.mark.parametrize(
    ("mine", "given", "allowed"),
    [
        ("*", "*", True),
        ("*", f"{CREATE}:SecurityInfo", True),
        ("mdm.*", "*", False),
        ("mdm.apple.*", "mdm.*", False),
        ("mdm.*", "mdm.apple.*", True),
        (CREATE, f"{CREATE}:SecurityInfo", True),
        (f"{CREATE}:SecurityInfo", CREATE, False),
        (f"{CREATE}:SecurityInfo", f"{CREATE}:SecurityInfo", True),
        (f"{CREATE}:SecurityInfo,DeviceLock", f"{CREATE}:DeviceLock", True),
        (f"{CREATE}:SecurityInfo", f"{CREATE}:SecurityInfo,DeviceLock", False),
        ("mdm.event.get", "mdm.event.*", False),
    ],
)
def test_nobody_gives_away_more_than_they_have(mine: str, given: str, allowed: bool) -> None:
    if allowed:
        caller(mine).require_all([parse_grant(given)])
    else:
        with pytest.raises(Forbidden, match="not yours to give"):
            caller(mine).require_all([parse_grant(given)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "mdm..get",
        ".get",
        "mdm.",
        "mdm.*.get",
        "mdm*",
        "mdm.event.get:X",
        f"{CREATE}:",
        f"{CREATE}:a b",
        "mdm.\n",
    ],
)
def test_text_that_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(MalformedField, match="permission: "):
        parse_grant(text)


@pytest.mark.parametrize("text", ["*", "mdm.apple.*", CREATE, f"{CREATE}:DeviceLock,SecurityInfo"])
def test_grant_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_grant(text)) == text
