"""The messages MicroMDM 1.13.1 stores, field by field.

Source: its platform/*/internal/*proto. Fields that it declares and never writes are here too. Texts, numbers
and flags that are absent have their default, as proto3 says; times are nanoseconds since 1970.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.wire import bytes_field, fields, number_field

__all__ = [
    "NEVER",
    "OldBlock",
    "OldBlueprint",
    "OldCommand",
    "OldDevice",
    "OldProfile",
    "OldPush",
    "OldQueue",
    "OldServerConfig",
    "OldUser",
    "decode",
    "encode",
]

NEVER = -6795364578871345152
"""Go's zero time in nanoseconds as it comes out of an int64; 0 means "never" too."""

M = TypeVar("M")
D = TypeVar("D", str, bytes, int, bool, tuple[str, ...])


def _at(number: int, default: D) -> D:
    """A field and its number; the type of the default is the type of the field."""
    return dataclasses.field(default=default, metadata={"number": number, "of": None})


def _many(number: int, of: type[M]) -> tuple[M, ...]:
    return dataclasses.field(default=(), metadata={"number": number, "of": of})


@dataclass(frozen=True, slots=True)
class OldDevice:
    """`mdm.Devices`. Tokens are hex except the bootstrap token."""

    uuid: str = _at(1, "")
    udid: str = _at(2, "")
    serial_number: str = _at(3, "")
    os_version: str = _at(4, "")
    build_version: str = _at(5, "")
    product_name: str = _at(6, "")
    imei: str = _at(7, "")
    meid: str = _at(8, "")
    token: str = _at(9, "")
    push_magic: str = _at(10, "")
    mdm_topic: str = _at(11, "")
    unlock_token: str = _at(12, "")
    enrolled: bool = _at(13, False)
    awaiting_configuration: bool = _at(14, False)
    device_name: str = _at(15, "")
    model: str = _at(16, "")
    model_name: str = _at(17, "")
    description: str = _at(18, "")
    color: str = _at(19, "")
    asset_tag: str = _at(20, "")
    dep_device: bool = _at(21, False)
    dep_profile_status: str = _at(22, "")
    dep_profile_uuid: str = _at(23, "")
    dep_profile_assign_time: int = _at(24, 0)
    dep_profile_push_time: int = _at(25, 0)
    dep_profile_assigned_date: int = _at(26, 0)
    dep_profile_assigned_by: str = _at(27, "")
    last_seen: int = _at(28, 0)
    last_query_response: bytes = _at(29, b"")
    bootstrap_token: bytes = _at(30, b"")


@dataclass(frozen=True, slots=True)
class OldPush:
    """`mdm.PushInfo`; `udid` is the id of the enrollment, whatever its kind."""

    udid: str = _at(1, "")
    token: str = _at(2, "")
    push_magic: str = _at(3, "")
    mdm_topic: str = _at(4, "")


@dataclass(frozen=True, slots=True)
class OldCommand:
    """One command of a queue; `payload` is the property list for the device."""

    uuid: str = _at(1, "")
    payload: bytes = _at(2, b"")
    created_at: int = _at(3, 0)
    last_sent_at: int = _at(4, 0)
    acknowledged: int = _at(5, 0)
    times_sent: int = _at(6, 0)
    last_status: str = _at(7, "")
    failure_message: bytes = _at(8, b"")


@dataclass(frozen=True, slots=True)
class OldQueue:
    """`mdm.DeviceCommands`; `device_udid` is the id of the enrollment, whatever its kind."""

    device_udid: str = _at(1, "")
    commands: tuple[OldCommand, ...] = _many(2, OldCommand)
    completed: tuple[OldCommand, ...] = _many(3, OldCommand)
    failed: tuple[OldCommand, ...] = _many(4, OldCommand)
    not_now: tuple[OldCommand, ...] = _many(5, OldCommand)


@dataclass(frozen=True, slots=True)
class OldUser:
    """`mdm.Users`: a user channel when it has a `user_id`, else an account made by an administrator."""

    uuid: str = _at(1, "")
    udid: str = _at(2, "")
    user_id: str = _at(3, "")
    user_shortname: str = _at(4, "")
    user_longname: str = _at(5, "")
    auth_token: str = _at(6, "")
    password_hash: bytes = _at(7, b"")
    hidden: bool = _at(8, False)


@dataclass(frozen=True, slots=True)
class OldProfile:
    """`mdm.Profile`."""

    id: str = _at(1, "")
    mobileconfig: bytes = _at(2, b"")


@dataclass(frozen=True, slots=True)
class OldBlueprint:
    """`mdm.Blueprint`."""

    uuid: str = _at(1, "")
    name: str = _at(2, "")
    manifest_urls: tuple[str, ...] = _at(3, ())
    profile_ids: tuple[str, ...] = _at(5, ())
    apply_at: tuple[str, ...] = _at(6, ())
    user_uuid: tuple[str, ...] = _at(7, ())
    skip_primary_setup_account_creation: bool = _at(8, False)
    set_primary_setup_account_as_regular_user: bool = _at(9, False)


@dataclass(frozen=True, slots=True)
class OldServerConfig:
    """`mdm.ServerConfig`: the push certificate and its key, PEM."""

    push_certificate: bytes = _at(1, b"")
    push_certificate_key: bytes = _at(2, b"")


@dataclass(frozen=True, slots=True)
class OldBlock:
    """`mdm.RemoveDevice`: a device that is refused."""

    udid: str = _at(1, "")


class _Plan(NamedTuple):
    """What is known of one field."""

    name: str
    default: Any  # the default of the field: its type is the field's
    of: type[Any] | None  # any of the classes above


def _plan(message: Any) -> dict[int, _Plan]:
    found = {}
    for field in dataclasses.fields(message):
        found[field.metadata["number"]] = _Plan(field.name, field.default, field.metadata["of"])
    return dict(sorted(found.items()))


_MESSAGES = (
    OldDevice,
    OldPush,
    OldCommand,
    OldQueue,
    OldUser,
    OldProfile,
    OldBlueprint,
    OldServerConfig,
    OldBlock,
)
_PLANS: dict[type[Any], dict[int, _Plan]] = {message: _plan(message) for message in _MESSAGES}


def decode(message: type[M], data: bytes, unknown: Counter[str] | None = None) -> M:
    """Read a message.

    Args:
        message: one of the classes of this module.
        data: its bytes.
        unknown: counts the fields that the class does not have, as ``OldDevice 31``.
    Raises: BadDatabase.
    """
    plan = _PLANS[message]
    found: dict[str, Any] = {}  # the values of fields of all types
    for number, value in fields(data):
        field = plan.get(number)
        if field is None or isinstance(value, int) != isinstance(field.default, int):
            if unknown is not None:
                unknown[f"{message.__name__} {number}"] += 1
        elif isinstance(value, int):
            is_bool = isinstance(field.default, bool)
            found[field.name] = bool(value) if is_bool else value - (value >> 63 << 64)
        elif isinstance(field.default, tuple):
            one = decode(field.of, value, unknown) if field.of else _text(field.name, value)
            found.setdefault(field.name, []).append(one)
        else:
            found[field.name] = value if isinstance(field.default, bytes) else _text(field.name, value)
    return message(**{name: tuple(v) if isinstance(v, list) else v for name, v in found.items()})


def encode(message: object) -> bytes:
    """Write a message; what has its default is left out."""
    out = bytearray()
    for number, field in _PLANS[type(message)].items():
        value = getattr(message, field.name)
        for one in value if isinstance(value, tuple) else (value,) if value else ():
            if isinstance(one, int):
                out += number_field(number, one)
            elif isinstance(one, bytes):
                out += bytes_field(number, one)
            else:
                out += bytes_field(number, one.encode() if isinstance(one, str) else encode(one))
    return bytes(out)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadDatabase(f"{name} is not valid UTF-8") from None
