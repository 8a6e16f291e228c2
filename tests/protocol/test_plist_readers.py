"""The bounded readers beside the one of the standard library, and documents made to do harm."""

import plistlib
import re
import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.plist import MAX_DEPTH, MAX_NODES, loads, parse_flat
from tests.protocol.test_plist import HEAD, TREES, shallow

TAGS = [
    "plist",
    "dict",
    "array",
    "key",
    "string",
    "integer",
    "real",
    "true",
    "false",
    "data",
    "date",
    "other",
]
TEXTS = [
    *(
        "a",
        "1",
        "-7",
        "0x1F",
        "1_0",
        " 5 ",
        "9223372036854775808",
        "1.5",
        "nan",
        "AAE=",
        "A",
        "AA=x",
        "é",
        "\n",
    ),
    *("2026-01-02T03:04:05Z", "2026-01-02", "2026-13-01Z", "2026Z", "&amp;", "&#13;", "&lt;", "]]>", "\r\n"),
    *(
        "<![CDATA[</dict><dict>]]>",
        "<!-- </dict> -->",
        "<?pi?>",
        "\u2019",
        "\U0001f600",
        "\ufffe",
        "\x7f",
        "\x85",
    ),
]
DOCUMENTS = st.recursive(
    st.sampled_from(
        [*TEXTS, "<true/>", "<string/>", "<dict/>", "<key>k</key>", "<key>k</key><string>v</string>"]
    ),
    lambda inner: st.builds(
        "<{0}>{1}</{0}>".format, st.sampled_from(TAGS), st.lists(inner, max_size=4).map("".join)
    ),
    max_leaves=12,
)
LEAVES = [
    "<string>a</string>",
    "<integer>1</integer>",
    "<true/>",
    "<false/>",
    "<real>1.5</real>",
    "<string/>",
]


def members(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.builds("<key>{}</key>{}\n".format, st.sampled_from(["a", "b", "Command"]), value)
    return st.lists(pair, max_size=3).map("".join)


SOUND = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        members(inner).map("<dict>{}</dict>".format)
        | st.lists(inner, max_size=3).map("".join).map("<array>{}</array>".format)
    ),
    max_leaves=8,
)


def disturbed(text: str, noise: str, at: int) -> bytes:
    """A document with something put between two of its elements, or within a text."""
    places = [0, *(found.end() for found in re.finditer(">", text))]
    place = places[at % len(places)]
    return (text[:place] + noise + text[place:]).encode()


SOUND_PAIRS = st.builds(
    disturbed, members(SOUND), st.just("") | st.sampled_from(TEXTS) | DOCUMENTS, st.integers(0, 99)
)
BODIES = st.lists(DOCUMENTS, max_size=3).map(lambda parts: "".join(parts).encode())
SCALAR_PAIRS = st.builds(
    "<key>{}</key>{}".format,
    st.sampled_from(["a", "b", "Command", "é"]),
    st.builds("<{0}>{1}</{0}>".format, st.sampled_from(TAGS[4:]), st.sampled_from(TEXTS)) | DOCUMENTS,
)
PAIRS = SOUND_PAIRS | st.lists(SCALAR_PAIRS, max_size=4).map(lambda pairs: "".join(pairs).encode())
EXAMPLES = settings(max_examples=400)


def library(data: bytes) -> Any:
    """What the standard library reads after white space; any fault of it counts as a refusal."""
    try:
        return plistlib.loads(data if data.startswith(b"bplist") else data.lstrip(b" \t\r\n"))
    except Exception as fault:
        return fault


def ours(data: bytes) -> dict[str, Any] | None:
    try:
        return loads(data, trailing=False)
    except MalformedRequest:
        return None


@EXAMPLES
@given(BODIES)
@example(b"<dict><key>a</key><array><key>b</key></array></dict>")
def test_xml_is_read_as_the_library_reads_it_or_refused(body: bytes) -> None:
    data = b'<plist version="1.0">' + body + b"</plist>"
    found = ours(data)
    assert found is None or repr(found) == repr(library(data))


@EXAMPLES
@given(PAIRS)
def test_pairs_are_read_as_the_library_reads_them_or_refused(pairs: bytes) -> None:
    data = HEAD + b'<plist version="1.0"><dict>' + pairs + b"</dict></plist>"
    found, short = ours(data), parse_flat(data, "Command", trailing=False)
    assert found is None or repr(found) == repr(library(data))
    if short is not None:
        assert found is not None
        assert short == shallow(found, "Command")


WHOLE = (
    "<dict>\n<key>a</key>\n<string>b</string>\n<key>c</key><true/><key>d</key><integer>1</integer>"
    "<key>Command</key><dict><key>e</key><array><string>f</string><dict><key>g</key><false/></dict></array></dict>"
    "<key>h</key><array><array/><real>1.5</real></array>\n</dict>"
)
ELEMENTS = re.findall(r"<key>\w*</key>|<(?:string|integer|real)>[^<]*</\w+>|<[^<>]+>", WHOLE)
OTHERS = [
    "<key>x</key>",
    "<string>y</string>",
    "<dict>",
    "</dict>",
    "<array>",
    "</array>",
    "<array/>",
    "<data>A</data>",
]


def both_agree(body: bytes) -> None:
    data = HEAD + b'<plist version="1.0">' + body + b"</plist>"
    found, short = ours(data), parse_flat(data, "Command", trailing=False)
    assert found is None or repr(found) == repr(library(data))
    assert short is None or (found is not None and short == shallow(found, "Command"))


@pytest.mark.parametrize("noise", [*TEXTS, *OTHERS, "\0", "\x0b", "\r", "\uffff", "<", "&", "&a;"])
def test_nothing_put_anywhere_in_a_document_is_misread(noise: str) -> None:
    for place in range(WHOLE.count(">") + 1):
        both_agree(disturbed(WHOLE, noise, place))


def test_no_element_left_out_or_put_in_is_misread() -> None:
    assert "".join(ELEMENTS) == WHOLE.replace("\n", "")
    both_agree(WHOLE.encode())
    assert parse_flat(HEAD + b'<plist version="1.0">' + WHOLE.encode() + b"</plist>")
    for place, element in enumerate(ELEMENTS):
        before, after = "".join(ELEMENTS[:place]), "".join(ELEMENTS[place + 1 :])
        for other in ["", element * 2, *OTHERS]:
            both_agree(f"{before}{other}{after}".encode())


@pytest.mark.parametrize(
    "byte", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\xc0\x80", b"\xf5\x80\x80\x80"]
)
def test_bytes_that_are_no_text_are_refused(byte: bytes) -> None:
    data = HEAD + b'<plist version="1.0"><dict><key>a</key><string>' + byte + b"</string></dict></plist>"
    assert parse_flat(data) is None
    assert ours(data) is None


@EXAMPLES
@given(TREES, st.data())
def test_a_changed_binary_document_is_read_as_the_library_reads_it_or_refused(
    tree: dict[str, Any], data: st.DataObject
) -> None:
    document = bytearray(plistlib.dumps(tree, fmt=plistlib.FMT_BINARY))
    for _ in range(data.draw(st.integers(1, 3))):
        document[data.draw(st.integers(8, len(document) - 1))] = data.draw(st.integers(0, 255))
    found = ours(bytes(document))
    assert found is None or repr(found) == repr(library(bytes(document)))


@given(TREES, st.integers(0, 2000))
def test_no_part_of_a_document_is_a_document(tree: dict[str, Any], size: int) -> None:
    for form in (plistlib.FMT_XML, plistlib.FMT_BINARY):
        data = plistlib.dumps(tree, fmt=form).rstrip()
        assert ours(data[: min(size, len(data) - 1)]) is None


def binary(objects: list[bytes], offsets: list[int] | None = None, *, ref_size: int = 2) -> bytes:
    """A binary property list of encoded objects; `offsets` may let several begin at one place."""
    places, body = [], b"bplist00"
    for one in objects:
        places.append(len(body))
        body += one
    places = [places[number] for number in offsets] if offsets else places
    table = b"".join(place.to_bytes(4, "big") for place in places)
    return body + table + struct.pack(">6xBBQQQ", 4, ref_size, len(places), 0, len(body))


def array(*numbers: int) -> bytes:
    return b"\xaf\x11" + len(numbers).to_bytes(2, "big") + b"".join(n.to_bytes(2, "big") for n in numbers)


def top(number: int) -> bytes:
    """A dictionary whose only key is object 1 and whose value is the numbered object."""
    return b"\xd1\x00\x01" + number.to_bytes(2, "big")


HARMFUL = {
    "array in itself": binary([top(2), b"\x51a", array(2)]),
    "dictionary in itself": binary([top(0), b"\x51a"]),
    "each array holds the next twice": binary(
        [top(2), b"\x51a", *[array(n + 3, n + 3) for n in range(60)], b"\x51x"]
    ),
    "many arrays at one place": binary(
        [top(2), b"\x51a", array(*range(3, 3003)), array(*[3003] * 3000), b"\x09"],
        [0, 1, 2, *[3] * 3000, 4],
    ),
    "an array larger than the file": binary([top(2), b"\x51a", b"\xaf\x13" + b"\x7f" * 8]),
    "data larger than the file": binary([top(2), b"\x51a", b"\x4f\x13" + b"\x7f" * 8]),
    "a reference to nothing": binary([top(9), b"\x51a"]),
    "a key that is no text": binary([b"\xd1\x00\x01\x00\x01", b"\x10\x01"]),
    "null": binary([top(2), b"\x51a", b"\x00"]),
    "a UID": binary([top(2), b"\x51a", b"\x80\x01"]),
    "an integer of 128 bits": binary([top(2), b"\x51a", b"\x14" + b"\x7f" * 16]),
    "a size that is no integer": binary([top(2), b"\x51a", b"\x4f\x51a"]),
    "a date out of range": binary([top(2), b"\x51a", b"\x33" + struct.pack(">d", 1e300)]),
    "a date that is no number": binary([top(2), b"\x51a", b"\x33" + struct.pack(">d", float("nan"))]),
    "a table outside": b"bplist00\xd0" + struct.pack(">6xBBQQQ", 1, 1, 1, 0, 1 << 60),
    "a huge count": b"bplist00\xd0\x08" + struct.pack(">6xBBQQQ", 1, 1, 1 << 62, 0, 9),
    "sizes of zero": b"bplist00\xd0\x08" + struct.pack(">6xBBQQQ", 0, 0, 1, 0, 9),
}


@pytest.mark.parametrize("data", HARMFUL.values(), ids=HARMFUL.keys())
def test_a_harmful_binary_document_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedRequest):
        loads(data)


def test_texts_cannot_be_read_again_and_again() -> None:
    size = 4000
    body = b"bplist00" + b"\x4f\x11\x07\xd0" * 1000  # data of 2 000 bytes begins at every fourth byte
    places = list(range(8, 8 + size // 2, 4))
    start = len(body)
    body += array(*range(1, len(places) + 1))
    table = b"".join(place.to_bytes(4, "big") for place in [start, *places])
    data = body + table + struct.pack(">6xBBQQQ", 4, 2, len(places) + 1, 0, len(body))
    with pytest.raises(MalformedRequest, match="overlap"):
        loads(data)


def test_a_shared_text_is_read_once() -> None:
    tree = {"a": ["x" * 500] * 500}
    assert loads(plistlib.dumps(tree, fmt=plistlib.FMT_BINARY)) == tree


@pytest.mark.parametrize("form", [plistlib.FMT_XML, plistlib.FMT_BINARY])
def test_nesting_is_accepted_up_to_the_limit(form: Any) -> None:
    tree: Any = "x"
    for _ in range(MAX_DEPTH - 1):
        tree = [tree]
    assert loads(plistlib.dumps({"a": tree}, fmt=form)) == {"a": tree}
    with pytest.raises(MalformedRequest, match="nested"):
        loads(plistlib.dumps({"a": [tree]}, fmt=form))


def test_comments_do_not_hide_nesting() -> None:
    deep = b"<key>a</key><dict><!-- </dict> -->" * 100 + b"</dict>" * 100
    with pytest.raises(MalformedRequest, match="nested"):
        loads(b"<plist><dict>" + deep + b"</dict></plist>")


def test_markup_within_text_is_no_nesting() -> None:
    data = (
        b"<plist><dict><key>a</key><string><![CDATA["
        + b"<dict>" * 100
        + b"</plist>]]></string></dict></plist>"
    )
    assert loads(data, trailing=False) == {"a": "<dict>" * 100 + "</plist>"}


def test_the_number_of_values_is_limited() -> None:
    with pytest.raises(MalformedRequest, match="more than"):
        loads(b"<plist><array>" + b"<true/>" * MAX_NODES + b"</array></plist>")


@pytest.mark.parametrize(
    "head",
    [
        b'<!DOCTYPE plist [<!ENTITY a "b">]>',
        b'<!-- <plist> --><!DOCTYPE plist [<!ENTITY a "b">]>',
        b'<!DOCTYPE plist [<!ENTITY % a "b"> %a;]>',
        b'<!DOCTYPE plist [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE plist [<!ATTLIST key a CDATA "b">]>',
        b"<!DOCTYPE plist [<!ELEMENT key ((a))>]>",
        b'<?xml version="1.0" encoding="ISO-8859-1"?>',
        b'<?xml version="1.0" encoding="unicode_escape"?>',
        b'<?xml version="1.0" encoding="nonsense"?>',
    ],
)
def test_a_document_type_or_encoding_that_could_do_harm_is_refused(head: bytes) -> None:
    data = head + b'<plist version="1.0"><dict><key>a</key><string>b</string></dict></plist>'
    assert parse_flat(data) is None
    with pytest.raises(MalformedRequest):
        loads(data)


@pytest.mark.parametrize(
    "body",
    [
        "<key>a</key><true/><key>a</key><false/>",
        "<key>Command</key><dict><key>a</key><true/><key>a</key><false/></dict>",
        "<key>a</key><true/><key>&#97;</key><false/>",
        "<key>Command</key><dict/><key>Command</key><dict/>",
    ],
)
def test_a_key_that_stands_twice_is_refused_where_that_matters(body: str) -> None:
    data = f'<plist version="1.0"><dict>{body}</dict></plist>'.encode()
    assert loads(data) == library(data)
    assert parse_flat(data, "Command") is None
    with pytest.raises(MalformedRequest, match="twice"):
        loads(data, distinct=True)
    deep = (
        f'<plist version="1.0"><dict><key>a</key><array><dict>{body}</dict></array></dict></plist>'.encode()
    )
    assert loads(deep, distinct=True) == library(deep)


def test_a_key_that_stands_twice_in_a_binary_document_is_refused_where_that_matters() -> None:
    objects = [b"\xd2\x01\x01\x02\x03", b"\x51a", b"\x08", b"\x09"]
    data = b"bplist00" + b"".join(objects)
    offsets = bytes([8, 13, 15, 16])
    data += offsets + struct.pack(">6xBBQQQ", 1, 1, 4, 0, 17)
    assert loads(data) == {"a": True}
    with pytest.raises(MalformedRequest, match="twice"):
        loads(data, distinct=True)


def test_an_external_document_type_is_not_fetched() -> None:
    data = (
        b'<!DOCTYPE plist SYSTEM "http://127.0.0.1:1/x.dtd"><plist><dict><key>a</key><true/></dict></plist>'
    )
    assert loads(data) == {"a": True}


@pytest.mark.parametrize(
    "body",
    [
        b"<dict/><dict/>",
        b"<dict><string>a</string></dict>",
        b"<dict><key>a</key></dict>",
        b"<dict><key>a</key><key>b</key><true/></dict>",
        b"<dict><key>a</key><string>x<b/></string></dict>",
        b"<dict><key>a</key><other/></dict>",
        b"<dict><key>a</key><plist><true/></plist></dict>",
        b"<dict><key>a</key><integer></integer></dict>",
        b"<dict><key>a</key><integer>18446744073709551616</integer></dict>",
        b"<dict><key>a</key><real>x</real></dict>",
        b"<dict><key>a</key><data>A</data></dict>",
        b"<dict><key>a</key><data>@@</data></dict>",
        b"<dict><key>a</key><data>AA==AA==</data></dict>",
        b"<dict>text<key>a</key><true/></dict>",
        b"<dict><key>a</key>text<true/></dict>",
        b"<dict><key>a</key><true/>text</dict>",
        b"<dict/>text",
        b"<dict><key>a</key><date>yesterday</date></dict>",
        b"<key>a</key>",
        b"text",
    ],
)
def test_what_is_not_well_formed_is_refused(body: bytes) -> None:
    data = b'<plist version="1.0">' + body + b"</plist>"
    assert parse_flat(data) is None
    with pytest.raises(MalformedRequest):
        loads(data)


@pytest.mark.parametrize("space", [b"\n", b" ", b"\r\n\t"])
def test_white_space_may_come_before_a_document(space: bytes) -> None:
    assert loads(space + plistlib.dumps({"a": b"12"})) == {"a": b"12"}


@pytest.mark.parametrize("name", ["Anna\u2019s iPhone", "\U0001f600", "a\tb\nc", "~", ""])
def test_the_short_cut_takes_names_as_people_give_them(name: str) -> None:
    report = {"UDID": "U", "Status": "Acknowledged", "Name": name, "List": [{name: 1.5}]}
    assert parse_flat(plistlib.dumps(report)) == {**report, "List": []}
