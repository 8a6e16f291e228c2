"""Users: accounts for blueprints, and those seen on user channels; on the memory store."""

import base64
import hashlib
import itertools
import json
import plistlib
from typing import Any

import pytest

from micromdm_py.errors import MalformedField, MalformedRequest, NotFound
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.password import ENTROPY_BYTES, ITERATIONS, SALT_BYTES, password_hash
from micromdm_py.service.users import USER_CHANNEL, Users, decode_user
from micromdm_py.storage.memory.store import MemoryStore
from tests.builders import SHARED, user, user_enrollment

TOKEN = b"\xaa" * 32
EMPTY = {
    "uuid": "u-1",
    "udid": "",
    "user_id": "",
    "user_shortname": "",
    "user_longname": "",
    "auth_token": "",
    "password_hash": None,
    "hidden": False,
}
FULL = {
    "uuid": "u-1",
    "udid": "A",
    "user_id": "USER-1",
    "user_shortname": "admin",
    "user_longname": "An Admin",
    "auth_token": "aa",
    "password_hash": base64.b64encode(b"hash").decode(),
    "hidden": True,
}


class Bench:
    def __init__(self) -> None:
        self.store = MemoryStore()
        make_uuid = map("uuid-{}".format, itertools.count(1)).__next__
        self.service = Users(
            self.store, make_uuid=make_uuid, hash_password=lambda text: f"hash of {text}".encode()
        )

    def put(self, user: object) -> Any:
        return json.loads(self.service.apply(json.dumps({"user": user}).encode()))["user"]

    def listed(self, **fields: object) -> Any:
        return json.loads(self.service.list(json.dumps(fields).encode()))["users"]

    def uuids(self, **fields: object) -> list[str]:
        return [one["uuid"] for one in self.listed(**fields) or []]

    def remove(self, *uuids: str) -> None:
        assert self.service.remove(json.dumps({"uuids": uuids}).encode()) == b"{}\n"

    def seen(self, *refs: EnrollmentRef) -> None:
        for ref in refs:
            self.service.seen(ref, TOKEN)

    def ids(self) -> list[tuple[str, str, str]]:
        return sorted((one["udid"], one["user_id"], one["user_shortname"]) for one in self.listed() or [])


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- what administrators do ---


def test_a_new_user_gets_a_uuid_and_no_channel(bench: Bench) -> None:
    assert bench.listed() is None
    made = bench.put({**FULL, "uuid": ""})
    assert made == {**FULL, "uuid": "uuid-1", "udid": "", "user_id": "", "auth_token": ""}
    assert list(made) == list(EMPTY)
    assert bench.listed() == [made]


def test_a_uuid_replaces_the_whole_user(bench: Bench) -> None:
    assert bench.put(FULL) == FULL
    assert bench.put({"uuid": "u-1"}) == EMPTY
    assert bench.listed() == [EMPTY]


def test_a_password_is_kept_as_its_hash_alone(bench: Bench) -> None:
    made = bench.put({"user_shortname": "admin", "password": "clear"})
    assert base64.b64decode(made["password_hash"]) == b"hash of clear"
    (row,) = [body for _, body in bench.store.documents("user")]
    assert b"clear" not in row
    assert "clear" not in repr(decode_user("u", row))


def test_a_password_and_a_hash_contradict(bench: Bench) -> None:
    with pytest.raises(MalformedField, match="password: cannot be given together with password_hash"):
        bench.put({**FULL, "password": "clear"})


@pytest.mark.parametrize(
    ("user", "text"),
    [
        (None, "no user supplied"),
        ([], "user: must be an object"),
        ({"uuid": 1}, "uuid: must be a string"),
        ({"uuid": "x" * 256}, "uuid: "),
        ({"uuid": "a\n"}, "uuid: "),
        ({"uuid": "u", "udid": "x" * 256}, "udid: "),
        ({"uuid": "u", "user_id": "\0"}, "user_id: "),
        ({"user_shortname": "x" * 1025}, "user_shortname: "),
        ({"user_longname": "\ud800"}, "user_longname: is not valid Unicode"),
        ({"password": "\ud800"}, "password: is not valid Unicode"),
        ({"password": "x" * 1025}, "password: "),
        ({"hidden": "yes"}, "hidden: "),
        ({"password_hash": "*"}, "password_hash: is not base64"),
    ],
)
def test_a_user_that_cannot_be_kept_is_refused(bench: Bench, user: object, text: str) -> None:
    with pytest.raises(MalformedRequest, match=text):
        bench.put(user)
    assert bench.listed() is None


def test_filters_and_pages_count(bench: Bench) -> None:
    for number in range(4):
        bench.put({"uuid": f"u-{number}", "udid": "AB"[number % 2], "user_id": f"USER-{number}"})
    assert bench.uuids() == ["u-0", "u-1", "u-2", "u-3"]
    assert bench.uuids(filter_udid=["A"]) == ["u-0", "u-2"]
    assert bench.uuids(opts={"filter_user_id": ["USER-1", "USER-2"]}) == ["u-1", "u-2"]
    assert bench.uuids(filter_udid=["A"], filter_user_id=["USER-1"]) == []
    assert bench.uuids(page=1, per_page=3) == ["u-3"]
    assert bench.uuids(filter_udid=None, filter_user_id=[], page=0, per_page=0) == bench.uuids()
    assert bench.uuids(page=-1, per_page=-1) == bench.uuids()
    with pytest.raises(MalformedField, match="page: "):
        bench.listed(page="1")


def test_users_are_removed_all_or_none(bench: Bench) -> None:
    bench.put(FULL)
    bench.put({"uuid": "u-2"})
    with pytest.raises(NotFound, match="not found: User uuid nope"):
        bench.remove("u-1", "nope")
    assert bench.uuids() == ["u-1", "u-2"]
    bench.remove("u-2", "u-1", "u-2")
    bench.remove()
    assert bench.listed() is None
    assert bench.store.documents(USER_CHANNEL) == []


# --- what user channels tell ---


def test_a_channel_makes_a_user_and_keeps_it_up_to_date(bench: Bench) -> None:
    bench.seen(user("A", "USER-1", "jdoe", "A User"))
    made = {**EMPTY, "uuid": "uuid-1", "udid": "A", "user_id": "USER-1", "auth_token": TOKEN.hex()}
    assert bench.listed() == [{**made, "user_shortname": "jdoe", "user_longname": "A User"}]
    bench.service.seen(user("A", "USER-1", "new", "Name"), b"\xbb")
    assert bench.listed() == [{**made, "user_shortname": "new", "user_longname": "Name", "auth_token": "bb"}]


def test_a_channel_takes_the_user_that_an_administrator_made_for_it(bench: Bench) -> None:
    bench.put(FULL)
    bench.seen(user("A", "USER-1", "jdoe"))
    (found,) = bench.listed()
    assert found == {**FULL, "user_shortname": "jdoe", "user_longname": "", "auth_token": TOKEN.hex()}


def test_a_new_user_of_a_device_replaces_those_seen_before(bench: Bench) -> None:
    bench.put({"uuid": "plan"})
    bench.seen(user("A", "USER-1"), user("AB", "USER-1"), user("A", "USER-2"))
    assert bench.ids() == [("", "", ""), ("A", "USER-2", ""), ("AB", "USER-1", "")]
    bench.seen(user("A", "USER-2"))
    assert len(bench.ids()) == 3


def test_accounts_of_a_shared_ipad_stand_side_by_side(bench: Bench) -> None:
    bench.seen(*(user(udid, SHARED, name) for udid in "AB" for name in ("x@example.com", "y@example.com")))
    assert bench.ids() == [
        (udid, SHARED, name) for udid in "AB" for name in ("x@example.com", "y@example.com")
    ]
    bench.seen(user("A", SHARED, "x@example.com"))
    assert len(bench.ids()) == 4


def test_a_user_of_a_user_enrollment_has_no_udid(bench: Bench) -> None:
    bench.seen(user_enrollment("E-1", "USER-1"), user_enrollment("E-2", "USER-2"))
    assert bench.ids() == [("", "USER-1", ""), ("", "USER-2", "")]


def test_the_longest_ids_are_kept(bench: Bench) -> None:
    for _ in range(2):
        bench.seen(user("é" * 127, "x" * 255), user("y" * 255, SHARED, "é" * 127))
    assert len(bench.ids()) == 2


def test_a_removed_user_comes_back_with_its_channel(bench: Bench) -> None:
    bench.seen(user("A", "USER-1"))
    bench.remove("uuid-1")
    bench.seen(user("A", "USER-1"))
    assert bench.uuids() == ["uuid-2"]


# --- password hashes ---


def test_the_hash_is_what_macos_takes() -> None:
    salt = bytes(range(SALT_BYTES))
    found = plistlib.loads(password_hash("pässword", salt))
    assert list(found) == ["SALTED-SHA512-PBKDF2"]
    inside = found["SALTED-SHA512-PBKDF2"]
    assert inside == {
        "entropy": hashlib.pbkdf2_hmac("sha512", "pässword".encode(), salt, ITERATIONS, ENTROPY_BYTES),
        "iterations": ITERATIONS,
        "salt": salt,
    }
    assert (len(inside["entropy"]), len(inside["salt"])) == (128, 32)
