"""Converting a command given as JSON to the property list for the device.

By default this is as permissive as MicroMDM: types are checked, but unknown fields are ignored (and reported
for the log) and required ones may be absent. Strict mode adds Apple's rules, see `strict`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.commands.schema import Key, Keys, command_keys, request_types
from micromdm_py.protocol.commands.values import (
    SCALARS,
    any_dictionary,
    any_members,
    any_value,
    is_empty,
    zero,
)
from micromdm_py.protocol.ids import check_command_uuid
from micromdm_py.protocol.jsonbody import read_object
from micromdm_py.protocol.plain import as_json
from micromdm_py.protocol.plist import dumps_compact

__all__ = ["OPTIONS", "Findings", "NewCommand", "convert_fields", "convert_json"]

Json = Any  # a JSON value
Value = Any  # a property list value


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A converted command.

    Attributes:
        udid: the device, as given.
        command_uuid: as given, or a new one.
        request_type: its RequestType.
        payload: the property list.
        echo: the command under the API's names, for the reply.
        ignored_fields: paths of unknown fields, which were left out.
        options: how to queue it, by the names in `OPTIONS`, as given.
    """

    udid: str
    command_uuid: str
    request_type: str
    payload: bytes = field(repr=False)
    echo: dict[str, object] = field(repr=False)
    ignored_fields: tuple[str, ...]
    options: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class Findings:
    """What a conversion has noticed; only strict mode objects to it.

    Attributes:
        unknown: paths of unknown fields.
        ignored: those of them that do not reach the device.
        outside: (path, allowed values) of values outside their list.
        missing: paths of required fields that are absent.
    """

    unknown: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    outside: list[tuple[str, tuple[Value, ...]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def convert_json(body: bytes, *, strict: bool, make_uuid: Callable[[], str]) -> NewCommand:
    """Convert the body of a "new command" request.

    Args:
        body: a JSON object with `udid`, `request_type`, perhaps `command_uuid`, and the fields of the
            command.
        strict: apply Apple's rules too.
        make_uuid: returns a UUID for a command that has none.
    Raises: MalformedField with the path in the caller's spelling, or `body` for an error of the whole body.
    """
    return convert_fields(read_object(body, trailing="refuse"), strict=strict, make_uuid=make_uuid)


def convert_fields(fields: dict[str, Json], *, strict: bool, make_uuid: Callable[[], str]) -> NewCommand:
    """`convert_json` for a body that has already been read; leaves only the command's keys in `fields`."""
    options = _take_options(fields)
    envelope = _take_envelope(fields)
    kind = envelope["request_type"]
    if kind not in request_types():
        raise MalformedField("request_type", f"unknown RequestType: {kind}")
    if not envelope["udid"]:
        raise MalformedField("udid", "request must contain UDID of the device")
    findings = Findings()
    try:
        command, echo = _dictionary(fields, command_keys(kind), "", findings)
        if strict:
            from micromdm_py.protocol.commands.strict import check  # only where it is asked for

            check(kind, command, findings, fields)
        uuid = envelope["command_uuid"]
        uuid = check_command_uuid("command_uuid", uuid) if uuid.strip() else make_uuid()
        payload = dumps_compact({"Command": {"RequestType": kind, **command}, "CommandUUID": uuid})
    except MalformedField:
        raise
    except MalformedRequest as fault:
        raise MalformedField("body", str(fault)) from None
    echo = {"request_type": kind, **_SHOWN_UNSET.get(kind, {}), **echo}
    return NewCommand(envelope["udid"], uuid, kind, payload, echo, tuple(findings.ignored), options)


_SHOWN_UNSET: dict[str, dict[str, object]] = {
    "DeviceLock": {"pin": ""},
    "RotateFileVaultKey": {"filevault_unlock": {}},
}
"""Fields that MicroMDM's reply shows even when the command does not have them."""
_SETTING_SHOWN_UNSET = ("identifier", "configuration")
"""The same for every item of Settings, as null."""

OPTIONS = ("supersede", "group", "expires_at", "ttl", "from")
"""Fields that say how to queue a command; no command has keys with these names."""


def _take_options(fields: dict[str, Json]) -> dict[str, Json]:
    return {name.lower(): fields.pop(name) for name in list(fields) if name.lower() in OPTIONS}


def _take_envelope(fields: dict[str, Json]) -> dict[str, str]:
    """Take the three fields that surround the command out of a body; of several spellings the last counts."""
    found = {"udid": "", "request_type": "", "command_uuid": ""}
    for name in list(fields):
        if name.lower() in found:
            value = fields.pop(name)
            if value is not None and not isinstance(value, str):
                raise MalformedField(name, "must be a string")
            found[name.lower()] = value or ""
    return found


def _dictionary(
    given: dict[str, Json], keys: Keys, where: str, findings: Findings, *, is_open: bool = False
) -> tuple[dict[str, Value], dict[str, object]]:
    """Convert the members of an object; returns what goes to the device, and its echo."""
    values: dict[str, Value] = {}
    echo: dict[str, object] = {}
    for name, value in given.items():
        path = where + name
        key = keys.find(name)
        if key is None:
            if value is None:
                continue
            findings.unknown.append(path)
            if is_open:
                values.update(any_members(where.rstrip("."), {name: value}))
                echo[name] = as_json(values[name])
            else:
                findings.ignored.append(path)
        elif value is None:
            values.pop(key.name, None)
            echo.pop(key.lead, None)
        else:
            _one(key, value, path, findings, values, echo)
    for key in keys.all:
        if key.required and key.name not in values:
            findings.missing.append(where + key.lead)
        if key.empty == "keep" and key.name not in values:
            values[key.name] = zero(key.type)
            echo[key.lead] = None if key.type in ("array", "data") else as_json(values[key.name])
    return values, echo


def _one(
    key: Key,
    given: Json,
    path: str,
    findings: Findings,
    values: dict[str, Value],
    echo: dict[str, object],
) -> None:
    """Convert one member into `values` and `echo`, or leave it out if its key omits empty values."""
    value, shown = _value(key, given, path, findings)
    nothing = is_empty(value) or (value == {} and key.keys is not None and not key.open)
    if value is None or (key.empty == "omit" and nothing) or (key.type == "digits" and value == ""):
        values.pop(key.name, None)
        echo.pop(key.lead, None)
    else:
        values[key.name], echo[key.lead] = value, shown


def _value(key: Key, given: Json, path: str, findings: Findings) -> tuple[Value, object]:
    """Convert a value; returns what goes to the device, and its echo."""
    scalar = SCALARS.get(key.type)
    if scalar is not None:
        value = scalar(path, given)
        if key.values and value not in key.values:
            findings.outside.append((path, key.values))
        return value, as_json(value)
    if key.type == "array":
        return _array(key, given, path, findings)
    if key.type == "any" or key.keys is None:
        found = any_dictionary(path, given)
        return found, as_json(found)
    if not isinstance(given, dict):
        raise MalformedField(path, "must be an object")
    return _dictionary(given, key.keys, f"{path}.", findings, is_open=key.open)


def _array(key: Key, given: Json, path: str, findings: Findings) -> tuple[Value, object]:
    if not isinstance(given, list):
        raise MalformedField(path, "must be an array")
    values, shown = [], []
    for position, element in enumerate(given):
        place = f"{path}[{position}]"
        if element is None:
            raise MalformedField(place, "must not be null")
        if key.variants is not None:
            value, echo = _setting(key, element, place, findings)
        elif key.item is not None:
            value, echo = _value(key.item, element, place, findings)
        else:
            value = any_value(place, element)
            echo = as_json(value)
        values.append(value)
        shown.append(echo)
    return values, shown


def _setting(key: Key, given: Json, path: str, findings: Findings) -> tuple[Value, object]:
    """One element of `settings`; its fields belong to its item."""
    if not isinstance(given, dict):
        raise MalformedField(path, "must be an object")
    name = next((n for n in reversed(list(given)) if n.lower() == "item"), "item")
    item = given.get(name)
    variants = key.variants or {}
    if not isinstance(item, str) or item not in variants:
        raise MalformedField(f"{path}.{name}", "must be the name of a setting")
    values, echo = _dictionary(given, variants[item], f"{path}.", findings)
    return values, echo | {name: None for name in _SETTING_SHOWN_UNSET if name not in echo}
