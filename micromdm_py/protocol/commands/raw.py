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
        command_uuid, request_type: as they stand in the property list.
        payload: the property list, unchanged.
    """

    command_uuid: str
    request_type: str
    payload: bytes = field(repr=False)


def read_raw(body: bytes) -> RawCommand:
    """Check a raw command; only its uuid and request type are looked at.

    Args:
        body: one property list, XML or binary; white space and comments may stand around it. No key of the
            top or of `Command` may stand twice: the device could take another request type than we do.
    Raises: MalformedRequest for anything else, MalformedField when one of the two keys is missing or no
        string.
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
