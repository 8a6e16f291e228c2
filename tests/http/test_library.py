"""/v1/profiles, /v1/blueprints and /v1/users over HTTP; what they mean is tested with the services."""

import base64
import json
from typing import Any

import pytest

from micromdm_py.protocol.plist import loads
from micromdm_py.service.ca import create_authority
from tests.http.bench import Bench
from tests.http.device_bench import DeviceBench
from tests.service.test_profiles import profile

BODY = json.dumps(
    {"profile": {"Identifier": "com.example.a", "Mobileconfig": base64.b64encode(profile()).decode()}}
).encode()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def stored(bench: Bench) -> list[bytes]:
    found = bench.ask("POST", "/v1/profiles", b"{}").json()["profiles"] or []
    return [base64.b64decode(one["Mobileconfig"]) for one in found]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_profile_is_stored_and_removed(bench: Bench, chunked: bool) -> None:
    answer = bench.ask("PUT", "/v1/profiles", BODY, chunked=chunked)
    assert (answer.status, answer.body) == (200, b"{}\n")
    assert stored(bench) == [profile()]
    answer = bench.ask("DELETE", "/v1/profiles", b'{"ids": ["com.example.a"]}', chunked=chunked)
    assert (answer.status, answer.body) == (200, b"{}\n")
    assert stored(bench) == []


def test_the_server_signs_when_asked(bench: Bench) -> None:
    create_authority(bench.store, bench.clock())
    assert bench.ask("PUT", "/v1/profiles?sign=true", BODY).status == 200
    (kept,) = stored(bench)
    assert kept.startswith(b"\x30")
    assert bench.ask("PUT", "/v1/profiles?sign=maybe", BODY).error.startswith("sign: ")


def test_errors_have_their_status(bench: Bench) -> None:
    assert bench.ask("PUT", "/v1/profiles", b"{}").status == 400
    assert bench.ask("POST", "/v1/profiles").status == 400
    answer = bench.ask("POST", "/v1/profiles", b'{"id": "nope"}')
    assert (answer.status, answer.error) == (404, "not found: Profile id nope")
    assert bench.ask("DELETE", "/v1/profiles", b'{"ids": ["nope"]}').status == 404
    assert bench.ask("PUT", "/v1/profiles", BODY, key=None).status == 401
    assert bench.ask("GET", "/v1/profiles").status == 405


# --- blueprints and users ---


def put(bench: Bench, path: str, document: object, method: str = "PUT") -> Any:
    answer = bench.ask(method, path, json.dumps(document).encode(), chunked=True)
    assert answer.status == 200
    return answer.json()


def blueprint(**more: object) -> dict[str, object]:
    return {"blueprint": {"uuid": "bp-1", "name": "all phones", **more}}


def test_a_blueprint_comes_and_goes(bench: Bench) -> None:
    assert put(bench, "/v1/blueprints", blueprint()) == {}
    (found,) = put(bench, "/v1/blueprints", {"FilterName": "all phones"}, "POST")["blueprints"]
    assert (found["uuid"], found["name"]) == ("bp-1", "all phones")
    assert put(bench, "/v1/blueprints", {"names": ["all phones"]}, "DELETE") == {}
    assert put(bench, "/v1/blueprints", {}, "POST") == {"blueprints": None}


def test_refusals_of_blueprints_have_their_status(bench: Bench) -> None:
    put(bench, "/v1/blueprints", blueprint())
    for method, body, status in (
        ("PUT", b"{}", 400),
        ("PUT", json.dumps(blueprint(profile_ids=["nope"])).encode(), 400),
        ("PUT", json.dumps(blueprint(uuid="bp-2")).encode(), 409),
        ("POST", b'{"FilterName": "nope"}', 404),
        ("DELETE", b'{"names": ["nope"]}', 404),
    ):
        answer = bench.ask(method, "/v1/blueprints", body)
        assert (answer.status, bool(answer.error)) == (status, True)


def test_a_blueprint_is_given_by_its_name(bench: Bench) -> None:
    url = "https://mdm.example.com/repo/a.plist"
    put(bench, "/v1/blueprints", blueprint(install_application_manifest_urls=[url]))
    told = put(bench, "/v1/blueprints/all%20phones/apply", {"udids": ["A"]}, "POST")
    (waiting,) = bench.ask("GET", "/v1/commands/A").json()["commands"]
    assert told == {"udids": {"A": [waiting["uuid"]]}}
    assert bench.ask("POST", "/v1/blueprints/nope/apply", b'{"udids": ["A"]}').status == 404
    assert bench.ask("POST", "/v1/blueprints/all%20phones/apply", b'{"udids": []}').status == 400


def test_a_user_comes_and_goes(bench: Bench) -> None:
    made = put(bench, "/v1/users", {"user": {"user_shortname": "admin", "password": "clear"}})["user"]
    assert base64.b64decode(made["password_hash"]) == b"hash of clear"
    assert put(bench, "/v1/users", {}, "POST") == {"users": [made]}
    assert put(bench, "/v1/users", {"uuids": [made["uuid"]]}, "DELETE") == {}
    assert bench.ask("DELETE", "/v1/users", b'{"uuids": ["nope"]}').status == 404
    assert not [line for line in bench.lines if "clear" in line]


# --- what devices see of it ---


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/mdm/enroll", "com.github.micromdm.micromdm.enroll"),
        ("/ota/enroll", "com.github.micromdm.micromdm.ota"),
    ],
)
def test_a_stored_enrollment_profile_is_handed_out_in_place_of_ours(path: str, name: str) -> None:
    bench = DeviceBench()
    ours = bench.ask("GET", path, key=None).body
    own = profile(name, PayloadDisplayName="Own")
    text = base64.b64encode(own).decode()
    put(bench, "/v1/profiles", {"profile": {"Identifier": name, "Mobileconfig": text}})
    assert bench.ask("GET", path, key=None).body == own
    put(bench, "/v1/profiles", {"ids": [name]}, "DELETE")
    assert loads(bench.ask("GET", path, key=None).body).keys() == loads(ours).keys()


def test_a_device_gets_its_blueprint_when_it_has_enrolled() -> None:
    bench = DeviceBench()
    bench.ask("PUT", "/v1/profiles", BODY)
    put(bench, "/v1/blueprints", blueprint(profile_ids=["com.example.a"], apply_at=["Enroll"]))
    who = bench.issue("A")
    for _ in range(2):
        bench.check_in("Authenticate", who, SerialNumber="SERIAL-1")
        assert bench.ask("GET", "/v1/commands/UDID-1").json() == {}
        for _ in range(2):
            update = {"Token": b"\xaa" * 32, "PushMagic": "magic", "AwaitingConfiguration": True}
            assert bench.check_in("TokenUpdate", who, **update).status == 200
        first = loads(bench.report(who).body)
        assert first["Command"] == {"RequestType": "InstallProfile", "Payload": profile()}
        second = loads(bench.report(who, "Acknowledged", first["CommandUUID"]).body)
        assert second["Command"] == {"RequestType": "DeviceConfigured"}
        assert bench.report(who, "Acknowledged", second["CommandUUID"]).body == b""


def test_a_user_channel_makes_a_user_and_gets_no_blueprint() -> None:
    bench = DeviceBench()
    who = bench.enrol()
    put(bench, "/v1/blueprints", blueprint(apply_at=["Enroll"]))
    update = {"Token": b"\xbb" * 32, "PushMagic": "magic", "AwaitingConfiguration": True}
    names = {"UserID": "USER-1", "UserShortName": "jdoe", "UserLongName": "A User"}
    assert bench.check_in("TokenUpdate", who, **update, **names).status == 200
    (found,) = put(bench, "/v1/users", {"filter_udid": ["UDID-1"]}, "POST")["users"]
    assert (found["user_id"], found["auth_token"]) == ("USER-1", "bb" * 32)
    assert bench.ask("GET", "/v1/commands/UDID-1:USER-1").json() == {}


def test_changes_are_in_the_audit_log_by_name(bench: Bench) -> None:
    bench.ask("PUT", "/v1/profiles", BODY)
    put(bench, "/v1/blueprints", blueprint())
    put(bench, "/v1/blueprints/all%20phones/apply", {"udids": ["A", "B"]}, "POST")
    put(bench, "/v1/users", {"user": {"uuid": "u-1", "password": "clear"}})
    put(bench, "/v1/users", {}, "POST")
    put(bench, "/v1/users", {"uuids": ["u-1"]}, "DELETE")
    put(bench, "/v1/blueprints", {"names": ["all phones"]}, "DELETE")
    put(bench, "/v1/profiles", {"ids": ["com.example.a"]}, "DELETE")
    put(bench, "/v1/devices", {"udids": [], "serials": []}, "DELETE")
    found = bench.ask("GET", "/v1/audit").json()["entries"]
    assert [(one["action"], one.get("target", ""), one.get("detail", "")) for one in reversed(found)] == [
        ("mdm.apple.profile.set", "com.example.a", ""),
        ("mdm.apple.blueprint.set", "all phones", ""),
        ("mdm.apple.blueprint.apply", "all phones", "A, B"),
        ("mdm.apple.user.set", "u-1", ""),
        ("mdm.apple.user.set", "u-1", ""),
        ("mdm.apple.blueprint.set", "all phones", ""),
        ("mdm.apple.profile.set", "com.example.a", ""),
        ("mdm.apple.device.remove", "", ""),
    ]
