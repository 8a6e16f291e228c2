"""A raw command from words: ``EraseDevice pin=123456 return_to_service.enabled=true``.

A key is a path of names, in any spelling of the schema, parted by dots; a number counts the elements of an
array of dictionaries (``settings.0.item=DeviceName``). An array of plain values is given by repeating its
key.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.commands.convert import Findings, convert_fields
from micromdm_py.protocol.commands.schema import Key, Keys, command_keys, request_types
from micromdm_py.protocol.ids import check_command_uuid
from micromdm_py.protocol.plist import dumps_indented

__all__ = ["WrongKeys", "generate"]

MAX_INDEX = 1000

Given = dict[str, Any]  # the JSON form of a command, as it is being put together


class WrongKeys(MalformedField):
    """Several keys are wrong; `faults` has a line for each."""

    def __init__(self, faults: list[str]) -> None:
        """Keep every fault."""
        super().__init__("command", "; ".join(faults))
        self.faults = faults


def generate(
    request_type: str, words: Iterable[str], uuid: str, read_file: Callable[[str], bytes]
) -> tuple[bytes, list[str]]:
    """Make the property list of a command.

    Args:
        request_type: kind of the command.
        words: ``key=value`` each; the value of a data key is base64, or ``@`` and the name of a file.
        uuid: its CommandUUID.
        read_file: reads a named file.
    Returns: the property list, and the required keys that are missing.
    Raises: MalformedField for an unknown request type; WrongKeys naming every wrong word.
    """
    if request_type not in request_types():
        raise MalformedField("request_type", f"unknown RequestType: {request_type}")
    keys, given, faults = command_keys(request_type), Given(), list[str]()
    for word in words:
        path, sign, value = word.partition("=")
        try:
            if not sign:
                raise MalformedField(word, "must be key=value")
            _place(given, keys, path.split("."), value, path, read_file)
        except MalformedField as fault:
            faults.append(str(fault))
    if faults:
        raise WrongKeys(faults)
    findings = Findings()
    command = convert_fields(given, keys, findings)
    check_command_uuid("CommandUUID", uuid)
    plist = {"Command": {"RequestType": request_type, **command}, "CommandUUID": uuid}
    return dumps_indented(plist), findings.missing


def _place(
    given: Given, keys: Keys, path: list[str], value: str, shown: str, read_file: Callable[[str], bytes]
) -> None:
    """Put one value where its path leads. Raises: MalformedField."""
    key = keys.find(path[0])
    if key is None:
        known = ", ".join(k.lead for k in keys.all) or "none"
        raise MalformedField(shown, f"no such key; known here: {known}")
    rest = path[1:]
    if key.type == "array":
        _place_in_array(given, key, rest, value, shown, read_file)
    elif key.type == "any":
        _place_anything(given.setdefault(key.lead, {}), rest, value, shown)
    elif key.keys is not None:
        if not rest:
            raise MalformedField(shown, "is a dictionary: name a key in it after a dot")
        _place(given.setdefault(key.lead, {}), key.keys, rest, value, shown, read_file)
    elif rest:
        raise MalformedField(shown, f"{key.lead} holds no other keys")
    else:
        given[key.lead] = _scalar(key, value, shown, read_file)


def _place_in_array(
    given: Given, key: Key, rest: list[str], value: str, shown: str, read_file: Callable[[str], bytes]
) -> None:
    elements = given.setdefault(key.lead, [])
    inner = key.item.keys if key.item is not None else None
    if inner is None and key.variants is None:
        item = key.item or key
        elements.append(_scalar(item, value, shown, read_file))
        return
    if len(rest) < 2 or not rest[0].isdigit() or int(rest[0]) > min(len(elements), MAX_INDEX):
        raise MalformedField(shown, f"name an element by its number, counted from 0: {key.lead}.0.…")
    if int(rest[0]) == len(elements):
        elements.append({})
    element = elements[int(rest[0])]
    if key.variants is not None:
        if rest[1].lower() == "item":
            if value not in key.variants:
                raise MalformedField(shown, f"no such setting; known: {', '.join(key.variants)}")
            element["item"] = value
            return
        inner = key.variants.get(element.get("item", ""))
    if inner is None:
        raise MalformedField(shown, f"give {key.lead}.{rest[0]}.item first")
    _place(element, inner, rest[1:], value, shown, read_file)


def _place_anything(given: Given, rest: list[str], value: str, shown: str) -> None:
    if not rest:
        raise MalformedField(shown, "is a dictionary: name a key in it after a dot")
    for name in rest[:-1]:
        given = given.setdefault(name, {})
    given[rest[-1]] = {"true": True, "false": False}.get(value, value)


def _scalar(key: Key, value: str, shown: str, read_file: Callable[[str], bytes]) -> Any:
    """The JSON form of a value, by the type of its key."""
    if key.type == "boolean":
        if value not in ("true", "false"):
            raise MalformedField(shown, "must be true or false")
        return value == "true"
    if key.type in ("integer", "digits") or (key.type == "integer or string" and value.isdigit()):
        try:
            return int(value)
        except ValueError:
            raise MalformedField(shown, "must be an integer") from None
    if key.type == "data" and value.startswith("@"):
        try:
            return base64.b64encode(read_file(value[1:])).decode()
        except OSError as fault:
            raise MalformedField(shown, f"{value[1:]}: {fault.strerror}") from None
    return value
