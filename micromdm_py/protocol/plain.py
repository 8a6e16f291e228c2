"""Property list values as JSON, and which of them are secret."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.jsonreply import base64_text
from micromdm_py.protocol.plist import loads

__all__ = ["MASK", "SECRET_KEYS", "as_json", "holds_secrets"]

MASK = "***"
SECRET_KEYS = (
    "accesskey",
    "apikey",
    "bypasscode",
    "escrowkey",
    "passcode",
    "passphrase",
    "password",
    "privatekey",
    "privatekeyexport",
    "recoverykey",
    "recoverykeycms",
    "redemptioncode",
    "secret",
    "secretkey",
    "sharedkey",
    "token",
)
"""A key that ends so, in lower case, has a value for the eyes of those who may read secrets only."""
WHOLE_KEYS = ("challenge", "pin")
"""The same for whole keys, since harmless keys end in these words, too."""

_IDENTITY = "com.apple.security.pkcs12"
"""PayloadType of a certificate with its private key."""
_MARKS = b"bplist00", *("<plist".encode(encoding) for encoding in ("ascii", "utf-16-le", "utf-16-be"))
_DEEPEST = 2
"""Property lists nested as data in others are read to this depth; deeper ones count as secret."""


def as_json(value: object, *, secrets: bool = True) -> object:
    """Convert a property list value to JSON.

    Args:
        value: str, int, float, bool, bytes, naive datetime in UTC, list or dict.
        secrets: whether to show secrets. If not, the values of secret keys are masked, and so is data that
            contains a property list with such keys, as a configuration profile (signed or not) may.
    Returns: a JSON value: data as base64, times as RFC 3339 with `Z`, NaN and infinities as text.
    """
    return _shown(value, 0 if secrets else _DEEPEST)


def holds_secrets(body: bytes) -> bool:
    """Whether `as_json` would mask something in a property list; True for an unreadable one."""
    try:
        found = loads(body)
    except MalformedRequest:
        return True
    return _is_secret(found, _DEEPEST)


def _shown(value: object, depth: int) -> object:
    """The value as JSON; with a `depth` above 0, secrets are masked."""
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        masked = _secret_keys(value) if depth else ()
        return {k: _masked(v) if k in masked else _shown(v, depth) for k, v in value.items()}
    if isinstance(value, list):
        return [_shown(item, depth) for item in value]
    if isinstance(value, bytes):
        return MASK if depth and _data_is_secret(value, depth) else base64_text(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _masked(value: object) -> object:
    return value if isinstance(value, bool) else MASK  # a flag tells only whether there is a secret


def _secret_keys(value: Mapping[str, object]) -> set[str]:
    found = {key for key in value if _names_secret(key.lower())}
    return found | {"PayloadContent"} if value.get("PayloadType") == _IDENTITY else found


def _names_secret(name: str) -> bool:
    return name in WHOLE_KEYS or name.startswith("password") or name.endswith(SECRET_KEYS)


def _is_secret(value: object, depth: int) -> bool:
    """Whether something in the value would be masked."""
    if isinstance(value, Mapping):
        masked = _secret_keys(value)
        return any(
            not isinstance(item, bool) if key in masked else _is_secret(item, depth)
            for key, item in value.items()
        )
    if isinstance(value, list):
        return any(_is_secret(item, depth) for item in value)
    return isinstance(value, bytes) and _data_is_secret(value, depth)


def _data_is_secret(data: bytes, depth: int) -> bool:
    """Whether data contains a property list with secrets, at its beginning or inside a signature."""
    begins = [at for mark in _MARKS if (at := data.find(mark)) >= 0]
    if not begins:
        return False
    try:
        found = loads(data[min(begins) :])
    except MalformedRequest:
        return True
    return depth == 1 or _is_secret(found, depth - 1)
