"""Check-in messages: property lists become frozen values.

Source: Apple, "Check-in" (Authenticate, TokenUpdate, CheckOut, SetBootstrapToken, GetBootstrapToken,
UserAuthenticate, DeclarativeManagement); types as MicroMDM enforces them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.enrollment import EnrollmentRef, resolve

__all__ = [
    "Authenticate",
    "CheckIn",
    "CheckOut",
    "DeclarativeManagement",
    "GetBootstrapToken",
    "SetBootstrapToken",
    "TokenUpdate",
    "UserAuthenticate",
    "parse_checkin",
]

DEVICE_FACTS = {
    "SerialNumber": "serial_number",
    "OSVersion": "os_version",
    "BuildVersion": "build_version",
    "ProductName": "product_name",
    "IMEI": "imei",
    "MEID": "meid",
    "DeviceName": "device_name",
    "Model": "model",
    "ModelName": "model_name",
}
"""Keys of Authenticate that go into the enrollment record, and their names there."""


@dataclass(frozen=True, slots=True)
class CheckIn:
    """What every check-in message contains.

    Attributes:
        enrollment: the channel that sent it.
        topic: push topic as sent, "" when absent.
    """

    enrollment: EnrollmentRef
    topic: str


@dataclass(frozen=True, slots=True)
class Authenticate(CheckIn):
    """A device asks to be enrolled; `facts` is its description by field names of the enrollment record."""

    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TokenUpdate(CheckIn):
    """Push data of a channel.

    Attributes:
        token: push token, raw bytes; b"" when absent.
        push_magic: text for the push body; "" when absent.
        unlock_token: raw bytes; None when absent, and the stored one is kept.
        awaiting_configuration: whether the device is waiting for DeviceConfigured.
    """

    token: bytes = field(repr=False)
    push_magic: str = field(repr=False)
    unlock_token: bytes | None = field(repr=False)
    awaiting_configuration: bool


@dataclass(frozen=True, slots=True)
class CheckOut(CheckIn):
    """The device has removed its enrollment."""


@dataclass(frozen=True, slots=True)
class SetBootstrapToken(CheckIn):
    """The device escrows its bootstrap token; an empty one removes what is stored."""

    bootstrap_token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetBootstrapToken(CheckIn):
    """The device asks for its escrowed bootstrap token."""


@dataclass(frozen=True, slots=True)
class UserAuthenticate(CheckIn):
    """A user channel asks whether it will be managed."""


@dataclass(frozen=True, slots=True)
class DeclarativeManagement(CheckIn):
    """A declarative management request to pass on; `data` is b"" when absent."""

    endpoint: str
    data: bytes


def parse_checkin(message: Mapping[str, object]) -> CheckIn:
    """Read a decoded check-in message.

    Args:
        message: the property list of the message.
    Returns: one of the subclasses of `CheckIn`.
    Raises: MalformedRequest for an unknown MessageType, a missing id or a field of the wrong type.
    """
    kind = _text(message, "MessageType")
    reader = _READERS.get(kind)
    if reader is None:
        raise MalformedRequest(f"unknown MessageType {kind!r}")
    return reader(message, resolve(message), _text(message, "Topic"))


def _authenticate(message: Mapping[str, object], ref: EnrollmentRef, topic: str) -> CheckIn:
    if ref.kind.is_user_channel:
        raise MalformedRequest("Authenticate on a user channel")
    facts = {name: _text(message, key) for key, name in DEVICE_FACTS.items() if key in message}
    return Authenticate(ref, topic, facts)


def _token_update(message: Mapping[str, object], ref: EnrollmentRef, topic: str) -> CheckIn:
    return TokenUpdate(
        ref,
        topic,
        _data(message, "Token") or b"",
        _text(message, "PushMagic"),
        _data(message, "UnlockToken"),
        _flag(message, "AwaitingConfiguration"),
    )


def _set_bootstrap_token(message: Mapping[str, object], ref: EnrollmentRef, topic: str) -> CheckIn:
    return SetBootstrapToken(ref, topic, _data(message, "BootstrapToken") or b"")


def _declarative_management(message: Mapping[str, object], ref: EnrollmentRef, topic: str) -> CheckIn:
    return DeclarativeManagement(ref, topic, _text(message, "Endpoint"), _data(message, "Data") or b"")


_READERS = {
    "Authenticate": _authenticate,
    "TokenUpdate": _token_update,
    "CheckOut": lambda _, ref, topic: CheckOut(ref, topic),
    "SetBootstrapToken": _set_bootstrap_token,
    "GetBootstrapToken": lambda _, ref, topic: GetBootstrapToken(ref, topic),
    "UserAuthenticate": lambda _, ref, topic: UserAuthenticate(ref, topic),
    "DeclarativeManagement": _declarative_management,
}


def _text(message: Mapping[str, object], key: str) -> str:
    value = message.get(key, "")
    if not isinstance(value, str):
        raise MalformedField(key, "must be a string")
    return value


def _data(message: Mapping[str, object], key: str) -> bytes | None:
    value = message.get(key)
    if value is not None and not isinstance(value, bytes):
        raise MalformedField(key, "must be data")
    return value


def _flag(message: Mapping[str, object], key: str) -> bool:
    value = message.get(key, False)
    if not isinstance(value, bool):
        raise MalformedField(key, "must be a boolean")
    return value
