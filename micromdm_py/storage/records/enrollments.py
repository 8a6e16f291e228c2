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
"""Facts that devices can be searched by; each has an index."""


@dataclass(frozen=True, slots=True)
class EnrollmentRecord:
    """What is known of one enrollment.

    Attributes:
        enrollment_id: its id; key of its queue.
        target_id: 24 hex digits, fixed for the enrollment's life.
        kind: what the channel is; None for an id that has only ever been queued to.
        device_id: id of the device a user channel belongs to; its own id for a device.
        udid, user_id, user_short_name, user_long_name: as sent, "" when absent.
        facts: what Authenticate told (`serial_number`, `os_version`, `model`, …).
        enrolled: true from the first TokenUpdate after an Authenticate until CheckOut.
        listed: whether a device record exists (Authenticate has made one and nobody has removed it).
        blocked: connects are refused.
        awaiting_configuration: the device waits for DeviceConfigured.
        dep_profile_status: "", "empty", "assigned", "pushed" or "removed".
        unlock_token, bootstrap_token: secrets kept for the device, b"" when none.
        fingerprint: SHA-256 of the bound certificate, b"" when none.
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
        """Whether it is a user's and not a device's; an id that has only been queued to tells by its form."""
        return self.kind.is_user_channel if self.kind else ":" in self.enrollment_id

    @property
    def serial_number(self) -> str:
        """Serial number as Authenticate told it, "" when unknown."""
        return self.facts.get("serial_number", "")


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices to list: a device matches when it is in every list that is not empty.

    Attributes:
        serials, udids: exact values, any of.
        offset: how many matching devices to leave out.
        limit: how many to return at most; None for all.
    """

    serials: tuple[str, ...] = ()
    udids: tuple[str, ...] = ()
    offset: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceSearch:
    """Which devices to look for: those that fit everything that is given.

    Attributes:
        starts: the beginning of facts, without regard to letter case, by their names in `SEARCHED`. The
            first of them in that order decides the order of what is found; without any it is the order in
            which the devices were first heard of.
        enrolled, blocked: true or false; None for either.
        seen_before, seen_after: time of last contact.
        cursor: `next` of the page before, "" for the first page.
        limit: how many devices at most.
    """

    starts: Mapping[str, str] = field(default_factory=dict)
    enrolled: bool | None = None
    blocked: bool | None = None
    seen_before: datetime | None = None
    seen_after: datetime | None = None
    cursor: str = ""
    limit: int = 100

    def fits(self, record: EnrollmentRecord) -> bool:
        """Whether a device is one of those wanted."""
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
    """A page of a search; `next` is the cursor of the following one, "" at the end.

    A page may hold fewer devices than wanted, or none, and not be the last.
    """

    devices: list[EnrollmentRecord]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Figures of all device records.

    Attributes:
        devices: how many there are.
        enrolled, blocked: how many of them are.
        seen: how many have been in contact since the time asked for.
        waiting: how many have commands waiting.
        unreachable: how many have a push token that APNs refuses.
    """

    devices: int = 0
    enrolled: int = 0
    blocked: int = 0
    seen: int = 0
    waiting: int = 0
    unreachable: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer of its kind, kept with the enrollment: the raw report, and when it came."""

    request_type: str
    at: datetime
    report: bytes = field(repr=False)


def folded(text: str) -> str:
    """A fact or a part of one as searches compare it."""
    return text.casefold()
