"""The recorded scenarios of devices: reading them, filling in what differs in every run, judging answers.

A scenario of the kind `contract` must be answered as recorded. Where the original misbehaves the others say
so; what this server does there instead is in `OTHERWISE`, step by step.
"""

import base64
import json
import plistlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Scenario = dict[str, Any]  # one recorded scenario, as the file holds it
Step = dict[str, Any]  # one request with everything that follows from it

FILE = Path(__file__).parent / "data" / "golden" / "device-protocol.json"

LEFT_OUT = {
    "validate-issuer": "its set-up imports a database",
    "ota-phase3": "POST /ota/phase23 does not exist yet",
    "webhook-receiver-refuses": "a refused event is sent again here; the outbox has tests of its own",
}
"""Scenarios that are not replayed, and why."""

OTHERWISE: dict[str, dict[int, tuple[int, str]]] = {
    # a command that is out is offered again until it is answered
    "idle-repeated-rotates": {number: (200, "cmd-1") for number in (6, 7, 9, 11)},
    # refused commands are listed too, and come back at the next Idle
    "notnow-single": {5: (200, '"n-1"')},
    "notnow-then-others": {8: (200, '"n-1"'), 9: (200, "")},
    "notnow-ack-while-parked": {5: (200, "")},
    "unknown-status": {4: (200, "u-1"), 5: (200, "u-1")},
    "blocked-device": {10: (404, "error")},
    "user-enrollment-id": {4: (500, "")},
    "methods-and-paths": {**{number: (405, "") for number in (*range(6), 9)}, 8: (301, "")},
    # an answer counts for the command that is out
    "duplicate-command-uuid": {6: (200, "DeviceInformation")},
    "declarative-management-identifiers": {number: (500, "") for number in (4, 5, 8)},
    "queue-key-confusion": {6: (200, ""), **{n: (500, "") for n in (7, 8, 9, 10)}, 11: (200, "secret-2")},
    "shared-ipad-user-channel": {5: (400, "UserShortName"), 6: (200, "")},
}
"""Steps that are answered otherwise on purpose: status and what the body holds, "" for an empty body."""

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_PATTERNS = {"<uuid>": _UUID, "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"}
_MARK = re.compile(r"<uuid:\d+>|<uuid>|<time>|<base64:[\w-]+>|<server-url>|<dm-origin>")


def scenarios() -> list[Scenario]:
    """The scenarios that are replayed."""
    return [one for one in json.loads(FILE.read_text("utf-8")) if one["name"] not in LEFT_OUT]


class Known(dict[str, str]):
    """What stands for the marks of a scenario: given (`<server-url>`) or learnt on the way (`<uuid:1>`)."""

    def fill(self, text: str) -> str:
        """A recorded text with the marks that are known replaced."""
        return _MARK.sub(lambda mark: self.get(mark[0], mark[0]), text)

    def same(self, expected: Any, got: Any) -> bool:
        """Whether a value is what is expected; texts may hold marks, which are learnt from it."""
        if isinstance(expected, str) and isinstance(got, str):
            return self._same_text(expected, got)
        if isinstance(expected, dict) and isinstance(got, dict):
            alike = expected.keys() == got.keys()
            return alike and all(self.same(expected[key], got[key]) for key in expected)
        if isinstance(expected, list) and isinstance(got, list):
            return len(expected) == len(got) and all(map(self.same, expected, got))
        return type(expected) is type(got) and bool(expected == got)

    def _same_text(self, expected: str, got: str) -> bool:
        if self.fill(expected) == got:
            return True
        pattern, at, groups = "", 0, dict[str, str]()
        for mark in _MARK.finditer(expected):
            pattern, at = pattern + re.escape(expected[at : mark.start()]), mark.end()
            name = mark[0]
            if name in self:
                pattern += re.escape(self[name])
            elif name in groups.values():
                pattern += f"(?P={next(group for group, other in groups.items() if other == name)})"
            elif name in _PATTERNS:
                pattern += _PATTERNS[name]
            else:
                groups[f"g{len(groups)}"] = name
                pattern += f"(?P<g{len(groups) - 1}>{_UUID})"
        found = re.fullmatch(pattern + re.escape(expected[at:]), got, re.DOTALL)
        if found:
            self.update({groups[group]: value for group, value in found.groupdict().items()})
        return found is not None


def fault(scenario: Scenario, number: int, known: Known, answer: tuple[int, Mapping[str, str], bytes]) -> str:
    """What is wrong with the answer (status, headers in lower case, body) to a step, "" when nothing."""
    status, headers, body = answer
    expected = scenario["steps"][number]["response"]
    other = OTHERWISE.get(scenario["name"], {}).get(number)
    if other is not None:
        wanted, inside = other
        fits = inside.encode() in body if inside else not body
        return "" if status == wanted and fits else f"{status} {body[:300]!r}, not {other}"
    if status != expected["status"]:
        return f"status {status}, not {expected['status']}: {body[:300]!r}"
    for name, value in expected["headers"].items():
        found = headers.get(name.lower())
        if name not in ("Content-Length", "Transfer-Encoding") and not _same_header(value, found):
            return f"{name} is {found!r}, not {value!r}"
    if expected.get("body_encoding") == "label":
        return "" if body else "no body"
    path, text = scenario["steps"][number]["request"]["path"], expected["body"]
    if status >= 400 and text and not path.startswith("/mdm/"):  # words for people
        return "" if body else "no word about the error"
    return _differs(known, text, body, asked=scenario["steps"][number]["request"])


def _same_header(value: str, got: str | None) -> bool:
    return got == value or (value == "text/plain" and got == f"{value}; charset=utf-8")


def _differs(known: Known, text: str, body: bytes, asked: Any) -> str:
    got = body.decode()
    if known.same(text, got):
        return ""
    want, have = _document(text), _document(got)
    if asked["method"] == "GET" and asked["path"].startswith("/v1/commands/"):
        want, have = _listed(want), _listed(have)
    if want is not None and known.same(want, have):
        return ""
    return f"body {got[:500]!r}, not {text[:500]!r}"


def _document(text: str) -> Any:
    """A text as JSON; None when its very bytes count."""
    if not text.startswith("{"):
        return None
    return {key: value for key, value in json.loads(text).items() if value is not None}


def _listed(document: Any) -> Any:
    """A view of a queue by uuid: the original moves a command that is out to the end, here it stays first."""
    if not isinstance(document, dict):
        return None
    return sorted(document.get("commands", []), key=lambda one: str(one["uuid"]))


def events_of(scenario: Scenario, number: int) -> list[str]:
    """The events that a step brings, in order."""
    step = scenario["steps"][number]
    refused = OTHERWISE.get(scenario["name"], {}).get(number, (200, ""))[0] >= 400
    return [] if refused else list(step["webhook"])


def event_fault(expected: str, got: bytes, known: Known) -> str:
    """What is wrong with an event, "" when nothing."""
    same = known.same(json.loads(expected), json.loads(got))
    return "" if same else f"event {got[:400]!r}, not {expected[:400]}"


def body_of(request: Any, known: Known) -> bytes:
    """The body of a recorded request."""
    text = str(request.get("body", ""))
    if request.get("body_encoding") == "base64":
        return base64.b64decode(text)
    if text.startswith("<large: Acknowledged big-1"):
        udid = "00000000-0000-4000-8000-000000000120"
        report = {"UDID": udid, "Status": "Acknowledged", "CommandUUID": "big-1", "Blob": bytes(6_500_000)}
        return plistlib.dumps(report)
    return known.fill(text).encode()
