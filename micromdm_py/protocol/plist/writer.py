"""Property lists as XML, compact for devices or indented for people."""

import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.plist.limits import HIGHEST_INTEGER, LOWEST_INTEGER, MAX_DEPTH, Value

__all__ = ["NOT_IN_XML", "dumps_compact", "dumps_indented", "xml_text"]

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML 1.0 cannot carry."""

_PROLOG = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"'
    ' "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">'
)


def dumps_compact(value: Mapping[str, Value]) -> bytes:
    """Write an XML property list on one line with sorted keys, the form in which commands are queued.

    A character that XML cannot carry becomes U+FFFD. Apart from such characters and fractions of seconds,
    `loads` returns the same value.

    Raises: MalformedRequest for a value that no property list can hold, or nested deeper than `MAX_DEPTH`.
    """
    return _dumps(value, "", "")


def dumps_indented(value: Mapping[str, Value]) -> bytes:
    """Write an XML property list for people: two spaces per level, keys sorted, data on one line.

    Raises: as `dumps_compact`.
    """
    return _dumps(value, "\n", "  ")


def xml_text(text: str) -> str:
    """The text with U+FFFD for every character that XML cannot carry."""
    return NOT_IN_XML.sub("\ufffd", text)


def _dumps(value: Mapping[str, Value], newline: str, indent: str) -> bytes:
    parts = [_PROLOG, newline]
    try:
        _write(value, parts.append, newline, indent, 1)
    except (TypeError, ValueError, OverflowError) as fault:
        raise MalformedRequest(f"cannot be written as a property list: {fault}") from None
    parts.append(newline + "</plist>\n")
    return "".join(parts).encode()


def _write(value: Value, put: Callable[[str], None], newline: str, indent: str, depth: int) -> None:
    """Write one value; `newline` is a newline with this level's indentation, or "" for the compact form."""
    inner = newline and newline + indent
    if isinstance(value, str):
        put(f"<string>{_escape(value)}</string>")
    elif isinstance(value, Mapping | list | tuple) and depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    elif isinstance(value, Mapping):
        put("<dict>")
        for key in sorted(value):
            if NOT_IN_XML.search(key):  # two such keys could become one
                raise ValueError("a key has a character that XML cannot carry")
            put(f"{inner}<key>{_escape(key)}</key>{inner}")
            _write(value[key], put, inner, indent, depth + 1)
        put(f"{newline}</dict>")
    elif isinstance(value, list | tuple):
        put("<array>")
        for item in value:
            put(inner)
            _write(item, put, inner, indent, depth + 1)
        put(f"{newline}</array>")
    else:
        put(_scalar(value))


def _scalar(value: Value) -> str:
    if isinstance(value, bool):
        return "<true/>" if value else "<false/>"
    if isinstance(value, int):
        if not LOWEST_INTEGER <= value <= HIGHEST_INTEGER:
            raise ValueError("integer beyond 64 bits")
        return f"<integer>{value}</integer>"
    if isinstance(value, float):
        return f"<real>{value!r}</real>"
    if isinstance(value, bytes):
        return f"<data>{binascii.b2a_base64(value, newline=False).decode()}</data>"
    if isinstance(value, datetime):
        in_utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return f"<date>{in_utc.isoformat(timespec='seconds')}Z</date>"
    raise TypeError(f"{type(value).__name__} is not a property list value")


def _escape(text: str) -> str:
    """Escape text as MicroMDM does; not every parser preserves unescaped tabs and carriage returns."""
    return _ESCAPED.sub(_reference, text)


def _reference(found: re.Match[str]) -> str:
    return _REFERENCES.get(found[0], "\ufffd")


_REFERENCES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&#34;",
    "'": "&#39;",
    "\t": "&#x9;",
    "\r": "&#xD;",
}
_ESCAPED = re.compile("[^\n !#-%(-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
