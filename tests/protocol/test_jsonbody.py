"""JSON request bodies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.jsonbody import field, read_object, strings

OBJECTS = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(), max_size=5
)


@given(OBJECTS)
def test_an_object_is_read_as_the_library_does(tree: dict[str, Any]) -> None:
    assert read_object(json.dumps(tree).encode(), trailing="refuse") == tree
    assert read_object(json.dumps(tree, ensure_ascii=True).encode() + b" ]", trailing="ignore") == tree


@given(st.binary(max_size=100))
def test_any_bytes_are_an_object_or_name_the_body(body: bytes) -> None:
    try:
        assert isinstance(read_object(body, trailing="ignore"), dict)
    except MalformedField as fault:
        assert fault.field == "body"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b'"x"',
        b"1",
        b"{",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":\xff}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":"\n"}',
        b'{"a":' * 200_000,
        b"[" * 200_000,
        b'{"a":' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    for trailing in ("refuse", "ignore"):
        with pytest.raises(MalformedField, match=r"^body: "):
            read_object(body, trailing=trailing)


def test_a_long_number_is_refused_in_words_for_callers() -> None:
    with pytest.raises(MalformedField, match=r"^body: has a number with too many digits$"):
        read_object(b'{"a":' + b"9" * 10_000 + b"}", trailing="ignore")


def test_null_is_an_empty_object() -> None:
    assert read_object(b" null\n", trailing="refuse") == {}


@pytest.mark.parametrize("body", [b"{} {}", b'{}{"a":1}', b"{}x", b"{}\0"])
def test_data_after_the_object_is_refused_or_ignored(body: bytes) -> None:
    assert read_object(body, trailing="ignore") == {}
    with pytest.raises(MalformedField, match=r"^body: "):
        read_object(body, trailing="refuse")


@pytest.mark.parametrize(
    ("body", "last"),
    [
        (b'{"a":1,"a":2}', 2),
        (b'{"a":1,"A":2}', 2),
        (b'{"A":1,"a":2}', 2),
        (b'{"a":1,"A":2,"a":3}', 3),
        (b'{"A":1,"b":0,"a":2,"A":4}', 4),
    ],
)
def test_of_several_spellings_the_last_counts(body: bytes, last: int) -> None:
    assert field(read_object(body, trailing="refuse"), "a", int) == last


def test_a_field_that_is_absent_or_null_is_none() -> None:
    assert field({}, "a", str) is None
    assert field({"A": None}, "a", str) is None
    assert strings({"A": None}, "a") == ()


@pytest.mark.parametrize(
    ("value", "kind"), [(1, str), ("1", int), (True, int), (1, bool), (1.0, int), ({}, list), ([], dict)]
)
def test_a_field_of_another_type_is_named_as_the_caller_wrote_it(value: object, kind: type[object]) -> None:
    with pytest.raises(MalformedField, match=r"^Ab: must be an? "):
        field({"Ab": value}, "ab", kind)


def test_an_element_that_is_no_string_is_named() -> None:
    with pytest.raises(MalformedField, match=r"^IDS\[1\]: must be a string"):
        strings({"IDS": ["a", 1]}, "ids")
