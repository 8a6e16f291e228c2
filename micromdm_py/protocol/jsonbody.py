"""Reading JSON request bodies as MicroMDM's decoder does: keys in any case, the last duplicate wins."""

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
    """Read a request body that is a JSON object; `null` counts as an empty object.

    Args:
        body: UTF-8 without byte order mark.
        trailing: what to do about data after the object.
    Raises: MalformedField with the field `body`.
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
        raise MalformedField("body", "has a number with too many digits") from None
    if trailing == "refuse" and _skip_space(text, end) != len(text):
        raise MalformedField("body", "has data after the JSON value")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedField("body", "must be a JSON object")
    return value


def field(found: Mapping[str, Json], name: str, kind: type[T]) -> T | None:
    """The value of a field, named in any letter case; of several spellings the last counts.

    Args:
        found: the object.
        name: name of the field.
        kind: type that the value must have.
    Returns: the value, None when absent or null.
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
    """The bytes of a base64 field, which may contain white space; b"" when absent or null.

    Raises: MalformedField.
    """
    text = field(found, name, str) or ""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise MalformedField(_spelling(found, name), "is not base64") from None


def strings(found: Mapping[str, Json], name: str) -> tuple[str, ...]:
    """The value of a field that is an array of strings; () when absent or null. Raises: MalformedField."""
    values = field(found, name, list) or []
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise MalformedField(f"{_spelling(found, name)}[{position}]", "must be a string")
    return tuple(values)


def _spelling(found: Mapping[str, Json], name: str) -> str:
    """How the caller spells a field: the last of several spellings, the name itself if it is absent."""
    folded = name.lower()
    return next((key for key in reversed(tuple(found)) if key.lower() == folded), name)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object in the order of each name's last use, so that the last spelling can be found."""
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
