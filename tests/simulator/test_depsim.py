"""The stand-in for Apple's service keeps Apple's rules, so that what works with it works with Apple."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from micromdm_py.protocol.dep.session import authorization
from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN, DepToken
from micromdm_py.simulator.depsim import DepService, Fault
from tests.fakes.clock import Clock

URL = "https://dep.example.com"


class Caller:
    def __init__(self, *serials: str, token: DepToken = SIMULATOR_TOKEN) -> None:
        self.clock = Clock()
        self.service = DepService(serials, now=self.clock, token=token)
        self.session = ""

    def open(self, token: DepToken = SIMULATOR_TOKEN, nonce: str = "1", url: str = f"{URL}/session") -> str:
        """Ask for a session; returns OAuth's problem, "" when there is none."""
        header = {"authorization": authorization(token, url, nonce, self.clock())}
        status, told, body = self.service.answer("GET", "/session", header, b"", URL)
        if status == 200:
            self.session = json.loads(body)["auth_session_token"]
            return ""
        return told["WWW-Authenticate"].partition("oauth_problem=")[2].strip('"')

    def ask(self, method: str, path: str, **document: Any) -> Any:
        """Call; returns the document, or status and code of a refusal."""
        headers = {"x-adm-auth-session": self.session}
        status, _, body = self.service.answer(method, path, headers, json.dumps(document).encode())
        return json.loads(body) if status == 200 else f"{status} {body.decode()}"


@pytest.fixture
def caller() -> Caller:
    caller = Caller("S1", "S2", "S3")
    assert caller.open() == ""
    return caller


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"consumer_key": "x"}, "consumer_key_unknown"),
        ({"access_token": "x"}, "token_rejected"),
        ({"consumer_secret": "x"}, "signature_invalid"),
        ({"access_secret": "x"}, "signature_invalid"),
    ],
)
def test_only_the_token_of_the_server_opens_a_session(change: dict[str, str], problem: str) -> None:
    assert Caller().open(replace(SIMULATOR_TOKEN, **change)) == problem  # type: ignore[arg-type]  # texts


def test_a_signature_is_for_one_url_and_one_time(caller: Caller) -> None:
    assert caller.open(url=f"{URL}/elsewhere", nonce="2") == "signature_invalid"
    assert caller.open(nonce="1") == "nonce_used"


def test_tokens_expire() -> None:
    token = replace(SIMULATOR_TOKEN, expires_at=Clock().now + timedelta(days=1))
    caller = Caller(token=token)
    assert caller.open(token) == ""
    caller.clock.now += timedelta(days=1)
    assert caller.open(token, nonce="2") == "token_expired"


def test_sessions_last_three_minutes(caller: Caller) -> None:
    assert caller.ask("GET", "/account")["server_name"]
    caller.clock.move(180)
    assert caller.ask("GET", "/account") == "401 UNAUTHORIZED"


def test_a_fetch_ends_and_its_cursor_is_exhausted_then(caller: Caller) -> None:
    first = caller.ask("POST", "/server/devices", limit=2)
    assert (len(first["devices"]), first["more_to_follow"]) == (2, True)
    second = caller.ask("POST", "/server/devices", limit=2, cursor=first["cursor"])
    assert (len(second["devices"]), second["more_to_follow"]) == (1, False)
    assert caller.ask("POST", "/server/devices", cursor=second["cursor"]) == "400 EXHAUSTED_CURSOR"


def test_a_sync_tells_what_happened_since_the_fetch_began(caller: Caller) -> None:
    first = caller.ask("POST", "/server/devices", limit=1)
    caller.service.add("S4")
    caller.service.remove("S2")
    rest = caller.ask("POST", "/server/devices", cursor=first["cursor"])
    assert [one["serial_number"] for one in rest["devices"]] == ["S3"]
    changes = caller.ask("POST", "/devices/sync", cursor=rest["cursor"])
    told = [(one["serial_number"], one["op_type"]) for one in changes["devices"]]
    assert told == [("S4", "added"), ("S2", "deleted")]
    assert caller.ask("POST", "/devices/sync", cursor=changes["cursor"])["devices"] == []


def test_cursors_last_seven_days(caller: Caller) -> None:
    cursor = caller.ask("POST", "/server/devices")["cursor"]
    caller.clock.now += timedelta(days=7, seconds=1)
    caller.open(nonce="2")
    assert caller.ask("POST", "/devices/sync", cursor=cursor) == "400 EXPIRED_CURSOR"
    assert caller.ask("POST", "/devices/sync", cursor="x") == "400 INVALID_CURSOR"
    assert caller.ask("POST", "/devices/sync") == "400 CURSOR_REQUIRED"


def test_profiles_are_defined_assigned_and_removed(caller: Caller) -> None:
    assert caller.ask("POST", "/profile", url="https://x") == "400 CONFIG_NAME_REQUIRED"
    uuid = caller.ask("POST", "/profile", profile_name="x", url="https://x")["profile_uuid"]
    assert caller.ask("GET", f"/profile?profile_uuid={uuid}")["profile_name"] == "x"
    assert caller.ask("PUT", "/profile/devices", profile_uuid="no", devices=["S1"]) == "404 NOT_FOUND"
    caller.service.failing.add("S2")
    results = caller.ask("PUT", "/profile/devices", profile_uuid=uuid, devices=["S1", "S2", "S9"])["devices"]
    assert results == {"S1": "SUCCESS", "S2": "FAILED", "S9": "NOT_ACCESSIBLE"}
    assert caller.ask("DELETE", "/profile/devices", devices=["S1"])["devices"] == {"S1": "SUCCESS"}
    assert caller.service.devices["S1"]["profile_status"] == "empty"
    assert caller.ask("DELETE", "/profile/devices", devices=[]) == "400 DEVICE_ID_REQUIRED"


def test_faults_on_demand(caller: Caller) -> None:
    caller.service.faults.append(Fault("/account", 403, "T_C_NOT_SIGNED", times=1, skip=1))
    answers = [caller.ask("GET", "/account") for _ in range(3)]
    assert answers[1] == "403 T_C_NOT_SIGNED"
    assert answers[0] == answers[2]


@pytest.mark.parametrize("body", [b"[]", b"{", b"[" * 99_999])
def test_nonsense_is_refused(caller: Caller, body: bytes) -> None:
    headers = {"x-adm-auth-session": caller.session}
    assert caller.service.answer("POST", "/devices", headers, body)[0] == 400
    assert caller.ask("POST", "/nowhere") == "404 NOT_FOUND"
    assert caller.ask("POST", "/server/devices", limit=1001) == "400 MALFORMED_REQUEST_BODY"
