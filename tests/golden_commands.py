"""The recorded command conversions: reading the cases and judging a result."""

import base64
import json
import plistlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

Case = dict[str, Any]  # one recorded case, as the file holds it

GOLDEN = Path(__file__).parent / "data" / "golden"
FILES = ("commands.json", "commands-schema.json", "commands-strict.json")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def cases(*names: str) -> Iterator[Case]:
    """The cases of the named files, all three by default."""
    for name in names or FILES:
        yield from json.loads((GOLDEN / name).read_text("utf-8"))["cases"]


def body_of(case: Case) -> bytes:
    """The recorded request body."""
    if "request_base64" in case:
        return base64.b64decode(case["request_base64"])
    if "request_raw" in case:
        return str(case["request_raw"]).encode()
    return json.dumps(case["request_json"], ensure_ascii=False).encode("utf-8", "surrogatepass")


def marked(value: Any) -> Any:
    """A property list in the notation of the cases: data, dates and reals are marked."""
    if isinstance(value, bytes):
        return {"$data": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$date": value.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if isinstance(value, float):
        return {"$real": value}
    if isinstance(value, dict):
        return {key: marked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner) for inner in value]
    return value


def same(wanted: Any, found: Any) -> bool:
    """Whether two trees are equal, types included; `<uuid>` stands for any random UUID."""
    if wanted == "<uuid>":
        return isinstance(found, str) and bool(UUID4.fullmatch(found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(same(wanted[k], found[k]) for k in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(same, wanted, found))
    return type(wanted) is type(found) and bool(wanted == found)


def same_payload(wanted: Any, payload: bytes) -> bool:
    """Whether a queued property list is the wanted one."""
    return same(wanted, marked(plistlib.loads(payload)))


def names_field(text: str, wanted: Case) -> bool:
    """Whether an error text begins with one of the fields that may be blamed."""
    fields = [wanted["error_field"], *wanted.get("error_field_also", [])] if wanted.get("error_field") else []
    return not fields or any(re.match(re.escape(name) + r"(?!\w)", text) for name in fields)
