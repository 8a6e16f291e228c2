"""Webhook events: JSON documents in the form that MicroMDM's receivers know.

Two spaces of indent, a fixed order of keys, no final newline; ``<``, ``>`` and ``&`` are escaped as in
MicroMDM.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.jsonreply import base64_text, indented_json, json_time
from micromdm_py.protocol.plain import holds_secrets
from micromdm_py.protocol.report import Report

__all__ = [
    "CONNECT_TOPIC",
    "TEST_TOPIC",
    "Event",
    "checkin_event",
    "connect_event",
    "server_event",
    "wants",
    "without_secrets",
]

CONNECT_TOPIC = "mdm.Connect"
TEST_TOPIC = "mdm.server.test"
SERVER_PREFIX = "mdm.server."
"""Prefix of the topics that MicroMDM does not have; only receivers that name them get them."""
_RAW = b'"raw_payload": "'
"""What precedes the raw payload. The last occurrence counts: a query parameter may have the same name."""


@dataclass(frozen=True, slots=True)
class Event:
    """One webhook event, ready to be stored and sent.

    Attributes:
        event_topic: its ``mdm.*`` name.
        event_id: UUID, stable over retries.
        body: the JSON document.
    """

    event_topic: str
    event_id: str
    body: bytes = field(repr=False)


def checkin_event(
    topic: str, ref: EnrollmentRef, url_params: Mapping[str, str], raw: bytes, *, event_id: str, at: datetime
) -> Event:
    """The event for an accepted check-in message.

    Args:
        topic: ``mdm.`` and the MessageType.
        ref: the enrollment that sent the message.
        url_params: the request's query parameters, first value of each.
        raw: the message as received.
        event_id: a UUID in lower case.
        at: time of receipt, aware UTC.
    """
    inside: dict[str, object] = _ids(ref)
    inside["url_params"] = dict(sorted(url_params.items())) if url_params else None
    inside["raw_payload"] = base64_text(raw)
    return _event(topic, "checkin_event", inside, event_id, at)


def connect_event(report: Report, url_params: Mapping[str, str], *, event_id: str, at: datetime) -> Event:
    """The event for a report; arguments as in `checkin_event`."""
    inside: dict[str, object] = _ids(report.enrollment)
    inside["status"] = report.sent_status
    if report.command_uuid:
        inside["command_uuid"] = report.command_uuid
    if url_params:
        inside["url_params"] = dict(sorted(url_params.items()))
    inside["raw_payload"] = base64_text(report.raw)
    return _event(CONNECT_TOPIC, "acknowledge_event", inside, event_id, at)


def server_event(topic: str, inside: Mapping[str, object], *, event_id: str, at: datetime) -> Event:
    """An event about the server itself (``mdm.server.*``); `inside` is its ``server_event`` object."""
    return _event(topic, "server_event", dict(inside), event_id, at)


def wants(topics: frozenset[str], event_topic: str) -> bool:
    """Whether a receiver gets an event.

    Args:
        topics: the receiver's filter; an empty one lets pass all that MicroMDM sends.
        event_topic: the event's topic; a test event passes every filter.
    """
    if event_topic == TEST_TOPIC:
        return True
    return event_topic in topics if topics else not event_topic.startswith(SERVER_PREFIX)


def without_secrets(body: bytes) -> bytes:
    """An event's document, with an empty `raw_payload` if that contains passwords, keys or tokens."""
    begin = body.rfind(_RAW) + len(_RAW)
    end = body.find(b'"', begin)
    if begin < len(_RAW) or not holds_secrets(base64.b64decode(body[begin:end])):
        return body
    return body[:begin] + body[end:]


def _ids(ref: EnrollmentRef) -> dict[str, object]:
    inside: dict[str, object] = {}
    if ref.udid:
        inside["udid"] = ref.udid
    if ref.sent_enrollment_id:
        inside["enrollment_id"] = ref.sent_enrollment_id
    return inside


def _event(topic: str, key: str, inside: dict[str, object], event_id: str, at: datetime) -> Event:
    document = {"topic": topic, "event_id": event_id, "created_at": json_time(at), key: inside}
    return Event(topic, event_id, indented_json(document).encode("utf-8", "replace"))
