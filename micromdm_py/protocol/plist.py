"""Property lists from strangers: read with limits, written compactly.

`plistlib` does the reading. Around it stand the limits it lacks: no declared entities (they can grow
without end), a bound on nesting, and one error type. `parse_flat` is a strict short cut for the small flat
documents that devices send with every connect; whatever it does not recognise at once it leaves to
`plistlib`.
"""

import binascii
import plistlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from xml.parsers.expat import ExpatError

from micromdm_py.errors import MalformedRequest

__all__ = ["dumps_compact", "dumps_indented", "ends_cleanly", "loads", "parse_flat"]

MAX_DEPTH = 64
"""Deepest nesting of arrays and dictionaries; a profile has about ten levels."""

_BINARY = b"bplist00"
_TOKEN = re.compile(rb"<(/?)(dict|array)(?:\s[^<>]*)?(/?)>")
_ENTITY = re.compile(rb"<!\s*ENTITY", re.IGNORECASE)
_UNENCODED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Value = Any  # a property list is a tree of str, int, float, bool, bytes, datetime, list and dict


def loads(data: bytes, *, trailing: bool = True) -> dict[str, Value]:
    """Read a property list whose top is a dictionary.

    Args:
        data: XML (declaration and document type may be missing) or binary.
        trailing: accept bytes after the closing tag, as MicroMDM does for device messages; when false, only
            white space and comments may follow.
    Raises: MalformedRequest, whatever is wrong.
    """
    try:
        value = _binary(data) if data.startswith(_BINARY) else _xml(data, trailing)
    except MalformedRequest:
        raise
    except (
        ExpatError,
        plistlib.InvalidFileException,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
    ) as fault:
        raise MalformedRequest(f"not a property list: {fault}") from None
    except (AttributeError, RecursionError, MemoryError, binascii.Error):
        # what plistlib lets through for documents that no property list writer makes
        raise MalformedRequest("not a property list") from None
    if not isinstance(value, dict):
        raise MalformedRequest("the top of the property list is not a dictionary")
    for key in value:
        if not isinstance(key, str):
            raise MalformedRequest("a key of the property list is not a string")
    return value


def _xml(data: bytes, trailing: bool) -> Value:
    start = data.find(b"<plist")
    if start < 0:
        raise MalformedRequest("not a property list: no <plist> element")
    if _ENTITY.search(data, 0, start):
        raise MalformedRequest("a property list must not declare entities")
    end = data.find(b"</plist", start)
    stop = data.find(b">", end) + 1 if end >= 0 else 0
    if not stop:
        raise MalformedRequest("not a property list: it is incomplete")
    if trailing:
        data = data[:stop]
    _check_depth(data)
    return plistlib.loads(data, fmt=plistlib.FMT_XML)


def _check_depth(data: bytes) -> None:
    depth = 0
    for found in _TOKEN.finditer(data):
        if found[1]:
            depth -= 1
        elif not found[3]:
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedRequest(f"property list is nested deeper than {MAX_DEPTH}")


def _binary(data: bytes) -> Value:
    """Read a binary property list.

    Shared objects may make a small file a huge tree, so the tree is bounded too.
    """
    value = plistlib.loads(data, fmt=plistlib.FMT_BINARY)
    budget = len(data) + 1024
    stack = [(value, 1)]
    while stack:
        node, depth = stack.pop()
        budget -= 1
        if depth > MAX_DEPTH or budget < 0:
            raise MalformedRequest(f"property list is nested deeper than {MAX_DEPTH} or repeats itself")
        if isinstance(node, dict):
            stack.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            stack.extend((child, depth + 1) for child in node)
    return value


# --- the short cut ---

_HEAD = re.compile(
    rb'\A(?:<\?xml version="1\.0" encoding="(?:UTF-8|utf-8)"\?>[ \t\r\n]*)?'
    rb'(?:<!DOCTYPE plist PUBLIC "-//Apple(?: Computer)?//DTD PLIST 1\.0//EN" '
    rb'"[\x21\x23-\x3b\x3d\x3f-\x7e]*">[ \t\r\n]*)?'
    rb'<plist version="1\.0">[ \t\r\n]*<dict>[ \t\r\n]*'
)
_PLAIN = rb"[\t\n\x20-\x25\x27-\x3b\x3d\x3f-\x7e]*+"
_KEY = rb"<key>[\x20-\x25\x27-\x3b\x3d\x3f-\x7e]*+</key>[ \t\r\n]*+"
_SCALAR = (
    rb"(?:<string>" + _PLAIN + rb"</string>|<true/>|<false/>|<integer>-?[0-9]{1,18}</integer>"
    rb"|<real>-?[0-9]{1,15}(?:\.[0-9]{1,15})?</real>|<string/>)[ \t\r\n]*+"
)
_PAIR = re.compile(
    rb"<key>([\x20-\x25\x27-\x3b\x3d\x3f-\x7e]*+)</key>[ \t\r\n]*+"
    rb"(?:<string>(" + _PLAIN + rb")</string>|<(true|false)/>|<integer>(-?[0-9]{1,18})</integer>"
    rb"|<string/>|(<dict>|<array>))[ \t\r\n]*+"
)
_DICT_RUN = re.compile(
    rb"(?:" + _KEY + _SCALAR + rb")*+(?:(" + _KEY + rb")?+(<dict>|<array>|</dict>)[ \t\r\n]*+)"
)
_ARRAY_RUN = re.compile(rb"(?:" + _SCALAR + rb")*+(?:()(<dict>|<array>|</array>)[ \t\r\n]*+)")
_DICT_END = re.compile(rb"</dict>[ \t\r\n]*+")
_TAIL = re.compile(rb"</dict>[ \t\r\n]*</plist>")


def parse_flat(data: bytes, inner: str = "") -> dict[str, Value] | None:
    """Read the plain values of a plain document: ASCII strings, booleans and integers at the top.

    Arrays and dictionaries are checked to be well formed and come out empty: what a server needs of a report
    is at the top, and the report itself is kept as received.

    Args:
        data: the document.
        inner: a key of the top whose dictionary is read the same way.

    Returns: what `loads` gives but for the empty containers, or None for a document that is not so plain;
        then `loads` has to look.
    """
    head = _HEAD.match(data)
    if head is None:
        return None
    found: dict[str, Value] = {}
    position = _pairs(data, head.end(), found, inner)
    return found if position > 0 and _TAIL.match(data, position) else None


def _pairs(data: bytes, position: int, found: dict[str, Value], inner: str) -> int:
    """Read pairs of key and value into `found`; returns where they end, -1 when one is not plain."""
    match_pair = _PAIR.match
    while (pair := match_pair(data, position)) is not None:
        name, text, flag, number, container = pair.groups()
        position, key = pair.end(), name.decode("ascii")
        if text is not None:
            found[key] = text.decode("ascii")
        elif container is not None:
            position = _container(data, position, container, found, key, key == inner)
            if position < 0:
                return -1
        elif flag is not None:
            found[key] = flag == b"true"
        else:
            found[key] = int(number) if number is not None else ""
    return position


def _container(
    data: bytes, position: int, opened: bytes, found: dict[str, Value], key: str, wanted: bool
) -> int:
    """Read or skip the array or dictionary that has just been opened; returns where it ends, or -1."""
    if opened == b"<array>" or not wanted:
        found[key] = {} if opened == b"<dict>" else []
        return _skip(data, position, opened)
    found[key] = {}
    position = _pairs(data, position, found[key], "")
    closing = _DICT_END.match(data, position) if position > 0 else None
    return closing.end() if closing else -1


def _skip(data: bytes, position: int, opened: bytes) -> int:
    """The position behind a container that has just been opened, -1 when something in it is not plain."""
    stack = [opened]
    while stack:
        in_dict = stack[-1] == b"<dict>"
        run = (_DICT_RUN if in_dict else _ARRAY_RUN).match(data, position)
        if run is None or len(stack) > MAX_DEPTH:
            return -1
        key, tag = run.groups()
        if tag.startswith(b"</"):
            if key:
                return -1
            stack.pop()
        else:
            if in_dict and not key:
                return -1
            stack.append(tag)
        position = run.end()
    return position


def ends_cleanly(data: bytes) -> bool:
    """Whether only white space follows the closing tag of a document that `parse_flat` has read."""
    return data.rstrip().endswith(b"</plist>")


# --- writing ---


def dumps_compact(value: Mapping[str, Value]) -> bytes:
    """Write an XML property list on one line, keys sorted, as commands are queued.

    Integers of 64 bits are exact; a character that XML cannot carry becomes U+FFFD.

    Raises: MalformedRequest for a value no property list can hold.
    """
    return _dumps(value, "", "")


def dumps_indented(value: Mapping[str, Value]) -> bytes:
    """Write an XML property list for people: two spaces a level, keys sorted, data on one line.

    Raises: MalformedRequest for a value no property list can hold.
    """
    return _dumps(value, "\n", "  ")


_PROLOG = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"'
    ' "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">'
)


def _dumps(value: Mapping[str, Value], newline: str, indent: str) -> bytes:
    parts = [_PROLOG, newline]
    try:
        _write(value, parts.append, newline, indent)
    except (TypeError, ValueError, RecursionError) as fault:
        raise MalformedRequest(f"cannot be written as a property list: {fault}") from None
    parts.append(newline + "</plist>\n")
    return "".join(parts).encode("utf-8", "replace")


def _write(value: Value, put: Callable[[str], None], newline: str, indent: str) -> None:
    """Write one value; `newline` is a line end with the indentation of the level, or empty."""
    inner = newline and newline + indent
    if isinstance(value, Mapping):
        put("<dict>")
        for key in sorted(value):
            put(f"{inner}<key>{_escape(key)}</key>{inner}")
            _write(value[key], put, inner, indent)
        put(f"{newline}</dict>")
    elif isinstance(value, list | tuple):
        put("<array>")
        for item in value:
            put(inner)
            _write(item, put, inner, indent)
        put(f"{newline}</array>")
    else:
        put(_scalar(value))


def _scalar(value: Value) -> str:
    if isinstance(value, str):
        return f"<string>{_escape(value)}</string>"
    if isinstance(value, bool):
        return "<true/>" if value else "<false/>"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise ValueError("integer beyond 64 bits")
        return f"<integer>{value}</integer>"
    if isinstance(value, float):
        return f"<real>{value!r}</real>"
    if isinstance(value, bytes):
        return f"<data>{binascii.b2a_base64(value, newline=False).decode()}</data>"
    if isinstance(value, datetime):
        return f"<date>{value:%Y-%m-%dT%H:%M:%SZ}</date>"
    raise TypeError(f"{type(value).__name__} is no property list value")


def _escape(text: str) -> str:
    text = _UNENCODED.sub("\ufffd", text)
    # a carriage return would come back as a line feed from any XML parser
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
