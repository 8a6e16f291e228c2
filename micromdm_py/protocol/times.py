"""Reading times as callers of the API write them."""

import re
from datetime import UTC, datetime

from micromdm_py.errors import MalformedField

__all__ = ["read_time"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d(T.*)?")


def read_time(name: str, text: str | None) -> datetime | None:
    """Read an RFC 3339 time, or a date, which means its beginning in UTC.

    Args:
        name: the field in the caller's spelling, for the error text.
        text: the field's value.
    Returns: aware UTC, None when the text is None or empty.
    Raises: MalformedField.
    """
    if not text:
        return None
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedField(name, "must be an RFC 3339 time or a date") from None
