"""What a receiver's answer to a webhook event means.

A receiver that *refuses* an event has seen it and will not take it: after ten tries it is a dead letter. A
receiver that is *unreachable* has not seen it: the event is kept and tried for days.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum

__all__ = [
    "MAX_REDIRECTS",
    "DeliveryResult",
    "Verdict",
    "event_signature",
    "is_redirect",
    "read_retry_after",
    "read_status",
]

MAX_REDIRECTS = 3
_UNREACHABLE = frozenset({429, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Verdict(Enum):
    """The outcome of one attempt to deliver."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one attempt to deliver.

    Attributes:
        verdict: its outcome.
        error: short text without secrets, "" when delivered.
        retry_after_s: how long the receiver asks to wait, in seconds; 0 when it does not say.
    """

    verdict: Verdict
    error: str = ""
    retry_after_s: float = 0.0


def is_redirect(status: int) -> bool:
    """Whether the event is to be posted again, unchanged, to the URL in `Location`."""
    return status in _REDIRECTS


def read_status(status: int, retry_after: str = "") -> DeliveryResult:
    """Interpret the final status.

    Args:
        status: HTTP status after redirects; another redirect is one too many, and a refusal.
        retry_after: value of `Retry-After`, "" when absent; only its form in seconds counts.
    """
    if 200 <= status < 300:
        return DeliveryResult(Verdict.DELIVERED)
    verdict = Verdict.UNREACHABLE if status in _UNREACHABLE else Verdict.REFUSED
    return DeliveryResult(verdict, f"status {status}", read_retry_after(retry_after))


def read_retry_after(value: str) -> float:
    """The seconds of a `Retry-After` header (RFC 9110, 10.2.3), at most a day; 0 for anything else."""
    word = value.strip()
    return float(min(int(word), 86_400)) if word.isdecimal() and word.isascii() and len(word) < 10 else 0.0


def event_signature(key: bytes, body: bytes) -> str:
    """Value of `X-Hmac-Signature`: base64 of the HMAC-SHA256 of the body, as NanoMDM sends it."""
    return base64.b64encode(hmac.digest(key, body, hashlib.sha256)).decode()
