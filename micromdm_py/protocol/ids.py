"""What may serve as an id: one rule for every route and message."""

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.plist import NOT_IN_XML

__all__ = ["MAX_COMMAND_UUID_CHARS", "MAX_ID_BYTES", "check_command_uuid", "check_id", "check_present"]

MAX_ID_BYTES = 255
"""Longest UDID, EnrollmentID, UserID or name, in bytes of UTF-8."""

MAX_COMMAND_UUID_CHARS = 1024
"""Longest CommandUUID, in characters; apart from that it is free text."""


def check_id(field: str, value: str) -> str:
    """Return an id unchanged if it is acceptable.

    Args:
        field: name of the field in the caller's spelling, for the error text.
        value: UDID, EnrollmentID, UserID, short name, or the name of an object.
    Raises: MalformedField when it is empty, longer than `MAX_ID_BYTES`, or contains a control character.
    """
    check_present(field, value)
    if not value.isprintable() and any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in value):
        raise MalformedField(field, "must not contain control characters")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise MalformedField(field, "is not valid Unicode") from None
    if size > MAX_ID_BYTES:
        raise MalformedField(field, f"is longer than {MAX_ID_BYTES} bytes")
    return value


def check_present(field: str, value: str) -> str:
    """Return a text unchanged; arguments as in `check_id`. Raises: MalformedField when it is empty."""
    if not value:
        raise MalformedField(field, "must not be empty")
    return value


def check_command_uuid(field: str, value: str) -> str:
    """Return a CommandUUID unchanged if it is acceptable: 1 to 1 024 characters that XML can carry.

    Arguments as in `check_id`. Raises: MalformedField.
    """
    check_present(field, value)
    if len(value) > MAX_COMMAND_UUID_CHARS:
        raise MalformedField(field, f"is longer than {MAX_COMMAND_UUID_CHARS} characters")
    if not value.isprintable() and NOT_IN_XML.search(value):
        raise MalformedField(field, "has a character that XML cannot carry")
    return value
