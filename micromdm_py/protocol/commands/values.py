"""JSON values to property list values, one type at a time."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.plist import loads

__all__ = ["SCALARS", "any_dictionary", "any_value", "is_empty", "zero"]

Json = Any  # a JSON value
Value = Any  # a property list value

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


def _string(path: str, value: Json) -> str:
    if not isinstance(value, str):
        raise MalformedField(path, "must be a string")
    return value


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
    return float(value)


def _data(path: str, value: Json) -> bytes:
    if not isinstance(value, str):
        raise MalformedField(path, "must be base64 text")
    try:
        return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedField(path, "is not standard base64") from None


def _digits(path: str, value: Json) -> int | str:
    """An integer, or a string of digits as older callers send it; an empty string is none."""
    if isinstance(value, str):
        if value == "":
            return value
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise MalformedField(path, "must be an integer")
        return int(value)
    return _integer(path, value)


def _integer_or_string(path: str, value: Json) -> int | str:
    return value if isinstance(value, str) else _integer(path, value)


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
    """Whether a value is false, 0, "", [] or no bytes; a dictionary never is."""
    return not value and not isinstance(value, dict)


def any_dictionary(path: str, value: Json) -> dict[str, Value] | None:
    """A dictionary of anything: an object, or base64 of a property list; "" gives None.

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


def any_value(path: str, value: Json) -> Value:
    """A value as it is; ``{"$data": …}`` is data, ``{"$date": …}`` a date, members with null are left out.

    Raises: MalformedField.
    """
    if isinstance(value, dict):
        if len(value) == 1:
            ((name, inner),) = value.items()
            if name == "$data":
                return _data(f"{path}.$data", inner)
            if name == "$date":
                return _date(f"{path}.$date", inner)
        return {k: any_value(f"{path}.{k}", v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [any_value(f"{path}[{n}]", v) for n, v in enumerate(value)]
    if value is None:
        raise MalformedField(path, "must not be null")
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(path, value)
    return value


def _date(path: str, value: Json) -> datetime:
    try:
        found = datetime.fromisoformat(_string(path, value))
    except ValueError:
        raise MalformedField(path, "is not an RFC 3339 time") from None
    return found.astimezone(UTC) if found.tzinfo else found
