"""Which part of a file a request is answered with: preconditions, then ranges (RFC 9110, sections 13, 14).

A header that cannot be read is treated as absent, and so is a request for several ranges at once: both get
the whole file, as the RFC allows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

__all__ = ["Part", "part_for"]

_TAG = re.compile(r'(W/)?("[^"]*")')
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """The answer: a status, and the bytes of the file from `start`, `length` of them.

    Attributes:
        status: 200, 206, 304, 412 or 416.
        headers: validators and, where it belongs, Content-Range.
    """

    status: int
    start: int
    length: int
    headers: Mapping[str, str]


def part_for(headers: Mapping[str, str], size: int, changed_ns: int, *, whole: bool = False) -> Part:
    """Decide what a GET of a file is answered with.

    Args:
        headers: of the request, as in a WSGI environ (`HTTP_RANGE`).
        size: of the file, bytes.
        changed_ns: its last change, nanoseconds since 1970.
        whole: ranges do not count (a HEAD).
    """
    tag = f'"{changed_ns:x}-{size:x}"'
    changed_at = datetime.fromtimestamp(changed_ns // _NS_PER_S, UTC)
    about = {"ETag": tag, "Last-Modified": format_datetime(changed_at, usegmt=True), "Accept-Ranges": "bytes"}
    if status := _precondition(headers, tag, changed_at):
        return Part(status, 0, 0, about)
    found = None if whole else _RANGE.fullmatch(headers.get("HTTP_RANGE", ""))
    if not found or found[0].rstrip().endswith("=-") or not _same(headers, tag, changed_at):
        return Part(200, 0, size, about)
    start, end = _bounds(found[1], found[2], size)
    if found[1] and found[2] and int(found[1]) > int(found[2]):
        return Part(200, 0, size, about)
    if start >= end:
        return Part(416, 0, 0, {**about, "Content-Range": f"bytes */{size}"})
    return Part(206, start, end - start, {**about, "Content-Range": f"bytes {start}-{end - 1}/{size}"})


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def _precondition(headers: Mapping[str, str], tag: str, changed_at: datetime) -> int:
    """The status of a request whose condition does not hold, else 0."""
    if wanted := headers.get("HTTP_IF_MATCH"):
        if not _names(wanted, tag, weak=False):
            return 412
    elif (limit := _date(headers.get("HTTP_IF_UNMODIFIED_SINCE"))) and changed_at > limit:
        return 412
    if known := headers.get("HTTP_IF_NONE_MATCH"):
        return 304 if _names(known, tag, weak=True) else 0
    since = _date(headers.get("HTTP_IF_MODIFIED_SINCE"))
    return 304 if since and changed_at <= since else 0


def _same(headers: Mapping[str, str], tag: str, changed_at: datetime) -> bool:
    """Whether If-Range, if there is one, names this state of the file."""
    condition = headers.get("HTTP_IF_RANGE")
    if not condition:
        return True
    return condition.strip() == tag or _date(condition) == changed_at


def _names(header: str, tag: str, *, weak: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(name == tag and (weak or not mark) for mark, name in _TAG.findall(header))


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found and not found.tzinfo else found
