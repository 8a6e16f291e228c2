"""JSON replies in the form of MicroMDM.

Two spaces of indent, a final newline, ``<``, ``>`` and ``&`` escaped.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring as _quoted

__all__ = ["UNSET_TIME", "base64_text", "escape_json", "indented_json", "json_reply", "json_time", "rfc3339"]

UNSET_TIME = "0001-01-01T00:00:00Z"
"""Stands for a time that is not set; Go clients cannot read an empty string."""


def json_reply(document: Mapping[str, object]) -> bytes:
    """Encode a reply; a lone surrogate, which UTF-8 cannot carry, becomes a question mark."""
    return (indented_json(document) + "\n").encode("utf-8", "replace")


def indented_json(value: object) -> str:
    """JSON with two spaces of indent and markup escaped; `json.dumps` would take several times as long.

    Args:
        value: a tree of mappings with string keys, lists, tuples, strings, numbers, booleans and None.
    """
    return escape_json(_indented(value, "\n"))


def _indented(value: object, line: str) -> str:
    if isinstance(value, str):
        return _quoted(value)
    inner = line + "  "
    if isinstance(value, Mapping):
        parts = [f"{inner}{_quoted(key)}: {_indented(one, inner)}" for key, one in value.items()]
        return "{" + ",".join(parts) + line + "}" if parts else "{}"
    if isinstance(value, list | tuple):
        parts = [inner + _indented(one, inner) for one in value]
        return "[" + ",".join(parts) + line + "]" if parts else "[]"
    return json.dumps(value)


def escape_json(text: str) -> str:
    """Escape what could be read as markup; the document keeps its meaning."""
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text


_ESCAPES = (
    ("&", "\\u0026"),
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def base64_text(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode()


def rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC with `Z` and milliseconds, for fields that MicroMDM does not have."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def json_time(at: datetime | None) -> str:
    """RFC 3339 in UTC with `Z` and no trailing zeros, for MicroMDM's fields; `UNSET_TIME` for None."""
    if at is None:
        return UNSET_TIME
    text = at.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if at.microsecond else text) + "Z"
