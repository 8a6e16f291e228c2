"""The fields of every command as JSON Schema, made from the schema that commands are read by."""

from micromdm_py.http.describe import BASE64, Schema, schema_of
from micromdm_py.protocol.commands.schema import Key, Keys, command_keys, request_types

__all__ = ["command_shape"]

_KINDS: dict[str, dict[str, object]] = {
    "any": {},
    "data": schema_of(BASE64),
    "digits": {"type": "string", "pattern": "^[0-9]+$"},
    "integer or string": {"type": ["integer", "string"]},
}


def command_shape() -> Schema:
    """The body of POST /v1/commands: one alternative for each request type."""
    kinds = [
        {
            "title": name,
            "properties": {"request_type": {"const": name}, **_properties(command_keys(name))},
        }
        for name in sorted(request_types())
    ]
    fields = {name: {"type": "string"} for name in ("udid", "request_type", "command_uuid")}
    return Schema(
        {"type": "object", "properties": fields, "required": ["udid", "request_type"], "oneOf": kinds}
    )


def _properties(keys: Keys) -> dict[str, object]:
    return {key.lead: _schema(key) for key in keys.all}


def _schema(key: Key) -> dict[str, object]:
    found: dict[str, object]
    if key.type == "array":
        found = {"type": "array", "items": _schema(key.item) if key.item else {}}
        if key.variants:
            found["items"] = {"oneOf": [_variant(name, keys) for name, keys in key.variants.items()]}
    elif key.type == "dictionary":
        found = {"type": "object", "properties": _properties(key.keys) if key.keys else {}}
    else:
        found = dict(_KINDS.get(key.type, {"type": key.type}))
    if key.values:
        found["enum"] = list(key.values)
    if key.required:
        found["description"] = "Apple requires it."
    return found


def _variant(name: str, keys: Keys) -> dict[str, object]:
    return {"type": "object", "title": name, "properties": _properties(keys)}
