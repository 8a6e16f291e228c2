"""Devices and user channels, and what a search for devices takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from micromdm_py.protocol.enrollment import EnrollmentKind

__all__ = [
    "SEARCHED",
    "Answer",
    "DeviceFilter",
    "DevicePage",
    "DeviceSearch",
    "EnrollmentRecord",
    "Fleet",
    "folded",
]

SEARCHED = ("serial_number", "device_name", "model", "model_name", "product_name", "os_version")
"""Facts that devices can be found by; each has an index."""


@dataclass(frozen=True, slots=True)
class EnrollmentRecord:
    """What is known of an enrollment.

    Attributes:
        enrollment_id: its id; key of its queue.
        target_id: 24 hex digits, the same for the life of the enrollment.
        kind: what the channel is; None for an id that no device has used yet.
        device_id: enrollment id of the device that a user channel belongs to; its own id for a device.
        udid, user_id, user_short_name, user_long_name: as sent, "" when absent.
        facts: what the device says of itself (`serial_number`, `os_version`, `model`, …).
        enrolled: true from the first TokenUpdate after an Authenticate until CheckOut.
        listed: there is a device record: Authenticate made it and nobody has removed it.
        blocked: connects are refused.
        awaiting_configuration: the device waits for DeviceConfigured.
        dep_profile_status: "", "empty", "assigned", "pushed" or "removed".
        unlock_token, bootstrap_token: secrets kept for the device, b"" for none.
        fingerprint: SHA-256 of the bound certificate, 32 bytes; b"" for none.
        last_seen_at, authenticated_at, token_update_at: None when it never happened.
    """

    enrollment_id: str
    target_id: str
    kind: EnrollmentKind | None
    device_id: str
    udid: str = ""
    user_id: str = ""
    user_short_name: str = ""
    user_long_name: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    enrolled: bool = False
    listed: bool = False
    blocked: bool = False
    awaiting_configuration: bool = False
    dep_profile_status: str = ""
    unlock_token: bytes = field(default=b"", repr=False)
    bootstrap_token: bytes = field(default=b"", repr=False)
    fingerprint: bytes = b""
    last_seen_at: datetime | None = None
    authenticated_at: datetime | None = None
    token_update_at: datetime | None = None

    @property
    def is_user_channel(self) -> bool:
        """Whether it is a user's channel; an id that no device has used yet is judged by its form."""
        return self.kind.is_user_channel if self.kind else ":" in self.enrollment_id

    @property
    def serial_number(self) -> str:
        """Serial number, "" when unknown."""
        return self.facts.get("serial_number", "")


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices to list: those that are in every list that is not empty.

    Attributes:
        serials, udids: exact values; any of these.
        offset: how many matching devices to skip.
        limit: most devices to return; None for all.
    """

    serials: tuple[str, ...] = ()
    udids: tuple[str, ...] = ()
    offset: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceSearch:
    """Which devices to look for: those that match everything given.

    Attributes:
        starts: how facts begin, whatever the letter case, by their names in `SEARCHED`. The one that comes
            first in `SEARCHED` also sorts the devices; without any they come in the order in which they were
            first heard of.
        enrolled, blocked: True or False; None for either.
        seen_before, seen_after: time of last contact.
        cursor: `next` of the page before, "" for the first page.
        limit: most devices of the page.
    """

    starts: Mapping[str, str] = field(default_factory=dict)
    enrolled: bool | None = None
    blocked: bool | None = None
    seen_before: datetime | None = None
    seen_after: datetime | None = None
    cursor: str = ""
    limit: int = 100

    def fits(self, record: EnrollmentRecord) -> bool:
        """Whether a device is wanted."""
        seen = record.last_seen_at
        return (
            record.listed
            and self.enrolled in (None, record.enrolled)
            and self.blocked in (None, record.blocked)
            and (self.seen_before is None or seen is None or seen < self.seen_before)
            and (self.seen_after is None or (seen is not None and seen >= self.seen_after))
            and all(
                folded(record.facts.get(name, "")).startswith(folded(start))
                for name, start in self.starts.items()
            )
        )


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A page of a search; `next` is the cursor of the following page, "" after the last.

    A page may hold fewer devices than the limit, or none, and yet not be the last.
    """

    devices: list[EnrollmentRecord]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Figures of all device records.

    Attributes:
        devices: how many there are.
        enrolled, blocked: how many of them are enrolled, how many blocked.
        seen: how many were in contact since the time asked for.
        waiting: how many have commands that wait.
        unreachable: how many have a push token that APNs refuses for good.
    """

    devices: int = 0
    enrolled: int = 0
    blocked: int = 0
    seen: int = 0
    waiting: int = 0
    unreachable: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The latest answer to a kind of command: the report as received, and when it came."""

    request_type: str
    at: datetime
    report: bytes = field(repr=False)


def folded(text: str) -> str:
    """A fact, or the beginning of one, as searches compare it."""
    return text.casefold()
