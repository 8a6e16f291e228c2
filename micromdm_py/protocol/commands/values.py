"""Converting JSON values to property list values, one type at a time."""

import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.plist import MAX_DEPTH, loads, xml_text

__all__ = ["SCALARS", "any_dictionary", "any_members", "any_value", "is_empty", "zero"]

Json = Any  # a JSON value
Value = Any  # a property list value

MAX_NAME_CHARS = 100
"""How much of a caller's name an error text repeats."""

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


def _string(path: str, value: Json) -> str:
    if not isinstance(value, str):
        raise MalformedField(path, "must be a string")
    return xml_text(value)


def _boolean(path: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise MalformedField(path, "must be true or false")
    return value


def _integer(path: str, value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedField(path, "must be an integer")
    if not _LOW <= value <= _HIGH:
        raise MalformedField(path, "is beyond 64 bits")
    return value


def _real(path: str, value: Json) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise MalformedField(path, "must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise MalformedField(path, "is too large a number")
    return number


def _data(path: str, value: Json) -> bytes:
    if not isinstance(value, str):
        raise MalformedField(path, "must be base64 text")
    try:
        text = value.replace("\r", "").replace("\n", "")
        found = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise MalformedField(path, "is not standard base64") from None
    if len(text) % 4:
        raise MalformedField(path, "is not standard base64")
    return found


def _digits(path: str, value: Json) -> int | str:
    """An integer, or the string of digits that older callers send; "" stays as it is."""
    if isinstance(value, str):
        if value == "":
            return value
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise MalformedField(path, "must be an integer")
        return int(value)
    return _integer(path, value)


def _integer_or_string(path: str, value: Json) -> int | str:
    return xml_text(value) if isinstance(value, str) else _integer(path, value)


SCALARS: dict[str, Callable[[str, Json], Value]] = {
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "real": _real,
    "data": _data,
    "digits": _digits,
    "integer or string": _integer_or_string,
}
"""Readers of (path of the field, JSON value); each raises MalformedField."""

_ZERO: dict[str, Value] = {
    "string": "",
    "boolean": False,
    "integer": 0,
    "data": b"",
    "array": (),
    "dictionary": {},
}


def zero(kind: str) -> Value:
    """The empty value of a type."""
    found = _ZERO[kind]
    return list(found) if kind == "array" else found


def is_empty(value: Value) -> bool:
    """Whether a value is false, 0, "", [] or b""; a dictionary never counts as empty."""
    return not value and not isinstance(value, dict)


def any_dictionary(path: str, value: Json) -> dict[str, Value] | None:
    """A dictionary with any keys, from an object or from base64 of a property list; None from "".

    Raises: MalformedField.
    """
    if isinstance(value, str):
        if not value:
            return None
        try:
            return loads(_data(path, value), trailing=False)
        except MalformedField:
            raise
        except MalformedRequest as fault:
            raise MalformedField(path, str(fault)) from None
    if not isinstance(value, dict):
        raise MalformedField(path, "must be an object or base64 of a property list")
    found = any_value(path, value)
    if not isinstance(found, dict):
        raise MalformedField(path, "must be a dictionary")
    return found


def any_value(path: str, value: Json, depth: int = 1) -> Value:
    """Convert a value without a schema.

    ``{"$data": …}`` becomes data and ``{"$date": …}`` a date; members that are null are left out.

    Args:
        path: its path, for error texts.
        value: the JSON value.
        depth: how many containers it is in.
    Raises: MalformedField.
    """
    if isinstance(value, str):
        return xml_text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _integer(path, value)
    if isinstance(value, float):
        return _real(path, value)
    if value is None:
        raise MalformedField(path, "must not be null")
    if depth > MAX_DEPTH:
        raise MalformedField(path, "is nested too deeply")
    if isinstance(value, list):
        return [any_value(f"{path}[{n}]", v, depth + 1) for n, v in enumerate(value)]
    mark = next(iter(value)) if len(value) == 1 else ""
    if mark in _MARKED:
        return _MARKED[mark](f"{path}.{mark}", value[mark])
    return any_members(path, value, depth)


def any_members(path: str, value: dict[str, Json], depth: int = 1) -> dict[str, Value]:
    """Convert the members of an object without a schema; arguments and errors as in `any_value`."""
    found = {}
    for name, inner in value.items():
        if inner is not None:
            if xml_text(name) != name:
                raise MalformedField(path, "has a key with a character that XML cannot carry")
            found[name] = any_value(f"{path}.{name[:MAX_NAME_CHARS]}", inner, depth + 1)
    return found


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _date(path: str, value: Json) -> datetime:
    """A date as property lists hold it: whole seconds of UTC, without time zone."""
    text = _string(path, value)
    try:
        if _RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC).replace(microsecond=0, tzinfo=None)
    except (ValueError, OverflowError):
        pass
    raise MalformedField(path, "is not an RFC 3339 time")


_MARKED: dict[str, Callable[[str, Json], Value]] = {"$data": _data, "$date": _date}
