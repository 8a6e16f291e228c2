"""Making a raw command from words: ``EraseDevice pin=123456 return_to_service.enabled=true``.

A key is a path of names, in any spelling of the schema, separated by dots; a number selects an element of an
array of dictionaries (``settings.0.item=DeviceName``). An array of plain values is given by repeating its
key. Unlike the JSON API, which keeps MicroMDM's habits, this sends exactly what is given.
"""

import base64
import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.commands.schema import Key, Keys, command_keys, request_types
from micromdm_py.protocol.commands.values import SCALARS, any_dictionary, any_members
from micromdm_py.protocol.ids import check_command_uuid
from micromdm_py.protocol.jsonbody import read_object
from micromdm_py.protocol.plist import dumps_indented

__all__ = ["WrongKeys", "generate"]

_INTEGER = re.compile("-?[0-9]{1,19}")

Command = dict[str, Any]  # part of the property list, as it is being put together
ReadFile = Callable[[str], bytes]


class WrongKeys(MalformedField):
    """Several keys are wrong; `faults` has a line for each."""

    def __init__(self, faults: list[str]) -> None:
        """Keep every fault."""
        super().__init__("command", "; ".join(faults))
        self.faults = faults


def generate(
    request_type: str, words: Iterable[str], uuid: str, read_file: ReadFile
) -> tuple[bytes, list[str]]:
    """Make the property list of a command.

    Args:
        request_type: its RequestType.
        words: ``key=value`` each. Data is given as base64, or as ``@`` and the name of a file. A dictionary
            without a schema is given as a JSON object, as ``@`` and the name of a file with a JSON object or
            a property list, or key by key.
        uuid: its CommandUUID.
        read_file: reads the file of that name.
    Returns: the property list, and the required keys that are missing.
    Raises: MalformedField for an unknown request type; WrongKeys naming every wrong word.
    """
    if request_type not in request_types():
        raise MalformedField("request_type", f"unknown RequestType: {request_type}{_hint(request_type)}")
    keys, command, faults = command_keys(request_type), Command(), list[str]()
    for word in words:
        path, sign, value = word.partition("=")
        try:
            if not sign:
                raise MalformedField(word, "must be key=value")
            _place(command, keys, path.split("."), _Given(path, value, read_file))
        except MalformedField as fault:
            faults.append(str(fault))
    if faults:
        raise WrongKeys(faults)
    check_command_uuid("CommandUUID", uuid)
    plist = {"Command": {"RequestType": request_type, **command}, "CommandUUID": uuid}
    return dumps_indented(plist), list(_missing(keys, command, ""))


def _hint(request_type: str) -> str:
    names = {name.lower(): name for name in request_types()}
    near = difflib.get_close_matches(request_type.lower(), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""


class _Given:
    """The value of one word, and how to read it; `path` is its key as given."""

    def __init__(self, path: str, text: str, read_file: ReadFile) -> None:
        self.path, self._text, self._read_file = path, text, read_file

    @property
    def text(self) -> str:
        return self._text

    def scalar(self, key: Key) -> Any:
        """The value for a key, by the key's type. Raises: MalformedField."""
        value: str | bool | int = self._text
        if key.type == "boolean":
            value = {"true": True, "false": False}.get(self._text, self._text)
        elif key.type in ("integer", "digits") and _INTEGER.fullmatch(self._text):
            value = int(self._text)
        elif key.type == "data" and self._text.startswith("@"):
            return self._file()
        found = SCALARS[key.type](self.path, value)
        if key.values and found not in key.values:
            raise MalformedField(self.path, f"must be one of {', '.join(map(str, key.values))}")
        return found

    def dictionary(self) -> Command:
        """A dictionary of anything. Raises: MalformedField."""
        data = self._file() if self._text.startswith("@") else self._text.encode("utf-8", "replace")
        if data.lstrip().startswith(b"{"):
            try:
                return any_members(self.path, read_object(data, trailing="refuse"))
            except MalformedField as fault:
                raise MalformedField(self.path, fault.reason) from None
        if not self._text.startswith("@"):
            raise self.fault("is a dictionary: name a key in it after a dot, or give JSON or @FILE")
        return any_dictionary(self.path, base64.b64encode(data).decode()) or {}

    def loose(self) -> str | bool:
        """The value for a key without a schema. Raises: MalformedField."""
        return {"true": True, "false": False}.get(self._text, self._text)

    def fault(self, reason: str) -> MalformedField:
        return MalformedField(self.path, reason)

    def _file(self) -> bytes:
        name = self._text[1:]
        try:
            return self._read_file(name)
        except (OSError, ValueError) as fault:
            reason = fault.strerror if isinstance(fault, OSError) else fault
            raise self.fault(f"{name}: {reason}") from None


def _place(command: Command, keys: Keys, path: list[str], given: _Given) -> None:
    """Put one value where its path leads. Raises: MalformedField."""
    name, *rest = path
    key = keys.find(name)
    if key is None:
        raise given.fault(f"no such key; known here: {', '.join(k.lead for k in keys.all) or 'none'}")
    if key.type == "array" and (key.variants is not None or (key.item is not None and key.item.keys)):
        _place_in_array(command.setdefault(key.name, []), key, rest, given)
    elif key.type == "array":
        if rest:
            raise given.fault(f"{name} holds no other keys")
        found = given.scalar(key.item) if key.item is not None else given.loose()
        command.setdefault(key.name, []).append(found)
    elif key.keys is not None and key.type != "any":
        if not rest:
            raise given.fault("is a dictionary: name a key in it after a dot")
        _place(command.setdefault(key.name, {}), key.keys, rest, given)
    elif key.type == "any" and rest:
        _place_anything(command.setdefault(key.name, {}), rest, given)
    elif rest:
        raise given.fault(f"{name} holds no other keys")
    elif key.name in command:
        raise given.fault("is given twice")
    else:
        command[key.name] = given.dictionary() if key.type == "any" else given.scalar(key)


def _place_in_array(elements: list[Command], key: Key, rest: list[str], given: _Given) -> None:
    number = int(rest[0]) if len(rest) > 1 and re.fullmatch("[0-9]{1,4}", rest[0]) else -1
    if not 0 <= number <= len(elements):
        raise given.fault(f"name an element by its number, counted from 0: {key.lead}.0.KEY")
    element = elements[number] if number < len(elements) else Command()
    keys = key.item.keys if key.item is not None else None
    if key.variants is not None:
        item = given.text if rest[1].lower() == "item" else element.get("Item")
        keys = key.variants.get(item or "")
        if item is None:
            raise given.fault(f"give {key.lead}.{number}.item first")
        if keys is None:
            raise given.fault(f"no such setting; known: {', '.join(key.variants)}")
    if keys is not None:
        _place(element, keys, rest[1:], given)
    if number == len(elements):
        elements.append(element)


def _place_anything(command: Command, rest: list[str], given: _Given) -> None:
    *outer, last = rest
    for name in outer:
        command = command.setdefault(name, {})
        if not isinstance(command, dict):
            raise given.fault(f"{name} is not a dictionary")
    if last in command:
        raise given.fault("is given twice")
    command.update(any_members(given.path, {last: given.loose()}))


def _missing(keys: Keys, command: Command, where: str) -> Iterator[str]:
    """Paths of the keys that Apple requires and the command lacks."""
    for key in keys.all:
        value = command.get(key.name)
        if value is None:
            if key.required:
                yield where + key.lead
        elif key.type == "dictionary" and key.keys is not None:
            yield from _missing(key.keys, value, f"{where}{key.lead}.")
        elif key.type == "array":
            for number, element in enumerate(value):
                inner = key.variants[element["Item"]] if key.variants else key.item and key.item.keys
                if inner:
                    yield from _missing(inner, element, f"{where}{key.lead}.{number}.")
