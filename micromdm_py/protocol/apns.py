"""The push that asks a device to connect, and the meaning of APNs' reply.

Source: Apple, "Sending notification requests to APNs", "Handling notification responses from APNs",
"Setting up push notifications for your MDM customers".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from micromdm_py.errors import MalformedRequest

__all__ = ["Fate", "InvalidPushToken", "PushReply", "PushRequest", "push_request", "read_reply"]

_TOKEN = re.compile(r"[0-9a-fA-F]{64,200}")
_REASON = re.compile(r"[A-Za-z0-9]{1,64}")
_DEAD = frozenset({"BadDeviceToken", "Unregistered", "ExpiredToken"})


class InvalidPushToken(MalformedRequest):
    """The push token is not 64 to 200 hex digits, so APNs cannot know it."""

    def __init__(self) -> None:
        """Use MicroMDM's text."""
        super().__init__("invalid push token")


class Fate(Enum):
    """What APNs' reply means for the push, its token and all other pushes."""

    ACCEPTED = "accepted"
    DEAD = "dead"  # the token is refused for good
    LATER = "later"  # too many pushes for this device; others are not affected
    REFUSED = "refused"  # this push is wrong, and would be refused again
    DOWN = "down"  # the service cannot serve anyone at the moment
    LOCKED_OUT = "locked out"  # the push certificate is not accepted


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One request to APNs.

    Attributes:
        path: `/3/device/` and the token, so never logged.
        headers: all but those of the transport.
        body: the JSON document.
    """

    path: str = field(repr=False)
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushReply:
    """The outcome of one request.

    Attributes:
        fate: what the reply means.
        apns_id: APNs' id for the push, "" when there was no reply.
        reason: APNs' `reason` or a short text of ours, "" when accepted.
        retry_after_s: how long APNs asks to wait, in seconds; 0 when it does not say.
    """

    fate: Fate
    apns_id: str = ""
    reason: str = ""
    retry_after_s: float = 0.0


def push_request(token_hex: str, push_magic: str, topic: str, expiration: int | None = None) -> PushRequest:
    """The request for one push.

    Without an expiration the header is left out, as in MicroMDM: APNs then keeps the newest push for a device
    that is offline, which is just what a wake-up call needs.

    Args:
        token_hex: token of the last TokenUpdate, in hex.
        push_magic: PushMagic of the same message.
        topic: topic of the push certificate, "" to leave the header out.
        expiration: Unix time after which APNs drops the push, 0 to try only once; None leaves the header out.

    Raises: InvalidPushToken.
    """
    if not _TOKEN.fullmatch(token_hex):
        raise InvalidPushToken
    headers = [("content-type", "application/json"), ("apns-push-type", "mdm")]
    if topic:
        headers.append(("apns-topic", topic))
    if expiration is not None:
        headers.append(("apns-expiration", str(expiration)))
    body = json.dumps({"mdm": push_magic}, separators=(",", ":")).encode()
    return PushRequest(f"/3/device/{token_hex}", tuple(headers), body)


def read_reply(status: int, headers: Mapping[str, str], body: bytes, retry_after_s: float = 0.0) -> PushReply:
    """Interpret a reply of APNs.

    Args:
        status: HTTP status.
        headers: by name in lower case.
        body: JSON with `reason`, empty on success; anything else is tolerated.
        retry_after_s: value of `Retry-After` in seconds, 0 when absent.
    """
    apns_id = headers.get("apns-id", "")[:64]
    if status == 200:
        return PushReply(Fate.ACCEPTED, apns_id)
    reason = _reason(body) or f"status {status}"
    return PushReply(_fate(status, reason), apns_id, reason, retry_after_s)


def _reason(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    found = document.get("reason") if isinstance(document, dict) else None
    return found if isinstance(found, str) and _REASON.fullmatch(found) else ""


def _fate(status: int, reason: str) -> Fate:
    if status == 410 or (status == 400 and reason in _DEAD):
        return Fate.DEAD
    if status == 429:
        return Fate.LATER
    if status == 403:
        return Fate.LOCKED_OUT
    if status >= 500 or status < 200:
        return Fate.DOWN
    return Fate.REFUSED
