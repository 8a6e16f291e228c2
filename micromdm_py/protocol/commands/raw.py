"""Raw commands: property lists that go to the device byte for byte."""

from dataclasses import dataclass, field

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.ids import check_command_uuid
from micromdm_py.protocol.plist import loads, parse_flat

__all__ = ["RawCommand", "read_raw"]


@dataclass(frozen=True, slots=True)
class RawCommand:
    """A checked raw command.

    Attributes:
        command_uuid, request_type: as in the property list.
        payload: the property list, unchanged.
    """

    command_uuid: str
    request_type: str
    payload: bytes = field(repr=False)


def read_raw(body: bytes) -> RawCommand:
    """Check a raw command; only its CommandUUID and RequestType are read.

    Args:
        body: one property list, XML or binary, possibly with white space and comments around it. No key of
            the root or of `Command` may occur twice: the device could read another RequestType than we do.
    Raises: MalformedField for `body` when it is anything else, or for one of the two keys when it is missing
        or not a string.
    """
    if not body.strip():
        raise MalformedField("body", "is empty")
    try:
        plain = parse_flat(body, "Command", trailing=False)
        found = loads(body, trailing=False, distinct=True) if plain is None else plain
    except MalformedRequest as fault:
        raise MalformedField("body", str(fault)) from None
    uuid = _text(found, "CommandUUID", "CommandUUID")
    command = found.get("Command")
    if not isinstance(command, dict):
        raise MalformedField("Command", "must be a dictionary")
    return RawCommand(
        check_command_uuid("CommandUUID", uuid), _text(command, "RequestType", "Command.RequestType"), body
    )


def _text(found: dict[str, object], key: str, name: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedField(name, "must be a non-empty string")
    return value
