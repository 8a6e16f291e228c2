"""JSON replies in the form of MicroMDM.

Two spaces of indent, a final newline, ``<``, ``>`` and ``&`` escaped.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime

__all__ = ["UNSET_TIME", "base64_text", "escape_json", "json_reply", "json_time", "rfc3339"]

UNSET_TIME = "0001-01-01T00:00:00Z"
"""What stands for a time that is not set; Go clients cannot read an empty text."""


def json_reply(document: Mapping[str, object]) -> bytes:
    """A reply document as bytes; a lone surrogate, which UTF-8 cannot carry, becomes a question mark."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return (escape_json(text) + "\n").encode("utf-8", "replace")


def escape_json(text: str) -> str:
    """Escape what could be read as markup; the value of the document stays the same."""
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
    """RFC 3339 in UTC with `Z` and milliseconds: the times of what MicroMDM does not have."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def json_time(at: datetime | None) -> str:
    """RFC 3339 in UTC with `Z` and no trailing zeros; `UNSET_TIME` for None."""
    if at is None:
        return UNSET_TIME
    text = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{at.microsecond:06}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"
