"""Property lists: limits, the short cut, and writing."""

import plistlib
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.plist import dumps_compact, dumps_indented, loads, parse_flat

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
SCALARS = (
    TEXT
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.binary(max_size=20)
    | st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0))
)
TREES = st.dictionaries(
    TEXT,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
    ),
)
HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"'
    b' "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
)
PIECES = [
    *(b"<dict> </dict> <array> </array> <true/> <false/> <string/> </plist> <integer>1</integer>".split()),
    b"<key>a</key>",
    b"<key>Command</key>",
    b"<string>b</string>",
    b"<string>]]&gt;</string>",
    b"<real>1.5</real>",
    b"<data>AAA=</data>",
    b"<!-- c -->",
    b"\x0b",
    b" ",
    b"\r\n",
]


def shallow(tree: dict[str, Any], inner: str = "") -> dict[str, Any]:
    """A tree as the short cut gives it: containers empty, but for the dictionary at `inner`."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found[key] = shallow(value) if key == inner else {}
        else:
            found[key] = [] if isinstance(value, list) else value
    return found


@given(TREES)
def test_what_is_written_compactly_or_indented_is_read_back(tree: dict[str, Any]) -> None:
    assert loads(dumps_compact(tree)) == tree
    assert loads(dumps_indented(tree)) == tree


@given(TREES)
def test_both_forms_of_the_standard_library_are_read(tree: dict[str, Any]) -> None:
    for form in (plistlib.FMT_XML, plistlib.FMT_BINARY):
        assert loads(plistlib.dumps(tree, fmt=form)) == tree


@given(TREES)
def test_the_short_cut_reads_the_same_or_leaves_it(tree: dict[str, Any]) -> None:
    found = parse_flat(plistlib.dumps(tree), "Command")
    assert found is None or found == shallow(tree, "Command")


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@example([b"<key>a</key>", b"<dict>", b"</array>"])
@example([b"<key>a</key>", b"<array>", b"<key>a</key>", b"</array>"])
def test_the_short_cut_never_accepts_what_the_library_refuses(pieces: list[bytes]) -> None:
    data = HEAD + b'<plist version="1.0"><dict>' + b"".join(pieces) + b"</dict></plist>"
    found = parse_flat(data, "Command")
    if found is not None:
        assert found == shallow(plistlib.loads(data[: data.index(b"</plist>") + 8]), "Command")


@pytest.mark.parametrize("status", ["Idle", "Acknowledged"])
def test_the_short_cut_takes_what_devices_send(status: str) -> None:
    report = {"UDID": "U", "Status": status, "QueryResponses": {"A": [{"B": "c"}], "D": 1, "E": True}}
    assert parse_flat(plistlib.dumps(report)) == {"UDID": "U", "Status": status, "QueryResponses": {}}


def test_the_short_cut_reads_one_inner_dictionary() -> None:
    data = plistlib.dumps({"Command": {"RequestType": "X", "Queries": ["a"]}, "CommandUUID": "1"})
    assert parse_flat(data, "Command") == {"Command": {"RequestType": "X", "Queries": []}, "CommandUUID": "1"}


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"bplist00" + tail))
def test_arbitrary_bytes_are_malformed_or_read(data: bytes) -> None:
    parse_flat(data)
    try:
        assert isinstance(loads(data), dict)
    except MalformedRequest:
        pass


@given(
    TREES, st.integers(0, 400), st.integers(0, 255), st.sampled_from([plistlib.FMT_XML, plistlib.FMT_BINARY])
)
def test_damaged_documents_are_malformed_or_read(tree: dict[str, Any], at: int, byte: int, form: Any) -> None:
    data = bytearray(plistlib.dumps(tree, fmt=form))
    data[at % len(data)] = byte
    try:
        assert isinstance(loads(bytes(data)), dict)
    except MalformedRequest:
        pass


def test_entities_are_refused() -> None:
    bomb = (
        HEAD.replace(b'.dtd">', b'.dtd" [<!ENTITY a "aaaa">]>')
        + b"<plist><dict><key>&a;</key><true/></dict></plist>"
    )
    with pytest.raises(MalformedRequest, match="entities"):
        loads(bomb)


@pytest.mark.parametrize("depth", [65, 5000, 200_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    data = b"<plist><dict><key>a</key>" + b"<array>" * depth + b"</array>" * depth + b"</dict></plist>"
    assert parse_flat(HEAD + data) is None
    with pytest.raises(MalformedRequest, match="nested"):
        loads(data)


def test_a_small_binary_document_cannot_grow_into_a_huge_tree() -> None:
    data = _shared_lists(40)
    with pytest.raises(MalformedRequest):
        loads(data)


def _shared_lists(levels: int) -> bytes:
    """A binary property list of arrays that hold the next array twice."""
    objects = [b"\xd1\x01\x02", b"\x51a"]
    objects += [bytes([0xA2, number + 3, number + 3]) for number in range(levels)]
    objects.append(b"\x51x")
    offsets, body = [], b"bplist00"
    for one in objects:
        offsets.append(len(body))
        body += one
    table = b"".join(offset.to_bytes(2, "big") for offset in offsets)
    trailer = (
        bytes(6) + bytes([2, 1]) + len(objects).to_bytes(8, "big") + bytes(8) + len(body).to_bytes(8, "big")
    )
    return body + table + trailer


@pytest.mark.parametrize("tail", [b"text", b"</plist>", b"<plist/>", b"text</plist>\n", b"\0"])
def test_text_after_the_list_is_accepted_from_devices_only(tail: bytes) -> None:
    data = HEAD + b'<plist version="1.0"><dict><key>a</key><true/></dict></plist>' + tail
    assert loads(data) == parse_flat(data) == {"a": True}
    assert parse_flat(data, trailing=False) is None
    with pytest.raises(MalformedRequest):
        loads(data, trailing=False)


def test_comments_and_white_space_may_follow_in_any_case() -> None:
    data = HEAD + b"<plist><dict><key>a</key><true/></dict></plist>\n<!-- end -->\n"
    assert loads(data, trailing=False) == {"a": True}


@pytest.mark.parametrize("data", [b"", b"hello", b"<plist>", b"<plist/>", b"<plist><array/></plist>", b"{}"])
def test_what_is_no_dictionary_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedRequest):
        loads(data)


def test_a_character_xml_cannot_carry_is_replaced() -> None:
    assert loads(dumps_compact({"a": "b\x01\ud800c\r\n"})) == {"a": "b��c\r\n"}


def test_text_is_written_byte_for_byte_as_micromdm_writes_it() -> None:
    written = dumps_compact({"'k'": '"a" & <b>\t\r\n\u2028\x7f\U0001f600'})
    text = "&#34;a&#34; &amp; &lt;b&gt;&#x9;&#xD;\n\u2028\x7f\U0001f600"
    assert f"<dict><key>&#39;k&#39;</key><string>{text}</string></dict>" in written.decode()


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, None, object()])
def test_what_no_property_list_can_hold_is_refused(value: Any) -> None:
    with pytest.raises(MalformedRequest):
        dumps_compact({"a": value})


def half_a_pair_in_binary() -> bytes:
    whole = plistlib.dumps({"SerialNumber": "ÿĀ", "UDID": "U"}, fmt=plistlib.FMT_BINARY)
    return whole.replace("ÿĀ".encode("utf-16-be"), b"\xd8\x00\x00a")


@pytest.mark.parametrize(
    "document",
    [
        half_a_pair_in_binary(),
        HEAD + b"<plist><dict><key>SerialNumber</key><string>&#xD800;</string></dict></plist>",
        HEAD + b"<plist><dict><key>SerialNumber</key><string>\xed\xa0\x80</string></dict></plist>",
    ],
    ids=["binary", "reference", "bytes"],
)
def test_half_a_surrogate_pair_is_no_text(document: bytes) -> None:
    assert parse_flat(document) is None
    with pytest.raises(MalformedRequest):
        loads(document)
