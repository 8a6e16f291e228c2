"""The texts of flag values, read as Go reads them."""

import re

__all__ = ["parse_bool", "parse_float", "parse_int", "spoken_bool"]

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_OCTAL = re.compile(r"[+-]?0(_?[0-7])+")
_INT_MAX = 2**63 - 1


def parse_bool(text: str) -> bool:
    """Read one of Go's twelve spellings of a boolean. Raises: ValueError with Go's reason."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("parse error")


def spoken_bool(text: str) -> bool | None:
    """Read a boolean of the environment: true, yes, 1, false, no, 0 in any case; None for other words."""
    word = text.lower()
    if word in ("true", "yes", "1"):
        return True
    return False if word in ("false", "no", "0") else None


def parse_int(text: str) -> int:
    """Read a 64-bit number; ``0x``, ``0o``, ``0b`` and a leading 0 (octal) are understood, as in Go.

    Raises: ValueError with Go's reason.
    """
    try:
        if not text.isascii() or text != text.strip():
            raise ValueError
        number = int(text.replace("_", ""), 8) if _OCTAL.fullmatch(text) else int(text, 0)
    except ValueError:
        raise ValueError("parse error") from None
    if not -_INT_MAX - 1 <= number <= _INT_MAX:
        raise ValueError("value out of range")
    return number


def parse_float(text: str) -> float:
    """Read a number with a fraction; infinite and undefined ones are refused. Raises: ValueError."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError("parse error") from None
    if number - number != 0:
        raise ValueError("value out of range")
    return number
