"""Databases whose pages are sound and whose rows are anything: imported, or lost with a reason."""

import tempfile
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micromdm_py.errors import BadDatabase
from micromdm_py.migration import messages
from micromdm_py.migration.messages import OldCommand, encode
from micromdm_py.migration.micromdm import content
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import KNOWN, OldDatabase
from tests.builders import NOW
from tests.migration.samples import sample, written
from tests.storage.backends import open_lmdb

NAMES = st.one_of(
    st.text(max_size=8), st.sampled_from(["A", "B", "A:B", "x" * 256, "y" * 600, "\0", "é" * 200])
)
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "str": NAMES,
    "bytes": st.binary(max_size=8),
    "bool": st.booleans(),
    "int": st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.just(messages.NEVER)),
    "tuple[str, ...]": st.lists(NAMES, max_size=2).map(tuple),
}
COMMANDS = st.builds(OldCommand, NAMES, st.one_of(st.binary(max_size=8), st.just(b"<plist/>")))
MESSAGES = {
    "mdm.Devices": messages.OldDevice,
    "mdm.PushInfo": messages.OldPush,
    "mdm.DeviceCommands": messages.OldQueue,
    "mdm.Users": messages.OldUser,
    "mdm.Profile": messages.OldProfile,
    "mdm.Blueprint": messages.OldBlueprint,
    "mdm.RemoveDevice": messages.OldBlock,
}


def anything(message: type[Any]) -> st.SearchStrategy[bytes]:
    kinds = {
        field.name: TYPES.get(str(field.type), st.lists(COMMANDS, max_size=3).map(tuple))
        for field in fields_of(message)
    }
    return st.builds(message, **kinds).map(encode)


ROWS = st.sampled_from(sorted(MESSAGES)).flatmap(
    lambda name: st.tuples(st.just(name), NAMES.filter(bool).map(str.encode), anything(MESSAGES[name]))
)
RAW = st.tuples(st.sampled_from(sorted(KNOWN)), st.binary(min_size=1, max_size=8), st.binary(max_size=40))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(ROWS, RAW), max_size=12))
def test_any_rows_are_imported_or_lost_with_a_reason(rows: list[tuple[str, bytes, bytes]]) -> None:
    database = sample()
    for name, key, value in rows:
        database.setdefault(name.encode(), {})[key] = value
    with tempfile.TemporaryDirectory() as folder:
        path, report = Path(folder, "micromdm.db"), Report("")
        path.write_bytes(written(database))
        store = open_lmdb(Path(folder, "store"))
        try:
            with OldDatabase(path, report) as old:
                store.load(content(old, report, NOW), at=NOW)
        except BadDatabase:
            return
        finally:
            store.close()
    for name, one in report.buckets.items():
        assert one.read == len(database[name.encode()])
        assert one.read <= one.imported + one.derived + one.left + len(one.lost), name
    assert report.as_text() and report.as_json()
