"""Property-list values as JSON."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from micromdm_py.protocol.jsonreply import base64_text

__all__ = ["MASK", "SECRET_KEYS", "as_json"]

MASK = "***"
SECRET_KEYS = (
    "bypasscode",
    "escrowkey",
    "password",
    "passphrase",
    "passcode",
    "privatekey",
    "recoverykey",
    "secret",
    "token",
    "unlocktoken",
)
"""Endings of keys, in lower case, whose values are shown only to those who may read secrets."""


def as_json(value: object, *, secrets: bool = True) -> object:
    """A value of a property list as one of JSON.

    Args:
        value: str, int, float, bool, bytes, naive datetime in UTC, list or dict.
        secrets: show everything; else the values under secret keys are masked.
    Returns: data as base64, times as RFC 3339 with `Z`, numbers that JSON has not as text.
    """
    if isinstance(value, Mapping):
        return {key: _member(str(key), item, secrets=secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item, secrets=secrets) for item in value]
    if isinstance(value, bytes):
        return base64_text(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _member(key: str, value: object, *, secrets: bool) -> object:
    if not secrets and isinstance(value, (str, bytes, int)) and not isinstance(value, bool):
        name = key.lower()
        if name == "pin" or name.startswith("password") or name.endswith(SECRET_KEYS):
            return MASK
    return as_json(value, secrets=secrets)
