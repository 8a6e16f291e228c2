"""How a command is to be queued: what callers may give beside the command itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.lifecycle import MAX_GROUP_CHARS, ORIGINS
from micromdm_py.protocol.times import read_time
from micromdm_py.storage.records import NewEntry

__all__ = ["QueueOptions", "read_options"]

MAX_TTL_S = 10 * 366 * 86_400
_FLAGS = {"true": True, "1": True, "yes": True, "": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How a command is to be queued; the attributes are those of `storage.records.NewEntry`."""

    supersede: bool = False
    group: str = ""
    expires_at: datetime | None = None
    origin: str = "unknown"

    @property
    def replaces(self) -> str:
        """The group whose open commands are replaced, if it is a named one, else ""."""
        return self.group if self.supersede else ""

    def apply(self, entry: NewEntry) -> NewEntry:
        """The entry with these options."""
        if self is _PLAIN:
            return entry
        return replace(
            entry,
            supersede=self.supersede,
            group=self.group,
            expires_at=self.expires_at,
            origin=self.origin,
        )


_PLAIN = QueueOptions()


def read_options(query: Mapping[str, object], body: Mapping[str, object], *, now: datetime) -> QueueOptions:
    """Read options by the names in `protocol.commands.OPTIONS`.

    Args:
        query: texts from the query of a request; the body overrides it.
        body: JSON values; null counts as absent.
        now: current time, for `ttl`.
    Raises: MalformedField.
    """
    given = {name: value for name, value in {**query, **body}.items() if value is not None}
    if not given:
        return _PLAIN
    if "ttl" in given and "expires_at" in given:
        raise MalformedField("ttl", "cannot be given together with expires_at")
    expires_at = now + timedelta(seconds=_ttl(given["ttl"])) if "ttl" in given else None
    if "expires_at" in given:
        expires_at = read_time("expires_at", _text("expires_at", given["expires_at"]))
        if expires_at is None or expires_at <= now:
            raise MalformedField("expires_at", "must lie in the future")
    return QueueOptions(
        _flag("supersede", given.get("supersede", False)),
        _group(given["group"]) if "group" in given else "",
        expires_at,
        _origin(given.get("from", "unknown")),
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise MalformedField(name, "must be a string")
    return value


def _flag(name: str, value: object) -> bool:
    found = _FLAGS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise MalformedField(name, "must be true or false")
    return found


def _ttl(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_TTL_S:
        raise MalformedField("ttl", f"must be a number of seconds from 1 to {MAX_TTL_S}")
    return value


def _group(value: object) -> str:
    text = _text("group", value)
    if not 1 <= len(text) <= MAX_GROUP_CHARS:
        raise MalformedField("group", f"must have 1 to {MAX_GROUP_CHARS} characters")
    if not text.isprintable():
        raise MalformedField("group", "must be printable")
    return text


def _origin(value: object) -> str:
    text = _text("from", value)
    if text not in ORIGINS:
        raise MalformedField("from", f"must be one of {', '.join(ORIGINS)}")
    return text
