"""Reading an enrollment profile as a device does."""

import plistlib
from dataclasses import dataclass, field

from micromdm_py.errors import MalformedRequest

__all__ = ["EnrollmentProfile", "read_profile"]


@dataclass(frozen=True, slots=True)
class EnrollmentProfile:
    """What a device needs from its enrollment profile.

    Attributes:
        scep_url, challenge, subject: from the SCEP payload; subject is ((name, value), …).
        server_url, checkin_url, topic, sign_message: from the MDM payload.
    """

    scep_url: str
    challenge: str = field(repr=False)
    subject: tuple[tuple[str, str], ...]
    server_url: str
    checkin_url: str
    topic: str
    sign_message: bool


def read_profile(data: bytes) -> EnrollmentProfile:
    """Decode an unsigned enrollment profile.

    Raises: MalformedRequest when it is not a profile with a SCEP and an MDM payload.
    """
    try:
        payloads = plistlib.loads(data)["PayloadContent"]
        by_type = {payload["PayloadType"]: payload for payload in payloads}
        scep, mdm = by_type["com.apple.security.scep"]["PayloadContent"], by_type["com.apple.mdm"]
        return EnrollmentProfile(
            scep["URL"],
            scep.get("Challenge", ""),
            tuple((name, value) for part in scep["Subject"] for name, value in part),
            mdm["ServerURL"],
            mdm.get("CheckInURL", mdm["ServerURL"]),
            mdm.get("Topic", ""),
            bool(mdm.get("SignMessage", False)),
        )
    except (plistlib.InvalidFileException, KeyError, TypeError, ValueError) as fault:
        raise MalformedRequest(f"not an enrollment profile: {type(fault).__name__} {fault}") from fault
    except Exception as fault:  # plistlib lets errors of the XML parser through
        raise MalformedRequest(f"not an enrollment profile: {fault}") from fault
