"""Raw commands made from words."""

import plistlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.commands import read_raw
from micromdm_py.protocol.commands.generate import WrongKeys, generate
from micromdm_py.protocol.commands.schema import command_keys, request_types

FILES = {
    "profile": b"<data>",
    "app.plist": plistlib.dumps({"a": b"1"}, fmt=plistlib.FMT_BINARY),
    "app.json": b' {"a": {"$data": "MQ=="}}',
    "broken": b"<plist>",
}


def read(name: str) -> bytes:
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[name]


def made(line: str) -> dict[str, Any]:
    """What the device gets, without the request type."""
    request_type, *words = line.split()
    payload, _ = generate(request_type, words, "1", read)
    assert read_raw(payload).command_uuid == "1"
    command = plistlib.loads(payload)["Command"]
    assert command.pop("RequestType") == request_type
    return dict(command)


def faults(line: str) -> list[str]:
    with pytest.raises(WrongKeys) as fault:
        made(line)
    return [text.partition(":")[0] for text in fault.value.faults]


@pytest.mark.parametrize("request_type", sorted(request_types()))
def test_every_type_can_be_made_without_keys(request_type: str) -> None:
    assert made(request_type) == {}


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("ProfileList managed_only=false", {"ManagedOnly": False}),
        ("ProfileList ManagedOnly=true", {"ManagedOnly": True}),
        ("DeviceInformation queries=UDID Queries=OSVersion", {"Queries": ["UDID", "OSVersion"]}),
        ("DeviceLock message=a=b pin=000000", {"Message": "a=b", "PIN": "000000"}),
        ("InstallProfile payload=AAE=", {"Payload": b"\0\1"}),
        ("InstallProfile payload=@profile", {"Payload": b"<data>"}),
        ("InstallMedia itunes_store_id=-7", {"iTunesStoreID": -7}),
        ("EraseDevice return_to_service.enabled=true", {"ReturnToService": {"Enabled": True}}),
        (
            "Settings settings.0.item=Bluetooth settings.0.enabled=false settings.1.Item=TimeZone",
            {"Settings": [{"Item": "Bluetooth", "Enabled": False}, {"Item": "TimeZone"}]},
        ),
        (
            "InstallApplication attributes.AssociatedDomains=a attributes.associated_domains=b",
            {"Attributes": {"AssociatedDomains": ["a", "b"]}},
        ),
        ("InstallApplication configuration=@app.plist", {"Configuration": {"a": b"1"}}),
        ("InstallApplication configuration=@app.json", {"Configuration": {"a": b"1"}}),
        ('InstallApplication configuration={"a":[1,null]}', None),
        ('InstallApplication configuration={"a":[1]}', {"Configuration": {"a": [1]}}),
        (
            "InstallApplication configuration.a.b=x configuration.a.c=true configuration.d=1",
            {"Configuration": {"a": {"b": "x", "c": True}, "d": "1"}},
        ),
        ("ProfileList request_requires_network_tether=true", {"RequestRequiresNetworkTether": True}),
    ],
)
def test_words_become_values_of_the_type_apple_gives(line: str, command: dict[str, Any] | None) -> None:
    if command is None:
        assert faults(line) == ["configuration"]
    else:
        assert made(line) == command


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("ProfileList foo=1 managed_only=maybe bar=2", ["foo", "managed_only", "bar"]),
        ("ProfileList managed_only", ["managed_only"]),
        ("ProfileList =1 managed_only.x=1", ["", "managed_only.x"]),
        ("EraseDevice pin=1 pin=2 return_to_service=1", ["pin", "return_to_service"]),
        ("InstallMedia itunes_store_id=1_0 media_type=Film", ["itunes_store_id", "media_type"]),
        ("InstallMedia itunes_store_id=99999999999999999999", ["itunes_store_id"]),
        ("InstallProfile payload=@nothing", ["payload"]),
        ("InstallProfile payload=AA", ["payload"]),
        ("DeviceInformation queries.0=UDID", ["queries.0"]),
        (
            "Settings settings=1 settings.0=1 settings.1.item=HostName",
            ["settings", "settings.0", "settings.1.item"],
        ),
        ("Settings settings.0.item=Foo settings.0.enabled=true", ["settings.0.item", "settings.0.enabled"]),
        (
            "InstallApplication configuration.a=1 configuration.a.b=2 configuration.a=3",
            ["configuration.a.b", "configuration.a"],
        ),
        ("InstallApplication configuration=1", ["configuration"]),
        ("InstallApplication configuration={", ["configuration"]),
        ("InstallApplication configuration=@broken", ["configuration"]),
        ("InstallApplication configuration=@nothing", ["configuration"]),
    ],
)
def test_every_wrong_key_is_named(line: str, wrong: list[str]) -> None:
    assert faults(line) == wrong


@pytest.mark.parametrize(
    ("name", "hint"), [("profilelist", "ProfileList"), ("InstalProfile", "InstallProfile")]
)
def test_an_unknown_type_is_refused_with_a_near_one(name: str, hint: str) -> None:
    with pytest.raises(MalformedField, match=rf"unknown RequestType: {name} \(did you mean {hint}\?\)"):
        generate(name, [], "1", read)


def test_required_keys_that_are_missing_are_told() -> None:
    words = ["updates.0.product_key=a"]
    assert generate("ScheduleOSUpdate", words, "1", read)[1] == ["updates.0.install_action"]
    assert generate("InstallProfile", [], "1", read)[1] == ["payload"]
    assert generate("EraseDevice", ["return_to_service.wifi_profile_data=AA=="], "1", read)[1] == [
        "return_to_service.enabled"
    ]


@given(st.sampled_from(sorted(request_types())), st.data())
def test_any_words_make_a_command_or_are_named(request_type: str, data: st.DataObject) -> None:
    names = [name for key in command_keys(request_type).all for name in key.names]
    path = st.lists(st.sampled_from([*names, "0", "item", "a"]) | st.text(max_size=3), min_size=1, max_size=3)
    value = st.sampled_from(["true", "1", "@app.json", "@app.plist", "@x", "AA==", "Bluetooth"]) | st.text(
        max_size=3
    )
    words = data.draw(st.lists(st.builds("{}={}".format, path.map(".".join), value), max_size=4))
    try:
        payload, _ = generate(request_type, words, "1", read)
    except WrongKeys as fault:
        assert 1 <= len(fault.faults) <= len(words)
    else:
        assert read_raw(payload).request_type == request_type
