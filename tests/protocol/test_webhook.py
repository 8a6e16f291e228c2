"""Webhook events: their documents, who gets them, and what a receiver's answer means."""

import json
import plistlib
from datetime import UTC, datetime

import pytest

from micromdm_py.protocol.delivery import (
    DeliveryResult,
    Verdict,
    event_signature,
    is_redirect,
    read_retry_after,
    read_status,
)
from micromdm_py.protocol.enrollment import resolve
from micromdm_py.protocol.report import parse_report
from micromdm_py.protocol.webhook import checkin_event, connect_event, server_event, wants, without_secrets

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
RAW = b"<plist/>"


def connect(url_params: dict[str, str], raw: bytes = RAW, **fields: str) -> bytes:
    report = parse_report({"UDID": "UDID-1", "Status": "Idle", **fields}, raw)
    return connect_event(report, url_params, event_id="id-1", at=AT).body


def test_the_document_of_a_check_in() -> None:
    ref = resolve({"UDID": "UDID-1", "UserID": "A"})
    event = checkin_event("mdm.TokenUpdate", ref, {"b": "<&>", "a": ""}, RAW, event_id="id-1", at=AT)
    assert (event.event_topic, event.event_id) == ("mdm.TokenUpdate", "id-1")
    assert event.body.decode() == (
        "{\n"
        '  "topic": "mdm.TokenUpdate",\n'
        '  "event_id": "id-1",\n'
        '  "created_at": "2026-11-23T08:00:00Z",\n'
        '  "checkin_event": {\n'
        '    "udid": "UDID-1",\n'
        '    "url_params": {\n'
        '      "a": "",\n'
        '      "b": "\\u003c\\u0026\\u003e"\n'
        "    },\n"
        '    "raw_payload": "PHBsaXN0Lz4="\n'
        "  }\n"
        "}"
    )


def test_a_check_in_without_parameters_says_null_and_a_report_nothing() -> None:
    ref = resolve({"EnrollmentID": "E"})
    body = checkin_event("mdm.CheckOut", ref, {}, RAW, event_id="id-1", at=AT).body
    inside = {"enrollment_id": "E", "url_params": None, "raw_payload": "PHBsaXN0Lz4="}
    assert json.loads(body)["checkin_event"] == inside
    told = json.loads(connect({}))
    assert list(told["acknowledge_event"]) == ["udid", "status", "raw_payload"]
    told = json.loads(connect({"x": "1"}, Status="Odd", CommandUUID="c"))
    assert told["topic"] == "mdm.Connect"
    assert list(told["acknowledge_event"].items())[:4] == [
        ("udid", "UDID-1"),
        ("status", "Odd"),
        ("command_uuid", "c"),
        ("url_params", {"x": "1"}),
    ]


def test_an_event_of_the_server() -> None:
    event = server_event("mdm.server.test", {"reason": "asked"}, event_id="id-1", at=AT)
    assert json.loads(event.body)["server_event"] == {"reason": "asked"}


@pytest.mark.parametrize(
    ("topics", "event_topic", "expected"),
    [
        ((), "mdm.Connect", True),
        ((), "mdm.server.quarantined", False),
        (("mdm.CheckOut",), "mdm.Connect", False),
        (("mdm.CheckOut", "mdm.Connect"), "mdm.Connect", True),
        (("mdm.server.quarantined",), "mdm.server.quarantined", True),
        ((), "mdm.server.test", True),
        (("mdm.CheckOut",), "mdm.server.test", True),
    ],
)
def test_who_gets_an_event(topics: tuple[str, ...], event_topic: str, expected: bool) -> None:
    assert wants(frozenset(topics), event_topic) is expected


def test_a_payload_with_secrets_is_left_empty() -> None:
    secret = plistlib.dumps({"UDID": "UDID-1", "PushMagic": "magic", "Token": b"t"})
    open_, shut = connect({}, b"<plist><dict/></plist>"), connect({"raw_payload": 'x"'}, secret)
    assert without_secrets(open_) == open_
    told = json.loads(without_secrets(shut))["acknowledge_event"]
    assert told == {**json.loads(shut)["acknowledge_event"], "raw_payload": ""}
    other = server_event("mdm.server.test", {}, event_id="id-1", at=AT).body
    assert without_secrets(other) == other


# --- what an answer means ---


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (199, Verdict.REFUSED),
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (300, Verdict.REFUSED),
        (302, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (429, Verdict.UNREACHABLE),
        (500, Verdict.REFUSED),
        (502, Verdict.UNREACHABLE),
        (503, Verdict.UNREACHABLE),
        (504, Verdict.UNREACHABLE),
    ],
)
def test_the_meaning_of_a_status(status: int, verdict: Verdict) -> None:
    error = "" if verdict is Verdict.DELIVERED else f"status {status}"
    assert read_status(status) == DeliveryResult(verdict, error)


def test_a_receiver_may_ask_to_wait() -> None:
    assert read_status(503, "7") == DeliveryResult(Verdict.UNREACHABLE, "status 503", 7.0)
    waits = {"": 0, " 60 ": 60, "0": 0, "86400": 86400, "86401": 86400, "999999999": 86400, "1" * 10: 0}
    waits |= {"-1": 0, "1.5": 0, "\u0663": 0, "Mon, 23 Nov 2026 08:00:00 GMT": 0}
    assert {text: read_retry_after(text) for text in waits} == waits


def test_redirects_that_keep_the_event() -> None:
    assert [status for status in range(200, 600) if is_redirect(status)] == [301, 302, 303, 307, 308]


def test_the_signature_of_an_event() -> None:
    # RFC 4231, test case 2, in base64.
    expected = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="
    assert event_signature(b"Jefe", b"what do ya want for nothing?") == expected
