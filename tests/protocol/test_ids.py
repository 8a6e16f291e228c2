"""What may serve as an id, and times as callers write them."""

from datetime import UTC, datetime

import pytest

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.ids import MAX_COMMAND_UUID_CHARS, MAX_ID_BYTES, check_command_uuid, check_id
from micromdm_py.protocol.times import read_time


@pytest.mark.parametrize(
    "value",
    ["a", "a b", "ünïcode", "\N{NO-BREAK SPACE}", "\u200b", "x" * MAX_ID_BYTES, "ä" * (MAX_ID_BYTES // 2)],
)
def test_an_id_is_taken_as_it_is(value: str) -> None:
    assert check_id("udid", value) == value


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "must not be empty"),
        ("a\0", "control characters"),
        ("a\x1f", "control characters"),
        ("a\x7f", "control characters"),
        ("a\x80", "control characters"),
        ("a\x9f", "control characters"),
        ("\ud800", "not valid Unicode"),
        ("x" * (MAX_ID_BYTES + 1), "longer than 255 bytes"),
        ("ä" * (MAX_ID_BYTES // 2 + 1), "longer than 255 bytes"),
    ],
)
def test_an_id_that_cannot_be_is_refused(value: str, fault: str) -> None:
    with pytest.raises(MalformedField, match=f"^udid: .*{fault}"):
        check_id("udid", value)


@pytest.mark.parametrize(
    "value", ["c", "a<b>&'\"", "a\nb\tc", "\x7f\x85", "\U0001f4f1", "ä" * MAX_COMMAND_UUID_CHARS]
)
def test_a_command_uuid_is_free_text(value: str) -> None:
    assert check_command_uuid("command_uuid", value) == value


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "must not be empty"),
        ("x" * (MAX_COMMAND_UUID_CHARS + 1), "longer than 1024 characters"),
        ("a\0b", "XML cannot carry"),
        ("a\x1f", "XML cannot carry"),
        ("\ufffe", "XML cannot carry"),
        ("\ud800", "XML cannot carry"),
    ],
)
def test_a_command_uuid_that_xml_cannot_carry_is_refused(value: str, fault: str) -> None:
    with pytest.raises(MalformedField, match=f"^command_uuid: .*{fault}"):
        check_command_uuid("command_uuid", value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23T08:30:00Z", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
        ("2026-11-23T08:30:00.25+02:00", datetime(2026, 11, 23, 6, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-11-23T08:30", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
    ],
)
def test_times(text: str | None, expected: datetime | None) -> None:
    assert read_time("since", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "now",
        "20261123",
        "2026-W48-1",
        "2026-13-01",
        "2026-11-23T",
        "0001-01-01T00:00:00+23:59",
        "2026-11-23 08:00",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(MalformedField, match="must be an RFC 3339 time or a date"):
        read_time("since", text)
