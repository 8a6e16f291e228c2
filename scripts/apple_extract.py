#!/usr/bin/env python3
"""Make micromdm_py/data/apple-commands.json from Apple's schema of MDM commands and check-in messages.

::

    git clone https://github.com/apple/device-management
    scripts/apple_extract.py device-management --changes scripts/apple-changes.yaml --release 27.0 \
        > micromdm_py/data/apple-commands.json

Names, types and constraints are taken, the describing text is not. The checkout's licence is copied into the
result, and has to stay there. Needs PyYAML. The changes bring release 18.1 up to 27.0; for a checkout of 27.0
or later, leave of them only the part `common`.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["compact", "extract", "json_name"]

Document = dict[str, Any]  # one file of the schema, or a part of it
Row = dict[str, Any]  # the same in the extract

FOLDERS = {"commands": "mdm/commands", "checkin": "mdm/checkin"}
LINE = 150
OS_FIELDS = (
    "introduced",
    "deprecated",
    "removed",
    "accessrights",
    "devicechannel",
    "userchannel",
    "supervised",
    "requiresdep",
    "userapprovedmdm",
)
OS_MODES = ("sharedipad", "userenrollment")
COPIED = ("rangelist", "range", "default", "format", "repetition")
NEVER = {"introduced": "n/a"}

# Words whose spelling would be torn apart, and acronyms that end where another one begins.
SPELLED = {
    "iTunes": "itunes",
    "AppleID": "apple_id",
    "IPv4": "ip_v4",
    "IPv6": "ip_v6",
    "eSIM": "esim",
    "WiFi": "wifi",
    "iOS": "ios",
}
WORD = re.compile(
    "|".join(SPELLED)
    + "|(?:VPN|LOM|DNS|OS|PIN|MDM|VPP|EACS)(?=UUID|UDID|URL|ID|MDM|DNS)"  # VPNUUID is vpn, uuid
    + "|[A-Z]+(?![a-z])"  # a run of capitals, but for the one that begins the next word
    + "|[A-Z]?[a-z]+|[0-9]+|[A-Z]"
)


def json_name(key: str) -> str:
    """The name of a property list key in the JSON API: its words in lower case, joined by underscores."""
    return "_".join(SPELLED.get(word, word.lower()) for word in WORD.findall(key))


def extract(documents: dict[str, Document], common: list[Document]) -> Row:
    """The schema as data.

    Args:
        documents: parsed files by their path in the checkout.
        common: keys that every command takes.
    """
    found: Row = {"commonkeys": [_key(key, {}, named=True) for key in common]}
    for part, folder in FOLDERS.items():
        items = (
            _item(path, document, named=part == "commands")
            for path, document in documents.items()
            if path.startswith(folder + "/")
        )
        found[part] = dict(sorted(items, key=lambda item: item[0]))
    return found


def _item(path: str, document: Document, *, named: bool) -> tuple[str, Row]:
    """The request type (or message type) and what is known of it; only commands have names in JSON."""
    payload = document["payload"]
    support = _support(payload.get("supportedOS"))
    row = {
        "file": path,
        "title": document.get("title", ""),
        "supportedOS": support,
        "keys": [_key(key, support, named=named) for key in document.get("payloadkeys", [])],
    }
    if document.get("responsekeys"):
        row["responsekeys"] = [_key(key, support, named=False) for key in document["responsekeys"]]
    return payload["requesttype"], row


def _key(key: Document, outer: Row, *, named: bool) -> Row:
    """One key; `outer` is the support of the command, of which only differences are repeated."""
    row: Row = {"name": key["key"]}
    if named and not key["key"].startswith("ANY"):
        row["json"] = json_name(key["key"])
    row["type"] = _type(key)
    if "presence" in key:
        row["presence"] = key["presence"]
    row.update({name: key[name] for name in COPIED if name in key})
    kind = key.get("valuetype") or key.get("subtype")
    if kind:
        row["valuetype"] = kind
    if support := _difference(_support(key.get("supportedOS")), outer):
        row["supportedOS"] = support
    if inner := key.get("subkeys"):
        _add_inner(row, inner, outer, named=named)
    return row


def _add_inner(row: Row, inner: list[Document], outer: Row, *, named: bool) -> None:
    """Add what a key holds: keys of a dictionary, elements of an array, or the values of a scalar."""
    if row["type"] == "array":
        elements = [_key(key, outer, named=named) for key in inner]
        for element in elements:
            element.pop("json", None)
        if len(elements) == 1:
            row["items"] = elements[0]
        else:
            row["variants"] = elements
    elif row["type"] != "dictionary":
        values = ((key["key"], _difference(_support(key.get("supportedOS")), outer)) for key in inner)
        row["values"] = [{"value": v, "supportedOS": s} if s else {"value": v} for v, s in values]
    elif len(inner) == 1 and (inner[0]["key"].startswith("ANY") or _type(inner[0]) == "any"):
        row["anykey"] = {"type": _type(inner[0])}
        if inner[0].get("subkeys"):
            row["anykey"]["subkeys"] = [_key(key, outer, named=named) for key in inner[0]["subkeys"]]
    else:
        row["subkeys"] = [_key(key, outer, named=named) for key in inner]


def _type(key: Document) -> str:
    return str(key.get("type", "<any>")).strip("<>")


def _support(spec: Document | None) -> Row:
    """Support by system; a system without it keeps just that fact."""
    found = {}
    for system, about in (spec or {}).items():
        row = {name: about[name] for name in OS_FIELDS if name in about}
        row.update({name: about[name]["mode"] for name in OS_MODES if "mode" in about.get(name, {})})
        row = NEVER if row.get("introduced") == NEVER["introduced"] else row
        if row:
            found[system] = row
    return found


def _difference(support: Row, outer: Row) -> Row:
    """What a key says of its support that its command does not."""
    found = {}
    for system, about in support.items():
        around = outer.get(system, {})
        if about == NEVER and around.get("introduced", "n/a") == "n/a":
            continue
        row = {name: value for name, value in about.items() if around.get(name) != value}
        if row:
            found[system] = row
    return found


def change(documents: dict[str, Document], changes: Document) -> None:
    """Apply a list of later changes to the parsed files: new files, added keys, other support."""
    documents.update(changes.get("new") or {})
    for edit in changes.get("edit") or []:
        for target in _targets(documents[edit["file"]], edit.get("at")):
            if "add" in edit:
                keys = target if isinstance(target, list) else target.setdefault("subkeys", [])
                keys.extend(edit["add"])
            for system, about in edit.get("os", {}).items():
                target.setdefault("supportedOS", {}).setdefault(system, {}).update(about)


def _targets(document: Document, at: list[Any] | None) -> Iterator[Any]:
    """The parts that an edit means: the payload, or the ends of its paths of keys."""
    if at is None:
        yield document["payload"]
        return
    for part, *names in at if isinstance(at[0], list) else [at]:
        found: Any = document[part]
        for name in names:
            keys = found if isinstance(found, list) else found["subkeys"]
            found = next(key for key in keys if key["key"] == name)
        yield found


def compact(value: Any, indent: int = 0) -> str:
    """JSON in which whatever fits on a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(line) + indent <= LINE:
        return line
    pad = "\n" + " " * (indent + 1)
    if isinstance(value, list):
        parts = [compact(element, indent + 1) for element in value]
    else:
        parts = [f"{json.dumps(name)}: {compact(inner, indent + 1)}" for name, inner in value.items()]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return f"{opening}{pad}{(',' + pad).join(parts)}{pad[:-1]}{closing}"


def main() -> None:
    """Read the command line, write the extract to standard output."""
    import yaml  # type: ignore[import-untyped]  # only here: the rest is of use without it

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="clone of apple/device-management")
    parser.add_argument("--changes", type=Path, help="later changes to apply, see apple-changes.yaml")
    parser.add_argument("--release", default="", help="what to write down as the release")
    options = parser.parse_args()
    documents = {
        path.relative_to(options.checkout).as_posix(): yaml.safe_load(path.read_text("utf-8"))
        for folder in FOLDERS.values()
        for path in sorted((options.checkout / folder).glob("*.yaml"))
    }
    changes = yaml.safe_load(options.changes.read_text("utf-8")) if options.changes else {}
    change(documents, changes)
    about = {
        "what": "Extract of Apple's Device Management Client Schema (repository apple/device-management):"
        " names, types and constraints of MDM commands and check-in messages.",
        "release": options.release,
        "made_with": "scripts/apple_extract.py",
        "json": "the name of a key in the JSON API; MicroMDM's names are in micromdm-commands.json",
        "licence": (options.checkout / "LICENSE.txt").read_text("utf-8").strip(),
    }
    sys.stdout.write(compact({"about": about, **extract(documents, changes.get("common") or [])}) + "\n")


if __name__ == "__main__":
    main()
