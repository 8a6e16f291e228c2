"""JSON request bodies, read as MicroMDM's decoder does.

Keys without regard to letter case, the last duplicate wins.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from micromdm_py.errors import MalformedField

__all__ = ["data", "field", "read_object", "strings"]

Json = Any  # a JSON value: str, int, float, bool, None, list or dict
T = TypeVar("T")

_NAMES = {str: "a string", bool: "a boolean", int: "an integer", list: "an array", dict: "an object"}


def read_object(body: bytes, *, trailing: Literal["refuse", "ignore"]) -> dict[str, Json]:
    """Read the object that is the body of a request; `null` is an empty object.

    Args:
        body: UTF-8 without byte-order mark.
        trailing: what to do with data after the object.
    Raises: MalformedField for the field `body`.
    """
    try:
        text = body.decode()
        value, end = _DECODER.raw_decode(text, _skip_space(text, 0))
    except UnicodeDecodeError:
        raise MalformedField("body", "is not UTF-8") from None
    except RecursionError:
        raise MalformedField("body", "is nested too deeply") from None
    except json.JSONDecodeError as fault:
        raise MalformedField("body", f"is not JSON: {fault}") from None
    except ValueError:  # from `int`
        raise MalformedField("body", "holds a number with too many digits") from None
    if trailing == "refuse" and _skip_space(text, end) != len(text):
        raise MalformedField("body", "has data after the JSON value")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedField("body", "must be a JSON object")
    return value


def field(found: Mapping[str, Json], name: str, kind: type[T]) -> T | None:
    """A field by its name, without regard to letter case; of several spellings the last counts.

    None when absent or null.

    Raises: MalformedField in the caller's spelling when the value has another type.
    """
    key = _spelling(found, name)
    value = found.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise MalformedField(key, f"must be {_NAMES.get(kind, kind.__name__)}")
    return value


def data(found: Mapping[str, Json], name: str) -> bytes:
    """A field that is base64, which white space may break up; b"" when absent or null.

    Raises: MalformedField.
    """
    text = field(found, name, str) or ""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise MalformedField(_spelling(found, name), "is not base64") from None


def strings(found: Mapping[str, Json], name: str) -> tuple[str, ...]:
    """A field that is an array of strings; () when absent or null. Raises: MalformedField."""
    values = field(found, name, list) or []
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise MalformedField(f"{_spelling(found, name)}[{position}]", "must be a string")
    return tuple(values)


def _spelling(found: Mapping[str, Json], name: str) -> str:
    """How the caller spells a field; of several spellings the last, of none the name itself."""
    folded = name.lower()
    return next((key for key in reversed(tuple(found)) if key.lower() == folded), name)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object whose order is that of the last use of each name, so that the last spelling can be told."""
    found = dict(pairs)
    if len(found) != len(pairs):
        found = {name: found[name] for name in reversed(dict(reversed(pairs)))}
    return found


def _refuse(name: str) -> Json:
    raise MalformedField("body", f"is not JSON: {name}")


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_object)
_SPACE = " \t\n\r"


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position
