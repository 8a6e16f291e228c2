"""Declarative management: passes a device's request on to the service that `-dm` names.

The Endpoint comes from the device, which may choose only what is below the configured URL.
"""

import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urljoin, urlsplit

from micromdm_py.errors import MalformedRequest, NotConfigured, UpstreamFailed
from micromdm_py.protocol.checkin import DeclarativeManagement
from micromdm_py.protocol.enrollment import EnrollmentKind, EnrollmentRef
from micromdm_py.service.slots import Slots

__all__ = ["Declarative", "DeclarativeUpstream", "UpstreamReply", "endpoint_url"]

_PLAIN = re.compile(r"[!$-;=?-Z_a-z~]*")
"""Characters of an Endpoint: those of a relative URL without fragment, backslash and brackets."""


@dataclass(frozen=True, slots=True)
class UpstreamReply:
    """What the service answered: HTTP status and body."""

    status: int
    body: bytes


class DeclarativeUpstream(Protocol):
    """The way to the service."""

    def send(self, method: str, url: str, enrollment_id: str, data: bytes) -> UpstreamReply:
        """Send one request with the header X-Enrollment-ID.

        Raises: UpstreamFailed when there is no answer.
        """
        ...


class Declarative:
    """Passes requests on, a limited number at a time."""

    def __init__(self, base_url: str, upstream: DeclarativeUpstream, *, slots: int) -> None:
        """Send to what lies below `base_url` ("" when the feature is off), at most `slots` at once."""
        self._base, self._upstream = base_url, upstream
        self._slots = Slots(slots, "too many declarative requests at once")

    def __call__(self, message: DeclarativeManagement) -> bytes:
        """Pass one request on and return the body of the answer.

        Raises: NotConfigured without `-dm`; MalformedRequest for an Endpoint outside; Busy; UpstreamFailed.
        """
        if not self._base:
            raise NotConfigured("declarative management is not configured (-dm)")
        url = endpoint_url(self._base, message.endpoint)
        method = "PUT" if message.data else "GET"
        with self._slots:
            reply = self._upstream.send(method, url, _sent_id(message.enrollment), message.data)
        if reply.status != 200:
            raise UpstreamFailed(f"declarative service answered {reply.status} to {message.endpoint}")
        return reply.body


def endpoint_url(base: str, endpoint: str) -> str:
    """The URL of an Endpoint below a base URL, as a relative reference resolves.

    Raises: MalformedRequest when it is absolute, leaves the base, or holds what no URL path may hold.
    """
    path = endpoint.split("?", 1)[0]
    decoded = unquote(unquote(path))
    if not _PLAIN.fullmatch(endpoint) or decoded.startswith("/") or "\\" in decoded:
        raise MalformedRequest("Endpoint is not a relative path")
    if ".." in decoded.split("/"):
        raise MalformedRequest("Endpoint leaves the declarative service")
    url = urljoin(base, endpoint) if endpoint else urljoin(base, ".")
    here, there = urlsplit(base), urlsplit(url)
    folder = here.path.rsplit("/", 1)[0] + "/"
    if (here.scheme, here.netloc) != (there.scheme, there.netloc) or not there.path.startswith(folder):
        raise MalformedRequest("Endpoint leaves the declarative service")
    return url


def _sent_id(ref: EnrollmentRef) -> str:
    """X-Enrollment-ID: the id that MicroMDM sends; ours for users of a Shared iPad, who have none there."""
    if ref.kind is EnrollmentKind.SHARED_IPAD:
        return ref.enrollment_id
    return ref.sent_enrollment_id or ref.user_id or ref.udid
