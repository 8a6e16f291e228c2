"""Storing, listing and removing configuration profiles, on the memory store."""

import base64
import json
from typing import Any

import pytest

from micromdm_py.errors import MalformedField, MalformedRequest, NotFound
from micromdm_py.protocol.cms import sign_attached, sign_detached
from micromdm_py.protocol.plist import dumps_indented
from micromdm_py.service.profiles import Profiles, payload_identifier
from micromdm_py.storage.memory.store import MemoryStore
from tests.protocol.crypto_samples import certificate, rsa_key, sample


def profile(identifier: str = "com.example.a", **more: object) -> bytes:
    return dumps_indented({"PayloadIdentifier": identifier, "PayloadType": "Configuration", **more})


def signed(content: bytes) -> bytes:
    return sign_attached(content, rsa_key("device"), certificate("device"))


class Bench:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.service = Profiles(self.store, signed)

    def put(self, identifier: str, content: bytes, *, sign: bool = False) -> None:
        text = base64.b64encode(content).decode()
        body = {"profile": {"Identifier": identifier, "Mobileconfig": text}}
        assert self.service.apply(json.dumps(body).encode(), sign=sign) == b"{}\n"

    def list(self, **fields: object) -> list[tuple[str, bytes]]:
        found: Any = json.loads(self.service.list(json.dumps(fields).encode()))["profiles"]
        return [(one["Identifier"], base64.b64decode(one["Mobileconfig"])) for one in found or []]

    def remove(self, *ids: str) -> None:
        assert self.service.remove(json.dumps({"ids": ids}).encode()) == b"{}\n"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    "content",
    [
        profile(),
        b"\xef\xbb\xbf" + profile(),
        b"<plist><dict><key>PayloadIdentifier</key><string>com.example.a</string></dict></plist>",
        signed(profile()),
        sign_attached(profile(), rsa_key("device"), certificate("device"), digest="sha1"),
    ],
)
def test_a_profile_is_kept_byte_for_byte(bench: Bench, content: bytes) -> None:
    bench.put("com.example.a", content)
    assert bench.list() == [("com.example.a", content)]
    assert bench.store.document("profile", "com.example.a") == content


def test_a_profile_replaces_the_one_of_its_identifier(bench: Bench) -> None:
    bench.put("com.example.a", profile())
    bench.put("com.example.a", profile(PayloadDisplayName="new"))
    assert bench.list(id="com.example.a") == [("com.example.a", profile(PayloadDisplayName="new"))]


def test_a_profile_is_signed_on_request(bench: Bench) -> None:
    bench.put("com.example.a", profile(), sign=True)
    ((_, kept),) = bench.list()
    assert kept == signed(profile())
    assert payload_identifier(kept) == "com.example.a"


def test_a_signed_profile_keeps_its_signature(bench: Bench) -> None:
    theirs = sign_attached(profile(), rsa_key("ca"), certificate("ca"))
    bench.put("com.example.a", theirs, sign=True)
    assert bench.list() == [("com.example.a", theirs)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello world", "is neither XML nor signed"),
        (b"", "no Mobileconfig data"),
        (sample("body.plist"), "empty PayloadIdentifier"),
        (dumps_indented({"PayloadIdentifier": ""}), "empty PayloadIdentifier"),
        (dumps_indented({"PayloadIdentifier": 1}), "empty PayloadIdentifier"),
        (profile("com.example.b"), "payload Identifier does not match Profile"),
        (signed(profile("com.example.b")), "does not match"),
        (signed(profile()).replace(b"Configuration", b"configuration"), "messageDigest"),
        (sign_detached(profile(), rsa_key("device"), certificate("device")), "no embedded content"),
        (b"\x30\x80junk", "is neither XML nor signed"),
        (b"bplist00\xd0\x08" + bytes(7) + b"\x01\x01" + bytes(7) + b"\x01" + bytes(15) + b"\x09", "binary"),
    ],
)
def test_what_is_no_profile_is_refused(bench: Bench, content: bytes, reason: str) -> None:
    with pytest.raises(MalformedRequest, match=reason):
        bench.put("com.example.a", content)
    assert bench.list() == []


@pytest.mark.parametrize("identifier", ["x" * 256, "a\n"])
def test_an_identifier_has_limits(bench: Bench, identifier: str) -> None:
    with pytest.raises(MalformedField, match="Identifier: "):
        bench.put(identifier, profile(identifier))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "body: "),
        (b"{}", "Profile struct must have Identifier"),
        (b'{"profile": []}', "profile: must be an object"),
        (b'{"profile": {"identifier": 1}}', "identifier: must be a string"),
        (b'{"profile": {"Identifier": "a"}}', "no Mobileconfig data"),
        (b'{"profile": {"Identifier": "a", "Mobileconfig": "*"}}', "Mobileconfig: is not base64"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(bench: Bench, body: bytes, text: str) -> None:
    with pytest.raises(MalformedRequest, match=text):
        bench.service.apply(body, sign=False)


def test_base64_may_be_broken_into_lines(bench: Bench) -> None:
    text = base64.encodebytes(profile()).decode()
    body = {"profile": {"Identifier": "com.example.a", "Mobileconfig": text}}
    bench.service.apply(json.dumps(body).encode(), sign=False)
    assert bench.list() == [("com.example.a", profile())]


def test_profiles_are_listed_by_identifier(bench: Bench) -> None:
    for name in ("com.example.z", "com.example.a"):
        bench.put(name, profile(name))
    both = ["com.example.a", "com.example.z"]
    assert [name for name, _ in bench.list()] == both
    assert [name for name, _ in bench.list(id="")] == both
    assert [name for name, _ in bench.list(ID="com.example.z")] == both[1:]
    assert [name for name, _ in bench.list(opts={"id": "com.example.z"})] == both[1:]


def test_no_profiles_are_null(bench: Bench) -> None:
    assert bench.service.list(b"{}") == b'{\n  "profiles": null\n}\n'


@pytest.mark.parametrize("name", ["nope", "x" * 1000, "\ud800"])
def test_an_unknown_profile_is_not_found(bench: Bench, name: str) -> None:
    with pytest.raises(NotFound, match="not found: Profile id "):
        bench.list(id=name)


def test_profiles_are_removed_all_or_none(bench: Bench) -> None:
    for name in "ab":
        bench.put(name, profile(name))
    with pytest.raises(NotFound, match="not found: Profile id nope"):
        bench.remove("a", "nope", "b")
    assert len(bench.list()) == 2
    bench.remove("a", "b", "a")
    bench.remove()
    assert bench.list() == []
