"""Apple's command schema, overlaid with MicroMDM's names and habits.

Two data files are merged, each command when it is first needed: `apple-commands.json` (which keys exist) and
`micromdm-commands.json` (what MicroMDM calls a key, and what it does with an empty value).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["Empty", "Key", "Keys", "command_keys", "request_types", "setting_items"]

Empty = str
"""What happens to an empty or absent value.

"given" sends what is given, "omit" leaves an empty value out, "keep" sends the empty value even when the key
is absent."""

Row = Mapping[str, Any]  # an entry of one of the data files

_SPELLINGS = {"ManagedAppsOnly": "managed_apps_only", "FilterExtensionPoints": "filter_extension_points"}
"""Keys that are shown in the regular spelling, because MicroMDM's is a typo."""
_OPEN = frozenset({"MDMOptions", "Attributes"})
"""Dictionaries that pass unknown keys on, and whose keys MicroMDM spells as in the property list."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a command.

    Attributes:
        name: key in the property list.
        lead: its name in JSON, for echo and errors.
        names: every JSON spelling, best first.
        type: string, boolean, integer, data, array, dictionary or any.
        empty: see `Empty`.
        required: Apple requires it.
        values: allowed values, () for all.
        keys: the keys of a dictionary.
        item: the elements of an array.
        variants: the elements of the array of settings, by item name.
        open: whether keys outside the schema are passed on.
    """

    name: str
    lead: str
    names: tuple[str, ...]
    type: str
    empty: Empty = "given"
    required: bool = False
    values: tuple[Any, ...] = ()
    keys: "Keys | None" = None
    item: "Key | None" = None
    variants: "Mapping[str, Keys] | None" = None
    open: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one dictionary, which can be looked up by any spelling."""

    all: tuple[Key, ...]
    _exact: Mapping[str, Key] = field(repr=False)
    _folded: Mapping[str, Key] = field(repr=False)

    @classmethod
    def of(cls, keys: Iterable[Key]) -> "Keys":
        """Index the keys by all their names."""
        found = tuple(keys)
        exact: dict[str, Key] = {}
        folded: dict[str, Key] = {}
        for rank in range(3):
            for key in found:
                for name in key.names[rank : rank + 1]:
                    exact.setdefault(name, key)
                    folded.setdefault(name.lower(), key)
        return cls(found, exact, folded)

    def find(self, name: str) -> Key | None:
        """The key that a JSON name means: by exact spelling first, then ignoring case. None if unknown."""
        return self._exact.get(name) or self._folded.get(name.lower())


@cache
def _data(name: str) -> Row:
    text = files("micromdm_py").joinpath("data", name).read_text("utf-8")
    found: Row = json.loads(text)
    return found


@cache
def request_types() -> frozenset[str]:
    """Every request type of the schema."""
    return frozenset(_data("apple-commands.json")["commands"])


@cache
def command_keys(request_type: str) -> Keys:
    """The keys of a command, including those that all commands have. Raises: KeyError."""
    apple = _data("apple-commands.json")
    rows = [*apple["commands"][request_type].get("keys", []), *apple["commonkeys"]]
    return _keys(rows, _data("micromdm-commands.json")["commands"].get(request_type, ()))


def setting_items() -> Mapping[str, Keys]:
    """The settings by item name, each with the keys of its dictionary."""
    found = command_keys("Settings").find("settings")
    assert found is not None and found.variants is not None  # noqa: S101  # the shipped schema has them
    return found.variants


def _keys(
    rows: Iterable[Row], habits: Iterable[Row], *, settings: bool = False, opened: bool = False
) -> Keys:
    """Merge rows of Apple's schema with MicroMDM's habits; keys only MicroMDM knows come last."""
    known = {row["plist"]: row for row in habits}
    found = []
    for row in rows:
        habit = known.pop(row["name"], None)
        found.append(_key(row, habit, settings=settings, opened=opened))
    found += [_key({"name": n, "type": h["type"], "json": h["json"]}, h) for n, h in known.items()]
    return Keys.of(found)


def _key(row: Row, habit: Row | None, *, settings: bool = False, opened: bool = False) -> Key:
    name, rule = row["name"], row.get("json", row["name"])
    used: str = habit["json"] if habit else rule
    lead: str = name if opened else _SPELLINGS.get(name, used)
    kind = "any" if "anykey" in row else row["type"]
    if name == "ScanTime":
        kind = "digits"
    elif name == "iTunesStoreID" and row["type"] == "string":
        kind = "integer or string"
    empty: Empty = habit["empty"] if habit and not settings else "given"
    if name == "MaxUserDeferrals" or empty not in ("omit", "keep"):
        empty = "given"
    inner = habit.get("fields", ()) if habit else ()
    is_open = name in _OPEN and "subkeys" in row
    item = None
    if "items" in row:
        item = _key(
            {**row["items"], "json": lead},
            {**(habit or {}), "json": lead, "empty": "given"} if habit else None,
        )
    subkeys = None
    if "subkeys" in row and kind != "any":
        subkeys = _keys(row["subkeys"], inner, settings=settings, opened=is_open)
    return Key(
        name,
        lead,
        tuple(dict.fromkeys((used, rule, name))),
        kind,
        empty,
        row.get("presence") == "required",
        tuple(row.get("rangelist", ())),
        subkeys,
        item,
        _variants(row, habit) if "variants" in row else None,
        is_open,
    )


def _variants(row: Row, habit: Row | None) -> dict[str, Keys]:
    habits = habit.get("items", {}) if habit else {}
    return {
        variant["name"]: _keys(variant["subkeys"], habits.get(variant["name"], ()), settings=True)
        for variant in row["variants"]
    }
