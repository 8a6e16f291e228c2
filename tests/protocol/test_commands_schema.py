"""The shipped schema: its names, its licence, and the script that makes it."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from micromdm_py.protocol.commands.schema import command_keys, request_types, setting_items

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "micromdm_py" / "data"
APPLE = json.loads((DATA / "apple-commands.json").read_text("utf-8"))
MICROMDM = json.loads((DATA / "micromdm-commands.json").read_text("utf-8"))

SPEC = importlib.util.spec_from_file_location("apple_extract", ROOT / "scripts" / "apple_extract.py")
assert SPEC and SPEC.loader
script: Any = importlib.util.module_from_spec(SPEC)  # Any: a script, loaded by its path
SPEC.loader.exec_module(script)


def rows(part: Any) -> Iterator[dict[str, Any]]:
    """Every key of the commands, on all levels."""
    if isinstance(part, dict):
        if "json" in part:
            yield part
        for name, inner in part.items():
            if name != "responsekeys":
                yield from rows(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from rows(inner)


def test_the_extract_is_complete() -> None:
    assert len(request_types()) == len(APPLE["commands"]) == 68
    assert len(APPLE["checkin"]) == 9
    assert set(MICROMDM["commands"]) <= request_types()
    assert len(setting_items()) == 20


def test_the_names_follow_the_rule() -> None:
    found = list(rows(APPLE["commands"]))
    assert len({row["json"] for row in found}) == 155
    assert all(script.json_name(row["name"]) == row["json"] for row in found)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("ManifestURLPinningCerts", "manifest_url_pinning_certs"),
        ("VPNUUID", "vpn_uuid"),
        ("iTunesStoreID", "itunes_store_id"),
        ("PrimaryIPv6AddressList", "primary_ip_v6_address_list"),
        ("ManagedAppleIDDefaultDomains", "managed_apple_id_default_domains"),
        ("eSIMServerURL", "esim_server_url"),
        ("LOMDeviceRequest", "lom_device_request"),
        ("shortName", "short_name"),
    ],
)
def test_a_name_is_the_words_of_the_key(key: str, name: str) -> None:
    assert script.json_name(key) == name


def test_no_two_keys_of_a_command_share_a_name() -> None:
    for request_type in request_types():
        meant: dict[str, str] = {}
        for key in command_keys(request_type).all:
            for name in key.names:
                assert meant.setdefault(name.lower(), key.name) == key.name


def test_the_licence_of_the_schema_is_shipped() -> None:
    licence = APPLE["about"]["licence"]
    assert "Apple Inc." in licence
    assert "Permission is hereby granted" in licence
    assert licence in (DATA / "NOTICE").read_text("utf-8")


def test_the_file_is_written_as_the_script_writes() -> None:
    assert script.compact(APPLE) + "\n" == (DATA / "apple-commands.json").read_text("utf-8")


def test_the_script_takes_names_types_and_constraints() -> None:
    document = {
        "title": "Do Command",
        "description": "Left out.",
        "payload": {
            "requesttype": "Do",
            "supportedOS": {
                "iOS": {"introduced": "9.0", "userenrollment": {"mode": "forbidden"}},
                "tvOS": {"introduced": "n/a", "supervised": True},
            },
        },
        "payloadkeys": [
            {
                "key": "Kind",
                "type": "<string>",
                "presence": "required",
                "rangelist": ["A"],
                "content": "Left out.",
            },
            {"key": "Free", "type": "<dictionary>", "subkeys": [{"key": "ANY", "type": "<any>"}]},
            {"key": "List", "type": "<array>", "subkeys": [{"key": "ListItem", "type": "<string>"}]},
            {
                "key": "New",
                "type": "<boolean>",
                "supportedOS": {"iOS": {"introduced": "10.0"}, "tvOS": {"introduced": "n/a"}},
            },
        ],
    }
    documents = {"mdm/commands/do.yaml": document, "other/not.yaml": {}}
    script.change(
        documents,
        {
            "edit": [
                {"file": "mdm/commands/do.yaml", "os": {"iOS": {"removed": "27.0"}}},
                {
                    "file": "mdm/commands/do.yaml",
                    "at": ["payloadkeys"],
                    "add": [{"key": "More", "type": "<data>"}],
                },
            ]
        },
    )
    support = {
        "iOS": {"introduced": "9.0", "removed": "27.0", "userenrollment": "forbidden"},
        "tvOS": {"introduced": "n/a"},
    }
    assert script.extract(documents, []) == {
        "commonkeys": [],
        "commands": {
            "Do": {
                "file": "mdm/commands/do.yaml",
                "title": "Do Command",
                "supportedOS": support,
                "keys": [
                    {
                        "name": "Kind",
                        "json": "kind",
                        "type": "string",
                        "presence": "required",
                        "rangelist": ["A"],
                    },
                    {"name": "Free", "json": "free", "type": "dictionary", "anykey": {"type": "any"}},
                    {
                        "name": "List",
                        "json": "list",
                        "type": "array",
                        "items": {"name": "ListItem", "type": "string"},
                    },
                    {
                        "name": "New",
                        "json": "new",
                        "type": "boolean",
                        "supportedOS": {"iOS": {"introduced": "10.0"}},
                    },
                    {"name": "More", "json": "more", "type": "data"},
                ],
            }
        },
        "checkin": {},
    }
