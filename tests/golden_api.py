"""The recorded requests of the administrators' API: reading the cases, judging an answer.

A case that is marked `exact` must be answered as recorded. In the others the original misbehaves; what is
wanted instead is the status that the case names, and here the rest.
"""

import base64
import binascii
import json
import plistlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.golden_commands import marked

Case = dict[str, Any]  # one recorded case, as the file holds it

FILE = Path(__file__).parent / "data" / "golden" / "http-api.json"
A, B = (f"8E4B9E5C-0A51-4A5B-9C7E-0000000000{end}" for end in ("A1", "B2"))
BETTER: dict[str, tuple[int, list[str]]] = {
    "devices/list/filter-udid": (200, [B]),
    "devices/list/paging": (200, [A]),
    "blueprints/apply/rename": (200, []),
    "users/list/filter-ignored": (200, []),
    "commands/view/after-delivery": (200, ["cmd-1", "cmd-2"]),
    "commands/view/after-notnow": (200, ["cmd-1"]),
    "commands/new/duplicate-uuid": (201, []),
    "mdm/connect/no-signature": (500, []),
    "push/unregistered": (502, []),
    "push/bad-device-token": (502, []),
}
"""Quirks: our status and the ids that the answer lists, where the case itself does not say."""

AFTERWARDS: dict[str, list[tuple[int, list[str]]]] = {
    "blueprints/apply/rename": [(404, []), (200, ["bp-1"])],
    "dep/autoassigners/set/no-profile": [(200, [])],
    "devices/remove/partial": [(200, [A, B])],
    "commands/new/duplicate-uuid": [(200, ["cmd-1", "cmd-1"])],
    "apps/upload/name-without-file": [(404, [])],
    "config/certificate/put-empty": [(404, [])],
    "config/certificate/put-garbage": [(200, [])],
}
"""The same for the requests that follow a quirk."""

_PATTERNS = {
    "<uuid>": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z",
    "<der-certificate>": r"MII[A-Za-z0-9+/]{500,}={0,2}",
    "<challenge>": r"[A-Za-z0-9+/]{32}",
}
NOTHING = b"404 page not found\n"
_OPTIONAL = ("devices", "commands", "apps")


def cases() -> Iterator[Case]:
    """Every case."""
    yield from json.loads(FILE.read_text("utf-8"))


def requests_of(case: Case) -> list[Any]:
    """Every request of a case, in order."""
    return [*case["state"], case["request"], *(one["request"] for one in case.get("after", ()))]


def body_of(request: Any) -> bytes:
    """The body of a recorded request."""
    text = str(request["body"])
    return base64.b64decode(text[7:]) if text.startswith("base64:") else text.encode()


def fault(case: Case, status: int, headers: dict[str, str], body: bytes, after: int | None = None) -> str:
    """What is wrong with an answer, "" when nothing; `after` is the number of the request that follows."""
    recorded = case["response"] if after is None else case["after"][after]["response"]
    if case["match"] == "exact":
        return _differs(recorded, case.get("compare", []), status, headers, body)
    if after is not None:
        wanted, listed = AFTERWARDS[case["name"]][after]
    else:
        wanted, listed = BETTER.get(case["name"], (case.get("better", {}).get("status"), []))
    if status != wanted:
        return f"status {status}, not {wanted}: {body[:200]!r}"
    if listed and _ids(body) != listed:
        return f"lists {_ids(body)}, not {listed}"
    if status >= 400 and body not in (b"", NOTHING) and not body.startswith(b'{\n  "error": "'):
        return f"no error in the usual form: {body[:200]!r}"
    return ""


def _ids(body: bytes) -> list[str]:
    (items,) = json.loads(body).values()
    return [one.get("udid") or one.get("uuid") for one in items]


def _differs(recorded: Any, rules: list[str], status: int, headers: dict[str, str], body: bytes) -> str:
    if status != recorded["status"]:
        return f"status {status}, not {recorded['status']}: {body[:200]!r}"
    for name, value in recorded["headers"].items():
        if headers.get(name.lower()) != value:
            return f"{name} is {headers.get(name.lower())!r}, not {value!r}"
    if "status-only" in rules or 300 <= status < 400:
        return ""
    if "json" not in recorded["headers"].get("Content-Type", ""):
        if recorded["body"] == "<database-bytes>":
            return "" if len(body) > 4096 else f"only {len(body)} bytes"
        return "" if body.decode() == recorded["body"] else f"body {body[:200]!r}"
    wanted, found = (_comparable(json.loads(text), rules) for text in (recorded["body"], body))
    if "fields-only" in rules:
        return "" if wanted.keys() == found.keys() else f"fields {sorted(found)}"
    return "" if _same(wanted, found) else f"{found} is not {wanted}"


def _comparable(value: Any, rules: list[str], top: bool = True) -> Any:
    """A document without what may differ: empty lists, the order of devices, the layout of property lists."""
    if isinstance(value, list):
        return [_comparable(one, rules, False) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: _comparable(inner, rules, False) for key, inner in value.items()}
    if top:
        found = {
            key: inner for key, inner in found.items() if inner not in (None, []) or key not in _OPTIONAL
        }
        if "unordered:devices" in rules and "devices" in found:
            found["devices"].sort(key=lambda device: str(device["udid"]))
    if "payload-as-plist" in rules and isinstance(found.get("payload"), str):
        try:
            found["payload"] = marked(plistlib.loads(base64.b64decode(found["payload"])))
        except (binascii.Error, plistlib.InvalidFileException):
            pass
    return found


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, str) and wanted in _PATTERNS:
        return isinstance(found, str) and bool(re.fullmatch(_PATTERNS[wanted], found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(_same(wanted[key], found[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return type(wanted) is type(found) and bool(wanted == found)
