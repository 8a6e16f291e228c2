"""JSON replies: the same text as the standard library's, with markup escaped."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.protocol.jsonreply import indented_json, json_reply, json_time

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
NAMES = st.text('a<&"\\é\u2028', max_size=4)
DOCUMENTS = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a<&"\\é\u2028', max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_text_is_that_of_the_standard_library_with_markup_escaped(document: object) -> None:
    usual = json.dumps(document, indent=2, ensure_ascii=False)
    for mark in "&<>\u2028\u2029":
        usual = usual.replace(mark, f"\\u{ord(mark):04x}")
    assert indented_json(document) == usual


def test_a_reply_ends_its_line_and_replaces_what_utf_8_cannot_carry() -> None:
    assert json_reply({"name": "a\ud800"}) == b'{\n  "name": "a?"\n}\n'
    assert json_reply({}) == b"{}\n"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, "0001-01-01T00:00:00Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 50, 120_000, UTC), "2026-01-02T03:04:50.12Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 1, timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000001Z"),
        (datetime(7, 1, 2, tzinfo=UTC), "0007-01-02T00:00:00Z"),
    ],
)
def test_times_have_no_trailing_zeros(at: datetime | None, text: str) -> None:
    assert json_time(at) == text
