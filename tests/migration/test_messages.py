"""The messages of the sample against what the original reads, and the wire form against bad bytes."""

import base64
import dataclasses
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import BadDatabase
from micromdm_py.migration import messages
from micromdm_py.migration.bolt import BoltFile
from micromdm_py.migration.messages import OldCommand, OldDevice, OldQueue, decode, encode
from micromdm_py.migration.wire import bytes_field, fields, number_field
from tests.migration.samples import SAMPLE, expected

KINDS: dict[str, type[Any]] = {
    "mdm.Devices": messages.OldDevice,
    "mdm.PushInfo": messages.OldPush,
    "mdm.DeviceCommands": messages.OldQueue,
    "mdm.Users": messages.OldUser,
    "mdm.Profile": messages.OldProfile,
    "mdm.Blueprint": messages.OldBlueprint,
    "mdm.RemoveDevice": messages.OldBlock,
    "mdm.ServerConfig": messages.OldServerConfig,
}
NEVER_WRITTEN = {"mdm_topic", "dep_device", "last_query_response"}


def plain(message: Any) -> Any:
    """As `expected.json` has it."""
    found = {}
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if isinstance(value, tuple):
            found[field.name] = [plain(one) if dataclasses.is_dataclass(one) else one for one in value]
        elif not isinstance(value, bytes):
            found[field.name] = value
        elif field.name.startswith("push_"):
            found[field.name] = value.decode()
        else:
            found[f"{field.name}_b64"] = base64.b64encode(value).decode()
    return found


@pytest.mark.parametrize("bucket", KINDS)
def test_records_of_the_sample_are_decoded_as_the_original_does(bucket: str) -> None:
    with BoltFile(SAMPLE) as file:
        rows = {key.decode(): value for key, value in file.rows(dict(file.buckets())[bucket.encode()])}
    unknown: Counter[str] = Counter()
    want = expected()["buckets"][bucket]
    assert rows.keys() == want.keys()
    for key, value in rows.items():
        assert isinstance(value, bytes)
        message = decode(KINDS[bucket], value, unknown)
        got = plain(message)
        got = {k: v for k, v in got.items() if k in want[key] or k.removesuffix("_b64") not in NEVER_WRITTEN}
        assert got == want[key]
        assert encode(message) == value  # byte for byte what the original writes
    assert not unknown


OLD_COMMANDS = st.builds(
    OldCommand, st.text(), st.binary(), st.integers(-(1 << 63), (1 << 63) - 1), times_sent=st.integers(0, 9)
)


@given(st.builds(OldQueue, st.text(), *(st.lists(OLD_COMMANDS, max_size=4).map(tuple) for _ in range(4))))
def test_what_is_encoded_is_decoded(queue: OldQueue) -> None:
    assert decode(OldQueue, encode(queue)) == queue


@given(st.binary())
def test_any_bytes_are_fields_or_one_error(data: bytes) -> None:
    try:
        found = list(fields(data))
    except BadDatabase:
        return
    assert sum(len(value) for _, value in found if isinstance(value, bytes)) <= len(data)


@given(st.binary(), st.sampled_from(sorted(KINDS)))
def test_any_bytes_are_a_message_or_one_error(data: bytes, bucket: str) -> None:
    try:
        decode(KINDS[bucket], data)
    except BadDatabase:
        return


@given(st.data())
def test_a_message_that_is_cut_off_is_one_error_or_a_shorter_message(data: st.DataObject) -> None:
    whole = encode(OldQueue("id", (OldCommand("uuid", b"payload", -1),) * 3))
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        assert decode(OldQueue, part) != decode(OldQueue, whole)
    except BadDatabase:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",  # a number that does not end
        b"\xff" * 11,  # of more than 64 bits
        b"\x08" + b"\xff" * 9 + b"\x7f",  # likewise, in its tenth byte
        b"\x00\x01",  # field 0
        b"\x0b",  # a group
        b"\x0f",  # a kind that does not exist
        b"\x0a\x05ab",  # cut off
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # longer than anything
        b"\x0d\x01\x02",  # a fixed number cut off
    ],
)
def test_bad_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadDatabase):
        list(fields(data))


def test_unknown_fields_are_counted_and_left_out() -> None:
    unknown: Counter[str] = Counter()
    odd = bytes_field(31, b"new") + number_field(2, 5) + bytes_field(3, b"S") + number_field(31, 1)
    assert decode(OldDevice, odd, unknown) == OldDevice(serial_number="S")
    assert unknown == {"OldDevice 31": 2, "OldDevice 2": 1}


def test_a_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(BadDatabase, match="serial_number is not valid UTF-8"):
        decode(OldDevice, bytes_field(3, b"\xff"))
