"""Enrollments: which managed channel a device's message belongs to.

An enrollment is one managed channel. Its id is the UDID of a device or the EnrollmentID of a User Enrollment;
for a user channel it is one of these followed by ``:`` and the user. A UserID is never an id by itself: it
counts only together with the device's id in the same message, so that nobody can name another device's
channel.

Source: Apple, "Check-in" messages; the form of the ids is NanoMDM's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.ids import check_id

__all__ = ["SHARED_IPAD_USER_ID", "EnrollmentKind", "EnrollmentRef", "resolve"]

SHARED_IPAD_USER_ID = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
"""UserID that every Shared iPad sends; the account is in UserShortName."""


class EnrollmentKind(StrEnum):
    """The kind of a managed channel."""

    DEVICE = "device"
    USER = "user"
    USER_ENROLLMENT = "user_enrollment"
    USER_ENROLLMENT_USER = "user_enrollment_user"
    SHARED_IPAD = "shared_ipad"

    @property
    def is_user_channel(self) -> bool:
        """Whether this is the channel of a user under a device."""
        return self not in (EnrollmentKind.DEVICE, EnrollmentKind.USER_ENROLLMENT)


@dataclass(frozen=True, slots=True)
class EnrollmentRef:
    """The enrollment that a message names.

    Attributes:
        enrollment_id: id of the channel; key of its queue.
        kind: kind of the channel.
        device_id: id of the channel's device; equal to enrollment_id for a device channel.
        udid: UDID as sent, "" when absent.
        sent_enrollment_id: EnrollmentID as sent, "" when absent.
        user_id: UserID (or EnrollmentUserID) as sent, "" when absent.
        user_short_name: UserShortName as sent, "" when absent.
        user_long_name: UserLongName as sent, "" when absent.
    """

    enrollment_id: str
    kind: EnrollmentKind
    device_id: str
    udid: str = ""
    sent_enrollment_id: str = ""
    user_id: str = ""
    user_short_name: str = ""
    user_long_name: str = ""

    @property
    def bound_ids(self) -> tuple[tuple[str, EnrollmentKind], ...]:
        """The device-level ids that the sender claims, and their kinds; its certificate must match all."""
        if self.udid and self.sent_enrollment_id:
            return (
                (self.sent_enrollment_id, EnrollmentKind.USER_ENROLLMENT),
                (self.udid, EnrollmentKind.DEVICE),
            )
        kind = EnrollmentKind.USER_ENROLLMENT if self.sent_enrollment_id else EnrollmentKind.DEVICE
        return ((self.device_id, kind),)


def resolve(message: Mapping[str, object]) -> EnrollmentRef:
    """Find the enrollment that a decoded check-in or connect message names.

    Args:
        message: the property list of the message.
    Raises: MalformedRequest when there is no id, or an id is empty, too long or has control characters.
    """
    udid, enrollment = _id(message, "UDID"), _id(message, "EnrollmentID")
    short, long = _text(message, "UserShortName"), _text(message, "UserLongName")
    if enrollment:
        user = _id(message, "EnrollmentUserID")
        if user:
            return EnrollmentRef(
                f"{enrollment}:{user}",
                EnrollmentKind.USER_ENROLLMENT_USER,
                enrollment,
                udid,
                enrollment,
                user,
                short,
                long,
            )
        return EnrollmentRef(enrollment, EnrollmentKind.USER_ENROLLMENT, enrollment, udid, enrollment)
    if not udid:
        raise MalformedRequest("message has neither UDID nor EnrollmentID")
    user = _id(message, "UserID")
    if not user:
        return EnrollmentRef(udid, EnrollmentKind.DEVICE, udid, udid)
    if user == SHARED_IPAD_USER_ID:
        account = check_id("UserShortName", short)
        return EnrollmentRef(
            f"{udid}:{account}", EnrollmentKind.SHARED_IPAD, udid, udid, "", user, short, long
        )
    return EnrollmentRef(f"{udid}:{user}", EnrollmentKind.USER, udid, udid, "", user, short, long)


def _text(message: Mapping[str, object], key: str) -> str:
    value = message.get(key, "")
    if not isinstance(value, str):
        raise MalformedField(key, "must be a string")
    return value


def _id(message: Mapping[str, object], key: str) -> str:
    """An id of the message, "" when absent; an empty one is an error."""
    if key not in message:
        return ""
    value = check_id(key, _text(message, key))
    if ":" in value and key in ("UDID", "EnrollmentID"):
        # In the id of a user channel a colon separates device and user; a device must not pose as a channel.
        raise MalformedField(key, "must not contain a colon")
    return value
