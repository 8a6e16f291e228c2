"""Reading BER within limits, writing DER."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol import der


def test_definite_and_indefinite_lengths_give_the_same_children() -> None:
    definite = bytes.fromhex("3006 020105 020107")
    indefinite = bytes.fromhex("3080 020105 020107 0000")
    for data in (definite, indefinite):
        kids = der.children(data, der.first(data))
        assert [der.raw(data, kid) for kid in kids] == [b"\x02\x01\x05", b"\x02\x01\x07"]
    assert der.to_der(indefinite, der.first(indefinite)) == definite


def test_lengths_that_are_longer_than_needed_are_read_and_rewritten() -> None:
    data = bytes.fromhex("3084 00000003 0201 05")
    assert der.to_der(data, der.first(data)) == bytes.fromhex("3003 020105")


def test_octet_string_in_segments_is_joined() -> None:
    data = bytes.fromhex("2480 0402 6162 2480 0401 63 0000 2403 0401 64 0000")
    assert der.octets(data, der.first(data)) == b"abcd"
    assert der.to_der(data, der.first(data)) == b"\x04\x04abcd"


def test_what_follows_the_first_element_is_left_alone() -> None:
    data = b"\x04\x01a" + b"rest"
    assert der.raw(data, der.first(data)) == b"\x04\x01a"


@pytest.mark.parametrize(
    "data",
    [
        "",
        "30",
        "3005 0201",  # cut off
        "3003 0202 05",  # child longer than its parent
        "3081",  # length cut off
        "30ff ffffffffffffffff",  # length of 127 bytes
        "3088 ffffffffffffffff",  # length of 16 exabytes
        "3080 020105",  # no end mark
        "3080 020105 00",
        "3080 020105 0001 00",  # end mark with a length
        "3005 020105 0000",  # end mark where the length is definite
        "0480 6162 0000",  # primitive of indefinite length
        "3003 1f8101",  # tag of several bytes
        "2403 020105",  # segment of another type
    ],
)
def test_malformed_input_is_refused(data: str) -> None:
    raw = bytes.fromhex(data)
    with pytest.raises(MalformedRequest):
        element = der.first(raw)
        der.octets(raw, element) if element[0] == 0x24 else der.children(raw, element)


@pytest.mark.parametrize("head", [b"\x30\x80", b"\x24\x80"])
def test_deep_nesting_is_refused(head: bytes) -> None:
    bomb = head * 200_000
    for data in (bomb, bomb + b"\0\0" * 200_000):
        with pytest.raises(MalformedRequest):
            der.first(data)


def test_deep_nesting_of_definite_lengths_is_refused_where_it_is_followed() -> None:
    data = b"\x04\x01a"
    for _ in range(der.MAX_DEPTH + 2):
        data = der.tlv(0x24, data)
    with pytest.raises(MalformedRequest):
        der.octets(data, der.first(data))
    data = b"\x02\x01\x05"
    for _ in range(der.MAX_DEPTH + 2):
        data = der.sequence(data)
    with pytest.raises(MalformedRequest):
        der.to_der(data, der.first(data))


def test_number_of_elements_is_bounded_over_all_levels() -> None:
    many = b"\x05\x00" * (der.MAX_ELEMENTS + 1)
    for data in (der.sequence(many), b"\x30\x80" + many + b"\0\0"):
        with pytest.raises(MalformedRequest):
            der.children(data, der.first(data))
    half = b"\x30\x80" + b"\x05\x00" * (der.MAX_ELEMENTS // 2) + b"\0\0"
    assert len(der.children(half, der.first(half))) == der.MAX_ELEMENTS // 2
    with pytest.raises(MalformedRequest):
        der.first(b"\x30\x80" + half * 3 + b"\0\0")


def test_number_of_elements_is_bounded_where_a_tree_is_followed() -> None:
    string, structure = b"\x04\x01a", b"\x02\x01\x05"
    for _ in range(3):
        string, structure = der.tlv(0x24, string * 30), der.sequence(structure * 30)
    with pytest.raises(MalformedRequest, match="too many"):
        der.octets(string, der.first(string))
    with pytest.raises(MalformedRequest, match="too many"):
        der.to_der(structure, der.first(structure))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_written_lengths_are_read_back(size: int) -> None:
    data = der.tlv(der.OCTETS, bytes(size))
    assert der.octets(data, der.first(data)) == bytes(size)
    assert len(data) - size == 2 + (size > 127) + (size > 255) + (size > 65535)


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "020100"), (127, "02017f"), (128, "02020080"), (256, "02020100")]
)
def test_integers_stay_positive(value: int, encoded: str) -> None:
    assert der.encode_integer(value) == bytes.fromhex(encoded)


def test_object_identifiers() -> None:
    assert der.encode_oid("1.2.840.113549.1.7.2") == bytes.fromhex("06092a864886f70d010702")
    assert der.encode_oid("2.16.840.1.113733.1.9.2") == bytes.fromhex("060a6086480186f845010902")


def test_text_is_printable_where_possible() -> None:
    assert der.encode_text("aB3=+/") == b"\x13\x06aB3=+/"
    assert der.encode_text("a_b") == b"\x0c\x03a_b"
    assert der.encode_text("ä") == b"\x0c\x02\xc3\xa4"


@pytest.mark.parametrize(
    ("moment", "encoded"),
    [
        (datetime(2026, 6, 1, 12, 0, 5, 999, tzinfo=UTC), b"\x17\x0d260601120005Z"),
        (datetime(2049, 12, 31, 23, 30, tzinfo=timezone(-timedelta(hours=1))), b"\x18\x0f20500101003000Z"),
        (datetime(1949, 1, 1, tzinfo=UTC), b"\x18\x0f19490101000000Z"),
    ],
)
def test_times_take_the_form_that_the_year_demands(moment: datetime, encoded: bytes) -> None:
    assert der.encode_time(moment) == encoded


def test_sets_are_sorted() -> None:
    assert der.set_of(b"\x04\x01b", b"\x02\x01\x05", b"\x04\x01a") == bytes.fromhex(
        "3109 020105 040161 040162"
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        rewritten = der.to_der(data, der.first(data))
    except MalformedRequest:
        return
    assert der.to_der(rewritten, der.first(rewritten)) == rewritten
