"""Blueprints: kept by administrators, given to devices that enroll or on demand; on the memory store."""

import base64
import itertools
import json
import logging
from typing import Any

import pytest

from micromdm_py.errors import Conflict, MalformedField, MalformedRequest, NotFound
from micromdm_py.logs import request_id
from micromdm_py.protocol.commands import convert_json
from micromdm_py.protocol.plist import loads
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.profiles import Profiles
from micromdm_py.service.users import Users
from micromdm_py.storage.memory.store import MemoryStore
from tests.builders import SHARED, Device, user
from tests.fakes.clock import Clock
from tests.service.test_profiles import profile

APP = "https://mdm.example.com/repo/munki.plist"
EMPTY = {
    "uuid": "bp-1",
    "name": "base",
    "install_application_manifest_urls": None,
    "profile_ids": None,
    "user_uuids": None,
    "skip_primary_setup_account_creation": False,
    "set_primary_setup_account_as_regular_user": False,
    "apply_at": None,
}
FULL = {
    "uuid": "bp-1",
    "name": "base",
    "install_application_manifest_urls": [APP],
    "profile_ids": ["com.example.a", "com.example.b"],
    "user_uuids": ["u-1"],
    "skip_primary_setup_account_creation": True,
    "set_primary_setup_account_as_regular_user": True,
    "apply_at": ["Enroll"],
}
ORDER = ["AccountConfiguration", "InstallProfile", "InstallProfile", "InstallApplication"]


class Bench:
    def __init__(self) -> None:
        self.store, self.woken = MemoryStore(), 0
        make_uuid = map("uuid-{}".format, itertools.count(1)).__next__
        self.service = Blueprints(self.store, wake=self.wake, now=Clock(), make_uuid=make_uuid)
        self.profiles = Profiles(self.store, bytes)
        self.users = Users(self.store, make_uuid=make_uuid, hash_password=str.encode)
        for name in ("com.example.a", "com.example.b"):
            text = base64.b64encode(profile(name)).decode()
            body = {"profile": {"Identifier": name, "Mobileconfig": text}}
            self.profiles.apply(json.dumps(body).encode(), sign=False)
        account = {"uuid": "u-1", "user_shortname": "admin", "user_longname": "An Admin"}
        account |= {"password": "pw", "hidden": True}
        self.users.apply(json.dumps({"user": account}).encode())

    def wake(self) -> None:
        self.woken += 1

    def put(self, *blueprints: object) -> None:
        for one in blueprints:
            assert self.service.apply(json.dumps({"blueprint": one}).encode()) == b"{}\n"

    def listed(self, **fields: object) -> Any:
        return json.loads(self.service.list(json.dumps(fields).encode()))["blueprints"]

    def names(self) -> list[str]:
        return [one["name"] for one in self.listed() or []]

    def remove(self, *names: str) -> None:
        assert self.service.remove(json.dumps({"names": names}).encode()) == b"{}\n"

    def give(self, *udids: str, name: str = "base") -> dict[str, list[str]]:
        found: Any = json.loads(self.service.apply_to(name, json.dumps({"udids": udids}).encode()))
        assert list(found) == ["udids"]
        return dict(found["udids"])


@pytest.fixture
def bench() -> Bench:
    return Bench()


def types(entries: Any) -> list[str]:
    return [one.request_type for one in entries]


# --- keeping them ---


def test_a_blueprint_has_eight_keys_and_null_for_nothing(bench: Bench) -> None:
    assert bench.listed() is None
    bench.put({"uuid": "bp-1", "name": "base", "profile_ids": [], "unknown": 1})
    assert bench.listed() == [EMPTY]
    assert list(bench.listed()[0]) == list(EMPTY)
    bench.put(FULL)
    assert bench.listed() == [FULL]


def test_blueprints_are_listed_by_uuid_or_one_by_name(bench: Bench) -> None:
    bench.put({**EMPTY, "uuid": "2", "name": "a"}, {**EMPTY, "uuid": "1", "name": "b"})
    assert bench.names() == ["b", "a"]
    for fields in ({"FilterName": "a"}, {"filter_name": "a"}, {"Opts": {"filtername": "a"}}):
        assert [one["uuid"] for one in bench.listed(**fields)] == ["2"]
    with pytest.raises(NotFound, match="not found: Blueprint name nope"):
        bench.listed(FilterName="nope")


def test_the_same_uuid_replaces_and_renames(bench: Bench) -> None:
    bench.put(FULL, {**EMPTY, "name": "renamed"})
    assert bench.listed() == [{**EMPTY, "name": "renamed"}]
    with pytest.raises(NotFound):
        bench.listed(FilterName="base")
    bench.put({**EMPTY, "uuid": "bp-2"})
    assert bench.names() == ["renamed", "base"]


@pytest.mark.parametrize(
    ("blueprint", "error", "text"),
    [
        (None, MalformedRequest, "no blueprint supplied"),
        ({"uuid": "bp-1"}, MalformedRequest, "Blueprint must have Name and UUID"),
        ({"name": "base"}, MalformedRequest, "Blueprint must have Name and UUID"),
        ({**EMPTY, "uuid": "x" * 256}, MalformedField, "uuid: "),
        ({**EMPTY, "name": "x" * 256}, MalformedField, "name: "),
        ({**EMPTY, "name": "\ud800"}, MalformedField, "name: "),
        ({**EMPTY, "profile_ids": "com.example.a"}, MalformedField, "profile_ids: "),
        ({**EMPTY, "user_uuids": [1]}, MalformedField, "user_uuids.0.: "),
        ({**EMPTY, "skip_primary_setup_account_creation": 1}, MalformedField, "skip_primary"),
        (
            {**EMPTY, "profile_ids": ["com.example.a", "nope"]},
            MalformedRequest,
            "Profile ID nope in",
        ),
        ({**EMPTY, "profile_ids": [""]}, MalformedRequest, "Profile ID  in Blueprint base does not exist"),
        ({**EMPTY, "uuid": "bp-2"}, Conflict, "same name base exists"),
    ],
)
def test_a_blueprint_that_cannot_be_kept_changes_nothing(
    bench: Bench, blueprint: object, error: type[Exception], text: str
) -> None:
    bench.put(FULL)
    with pytest.raises(error, match=text):
        bench.put(blueprint)
    assert bench.listed() == [FULL]


def test_blueprints_are_removed_by_name_all_or_none(bench: Bench) -> None:
    bench.put(FULL, {**EMPTY, "uuid": "bp-2", "name": "other"})
    with pytest.raises(NotFound, match="not found: Blueprint name nope"):
        bench.remove("base", "nope")
    assert bench.names() == ["base", "other"]
    bench.remove("other", "base", "other")
    bench.remove()
    assert bench.names() == []


def test_a_profile_in_use_stays(bench: Bench) -> None:
    bench.put(FULL)
    body = b'{"ids": ["com.example.a"]}'
    with pytest.raises(Conflict, match=r"com\.example\.a is in use by blueprint base"):
        bench.profiles.remove(body)
    bench.remove("base")
    assert bench.profiles.remove(body) == b"{}\n"


# --- at enrollment ---


def test_what_a_device_gets_and_in_which_order(bench: Bench) -> None:
    bench.put(FULL)
    token = request_id.set("request-1")
    entries = bench.service.at_enrollment(awaiting=False)
    request_id.reset(token)
    assert types(entries) == ORDER
    assert {one.request_id for one in entries} == {"request-1"}
    assert {one.origin for one in entries} == {"creation"}
    assert [dict(one.info) for one in entries] == [{"blueprint": "base"}] * 4
    assert len({one.command_uuid for one in entries}) == 4


def test_a_device_that_waits_is_released_last(bench: Bench) -> None:
    bench.put(
        FULL,
        {**EMPTY, "uuid": "bp-2", "name": "more", "apply_at": ["enroll"], "profile_ids": ["com.example.b"]},
    )
    entries = bench.service.at_enrollment(awaiting=True)
    assert types(entries) == [*ORDER, "InstallProfile", "DeviceConfigured"]


def test_without_a_blueprint_for_it_no_device_is_released(bench: Bench) -> None:
    assert not bench.service.at_enrollment(awaiting=True)
    bench.put({**FULL, "apply_at": ["Never"]})
    assert not bench.service.at_enrollment(awaiting=True)
    bench.put({**EMPTY, "apply_at": ["ENROLL"]})
    assert types(bench.service.at_enrollment(awaiting=True)) == ["DeviceConfigured"]


ACCOUNT = {
    "auto_setup_admin_accounts": [
        {
            "short_name": "admin",
            "full_name": "An Admin",
            "hidden": True,
            "password_hash": base64.b64encode(b"pw").decode(),
        }
    ],
    "skip_primary_setup_account_creation": True,
    "set_primary_setup_account_as_regular_user": True,
}


@pytest.mark.parametrize(
    ("position", "fields"),
    [
        (0, ACCOUNT),
        (1, {"payload": base64.b64encode(profile("com.example.a")).decode()}),
        (2, {"payload": base64.b64encode(profile("com.example.b")).decode()}),
        (3, {"manifest_url": APP, "management_flags": 1}),
        (4, {}),
    ],
)
def test_commands_are_those_of_the_api(bench: Bench, position: int, fields: dict[str, object]) -> None:
    bench.put(FULL)
    entry = bench.service.at_enrollment(awaiting=True)[position]
    body = {"udid": "A", "request_type": entry.request_type, "command_uuid": entry.command_uuid, **fields}
    asked = convert_json(json.dumps(body).encode(), strict=True, make_uuid=str)
    assert loads(entry.payload) == loads(asked.payload)


def test_what_is_false_or_empty_is_left_out_as_by_the_api(bench: Bench) -> None:
    bench.users.apply(b'{"user": {"uuid": "u-2", "user_shortname": "two"}}')
    bench.put({**EMPTY, "user_uuids": ["u-2"], "apply_at": ["Enroll"]})
    (entry,) = bench.service.at_enrollment(awaiting=False)
    account = {"shortName": "two", "passwordHash": b""}
    assert loads(entry.payload)["Command"] == {
        "RequestType": "AccountConfiguration",
        "AutoSetupAdminAccounts": [account],
    }


def test_what_is_gone_is_left_out_and_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.put({**FULL, "user_uuids": ["nobody", "u-1"]})
    bench.store.change_documents(lambda shelf: shelf.remove("profile", "com.example.a"))
    with caplog.at_level(logging.WARNING):
        assert types(bench.service.at_enrollment(awaiting=False)) == [
            "AccountConfiguration",
            "InstallProfile",
            "InstallApplication",
        ]
    assert [one.getMessage() for one in caplog.records] == [
        "blueprint base names user nobody, who is gone",
        "blueprint base names profile com.example.a, which is gone",
    ]


# --- on demand ---


def test_a_blueprint_is_given_on_demand(bench: Bench) -> None:
    bench.put({**FULL, "apply_at": None})
    told = bench.give("B", "A", "B")
    assert list(told) == ["B", "A"]
    for udid, uuids in told.items():
        waiting = Device(bench.store, udid).waiting()
        assert waiting == uuids
        assert types(bench.store.command(udid, one) for one in uuids) == ORDER
    assert len({uuid for uuids in told.values() for uuid in uuids}) == 8
    assert bench.woken == 1


@pytest.mark.parametrize(
    ("udids", "error", "text"),
    [
        ([], MalformedRequest, "udids: must name 1 to"),
        (["A"] * 1001, MalformedRequest, "udids: must name 1 to"),
        (["A", ""], MalformedField, "udids: "),
        (["A", "x" * 256], MalformedField, "udids: "),
        (["A", SHARED], MalformedField, "every Shared iPad"),
        (["A", "SHARED-BY-TWO"], Conflict, "has several channels"),
    ],
)
def test_one_id_that_cannot_be_keeps_all_from_it(
    bench: Bench, udids: list[str], error: type[Exception], text: str
) -> None:
    for udid in ("P", "Q"):
        phone = Device(bench.store, udid).enrolls()
        Device(bench.store, user(udid, "SHARED-BY-TWO"), phone.who).updates_token()
    bench.put(FULL)
    with pytest.raises(error, match=text):
        bench.give(*udids)
    assert Device(bench.store, "A").waiting() == []
    assert bench.woken == 0


def test_an_unknown_blueprint_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound, match="not found: Blueprint name nope"):
        bench.give("A", name="nope")


def test_what_would_not_fit_into_one_request_is_refused(bench: Bench) -> None:
    big = base64.b64encode(profile("com.example.a", Padding="x" * (2 << 20))).decode()
    body = {"profile": {"Identifier": "com.example.a", "Mobileconfig": big}}
    bench.profiles.apply(json.dumps(body).encode(), sign=False)
    bench.put(FULL)
    with pytest.raises(MalformedRequest, match="udids: "):
        bench.give(*(f"UDID-{number}" for number in range(100)))
    assert bench.give("A")
    assert not Device(bench.store, "UDID-1").waiting()
