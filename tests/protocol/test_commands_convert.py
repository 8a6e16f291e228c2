"""Commands given as JSON: what holds for every command, and what the recorded cases leave out."""

import base64
import json
import plistlib
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.commands import NewCommand, convert_json, read_raw
from micromdm_py.protocol.commands.schema import Key, Keys, command_keys, request_types, setting_items
from micromdm_py.protocol.plist import MAX_DEPTH, loads, xml_text
from tests.golden_commands import body_of, cases

TEXT = st.text(max_size=8)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "boolean": st.booleans(),
    "integer": NUMBERS,
    "digits": st.integers(0, 999) | st.integers(0, 999).map(str),
    "integer or string": NUMBERS | TEXT,
    "data": st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode()),
    "any": st.dictionaries(TEXT.filter(str.isprintable), st.booleans() | NUMBERS | TEXT, max_size=3),
}


def convert(fields: Any, *, strict: bool = False) -> NewCommand:
    body = fields if isinstance(fields, bytes) else json.dumps({"udid": "U", **fields}).encode()
    return convert_json(body, strict=strict, make_uuid=lambda: "new")


def sent(request_type: str, **fields: Any) -> dict[str, Any]:
    """What the device gets, without the request type."""
    command = plistlib.loads(convert({"request_type": request_type, **fields}).payload)["Command"]
    assert command.pop("RequestType") == request_type
    return dict(command)


def refused(request_type: str, *, strict: bool = False, **fields: Any) -> str:
    with pytest.raises(MalformedField) as fault:
        convert({"request_type": request_type, **fields}, strict=strict)
    return fault.value.field


def value_of(key: Key) -> st.SearchStrategy[Any]:
    """Values that fit a key."""
    if key.type == "array":
        if key.variants is not None:
            return st.lists(st.sampled_from(sorted(key.variants)).flatmap(setting), max_size=2)
        return st.lists(value_of(key.item) if key.item else VALUES["any"], max_size=3)
    return members_of(key.keys) if key.keys is not None and key.type != "any" else VALUES[key.type]


def members_of(keys: Keys) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the keys, each in one of its spellings."""

    def member(key: Key) -> st.SearchStrategy[tuple[str, Any]]:
        return st.tuples(st.sampled_from(key.names), st.none() | value_of(key))

    known = [member(key) for key in keys.all]
    return st.lists(st.one_of(known), max_size=4).map(dict) if known else st.just({})


def setting(item: str) -> st.SearchStrategy[dict[str, Any]]:
    return members_of(setting_items()[item]).map(
        lambda fields: {**{k: v for k, v in fields.items() if k.lower() != "item"}, "item": item}
    )


FITTING = st.sampled_from(sorted(request_types())).flatmap(
    lambda name: st.tuples(st.just(name), members_of(command_keys(name)))
)


def check(command: NewCommand) -> None:
    """What is true of every conversion."""
    tree = loads(command.payload, trailing=False)
    assert tree == plistlib.loads(command.payload)
    assert tree["Command"]["RequestType"] == command.request_type
    assert tree["CommandUUID"] == command.command_uuid
    assert read_raw(command.payload).command_uuid == command.command_uuid
    assert json.loads(json.dumps(command.echo, allow_nan=False)) == command.echo
    unset = len(command.echo) - len(tree["Command"])
    assert unset == 0 or (unset == 1 and command.request_type in ("DeviceLock", "RotateFileVaultKey"))


@given(FITTING)
def test_fields_that_fit_the_schema_are_accepted(case: tuple[str, dict[str, Any]]) -> None:
    command = convert({"request_type": case[0], **case[1]})
    check(command)
    assert command.ignored_fields == ()


@given(FITTING)
def test_the_echo_leads_to_the_same_command_again(case: tuple[str, dict[str, Any]]) -> None:
    first = convert({"request_type": case[0], **case[1]})
    assert convert(first.echo).payload == first.payload


@given(st.sampled_from(sorted(request_types())), st.data(), st.booleans())
def test_any_values_are_converted_or_refused(name: str, data: st.DataObject, strict: bool) -> None:
    names = st.sampled_from([n for key in command_keys(name).all for n in key.names]) | TEXT
    fields = data.draw(st.dictionaries(names, JSON, max_size=3))
    try:
        command = convert({"request_type": name, **fields}, strict=strict)
    except MalformedField as fault:
        assert fault.reason
    else:
        check(command)


@given(st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
def test_any_body_is_converted_or_refused(body: bytes) -> None:
    with pytest.raises(MalformedField):
        convert(body)


def sendable(tree: Any) -> Any:
    """A JSON value without members that are null and characters that XML cannot carry."""
    if isinstance(tree, dict):
        return {key: sendable(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [sendable(value) for value in tree]
    return xml_text(tree) if isinstance(tree, str) else tree


@given(JSON)
def test_any_configuration_is_sent_as_it_is_or_refused(tree: Any) -> None:
    try:
        found = sent("InstallApplication", configuration={"a": tree})["Configuration"]
    except MalformedField as fault:
        assert fault.field.startswith("configuration")
    else:
        assert found == sendable({"a": tree})


@pytest.mark.parametrize(
    "case", [case for case in cases() if "path" not in case], ids=lambda case: case["name"]
)
def test_the_echo_of_a_recorded_command_tells_what_is_queued(case: dict[str, Any]) -> None:
    try:
        command = convert(body_of(case))
    except MalformedField:
        return
    check(command)


@pytest.mark.parametrize("text", ["=", "YQ", "YQ=", "YWI==", "YWJj=", "Y Q==", "YQ==YQ==", "_w==", "é"])
def test_data_must_be_standard_base64(text: str) -> None:
    assert refused("InstallProfile", payload=text) == "payload"


def test_line_ends_within_base64_are_skipped() -> None:
    assert sent("InstallProfile", payload="YW\r\nJj\n") == {"Payload": b"abc"}


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02T03:04:05.999+01:30", datetime(2026, 1, 2, 1, 34, 5)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1)),
    ],
)
def test_a_marked_date_is_sent_in_utc(text: str, date: datetime) -> None:
    assert sent("InstallApplication", configuration={"a": {"$date": text}})["Configuration"] == {"a": date}


@pytest.mark.parametrize(
    "text",
    ["2026-01-02", "2026-W01", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:00", "2026-01-02T03:04:05", 5],
)
def test_a_marked_date_must_be_one(text: Any) -> None:
    assert refused("InstallApplication", configuration={"a": {"$date": text}}) == "configuration.a.$date"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9223372036854775808", "-9223372036854775809"])
def test_a_number_beyond_its_range_is_refused(number: str) -> None:
    body = f'{{"udid":"U","request_type":"InstallApplication","configuration":{{"a":{number}}}}}'
    with pytest.raises(MalformedField, match=r"^configuration\.a:"):
        convert(body.encode())


def test_a_binary_property_list_with_a_uid_is_refused() -> None:
    data = base64.b64encode(plistlib.dumps({"a": plistlib.UID(3)}, fmt=plistlib.FMT_BINARY)).decode()
    assert refused("InstallApplication", configuration=data) == "configuration"


def test_a_number_that_json_lacks_is_echoed_as_text() -> None:
    data = base64.b64encode(b"<plist><dict><key>a</key><real>nan</real></dict></plist>").decode()
    command = convert({"request_type": "InstallApplication", "configuration": data})
    assert command.echo["configuration"] == {"a": "nan"}
    assert b"<real>nan</real>" in command.payload


def test_nesting_beyond_what_is_read_back_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        deep = {"a": deep}
    assert refused("InstallApplication", configuration=deep).partition(".")[0] in ("configuration", "body")
    with pytest.raises(MalformedField, match=r"^body:"):
        convert(b'{"a":' * 100_000)


def test_two_keys_cannot_become_one() -> None:
    assert refused("InstallApplication", configuration={"\x01": 1, "\x02": 2}) == "configuration"
    assert refused("InstallApplication", attributes={"\x01": 1}) == "attributes"


@pytest.mark.parametrize(
    ("fields", "echo"),
    [
        ({"request_type": "DeviceLock", "message": "m"}, {"pin": "", "message": "m"}),
        ({"request_type": "RotateFileVaultKey"}, {"filevault_unlock": {}}),
        ({"request_type": "ClearPasscode"}, {"unlock_token": None}),
        (
            {"request_type": "Settings", "settings": [{"item": "Bluetooth", "enabled": True}]},
            {"settings": [{"item": "Bluetooth", "enabled": True, "identifier": None, "configuration": None}]},
        ),
        (
            {"request_type": "AccountConfiguration", "auto_setup_admin_accounts": [{"short_name": "a"}]},
            {"auto_setup_admin_accounts": [{"short_name": "a", "password_hash": None}]},
        ),
    ],
)
def test_the_echo_names_the_unset_fields_that_scripts_find_in_it(
    fields: dict[str, Any], echo: dict[str, Any]
) -> None:
    assert convert(fields).echo == {"request_type": fields["request_type"], **echo}


@pytest.mark.parametrize("unlock", [{}, {"password": ""}, {"password": None}])
def test_a_dictionary_with_nothing_in_it_is_left_out(unlock: dict[str, Any]) -> None:
    assert sent("RotateFileVaultKey", filevault_unlock=unlock) == {}


def test_an_empty_dictionary_that_takes_any_key_is_sent() -> None:
    assert sent("InstallApplication", attributes={}, configuration={}) == {
        "Attributes": {},
        "Configuration": {},
    }


def test_what_xml_cannot_carry_is_echoed_as_it_is_sent() -> None:
    command = convert({"request_type": "RemoveProfile", "identifier": "a\x01\ud800"})
    assert command.echo["identifier"] == "a\ufffd\ufffd"


@pytest.mark.parametrize("uuid", ["a\x00", "\ud800", "x" * 1025])
def test_a_command_uuid_that_could_not_come_back_is_refused(uuid: str) -> None:
    assert refused("ProfileList", command_uuid=uuid) == "command_uuid"


@pytest.mark.parametrize("uuid", [None, "", "  ", "\t\n"])
def test_a_blank_command_uuid_gets_a_new_one(uuid: str | None) -> None:
    assert convert({"request_type": "ProfileList", "command_uuid": uuid}).command_uuid == "new"


def test_of_several_spellings_the_last_counts() -> None:
    body = (
        b'{"UDID":"A","udid":"B","Udid":"U","request_type":"RemoveProfile",'
        b'"identifier":"1","Identifier":"2","identifier":"3"}'
    )
    assert convert(body).udid == "U"
    assert convert(body).echo["identifier"] == "3"


def test_a_key_outside_the_schema_is_passed_on_where_that_is_allowed() -> None:
    command = convert(
        {
            "request_type": "InstallApplication",
            "identifier": "a",
            "attributes": {"New": 1, "Gone": None},
            "other": 2,
        }
    )
    assert command.echo["attributes"] == {"New": 1}
    assert command.ignored_fields == ("other",)
    assert (
        refused("InstallApplication", strict=True, identifier="a", attributes={"New": 1}) == "attributes.New"
    )


def test_null_is_no_field_in_strict_mode_either() -> None:
    assert convert({"request_type": "ProfileList", "other": None}, strict=True).ignored_fields == ()


@pytest.mark.parametrize(
    ("request_type", "fields", "path"),
    [
        ("InstallApplication", {"ManifestURL": "http://x.example.com"}, "ManifestURL"),
        ("EraseDevice", {"Pin": "1"}, "Pin"),
        (
            "ScheduleOSUpdate",
            {"Updates": [{"product_key": "x", "InstallAction": "Default", "MaxUserDeferrals": 1}]},
            "Updates[0].MaxUserDeferrals",
        ),
        (
            "RotateFileVaultKey",
            {"KeyType": "personal", "FileVaultUnlock": {"private_key_export": "AA=="}},
            "FileVaultUnlock.password",
        ),
        ("EnableLostMode", {}, "message"),
        ("Settings", {"Settings": [{"item": "Bluetooth", "Enable": True}]}, "Settings[0].Enable"),
    ],
)
def test_strict_mode_names_a_field_as_the_caller_wrote_it(
    request_type: str, fields: dict[str, Any], path: str
) -> None:
    assert refused(request_type, strict=True, **fields) == path


def test_queries_outside_the_list_pass_strict_mode() -> None:
    command = convert({"request_type": "DeviceInformation", "Queries": ["Unheard"]}, strict=True)
    assert command.echo["queries"] == ["Unheard"]


def test_every_name_of_the_schema_means_one_key() -> None:
    for name in request_types():
        for key in command_keys(name).all:
            assert all(command_keys(name).find(spelling) is key for spelling in key.names)
            assert not {spelling.lower() for spelling in key.names} & {"udid", "request_type", "command_uuid"}
