"""/v1/dep-tokens and /v1/dep/… over HTTP, with a simulated service of Apple's behind them."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.dep.documents import TOKEN, StoredToken, SyncState
from micromdm_py.protocol.dep.token import DepToken
from micromdm_py.service.dep.roster import Roster
from micromdm_py.simulator.depsim import Fault
from tests.fakes.dep import URL, token_upload
from tests.http.bench import Answer, Bench

NOT_CONFIGURED = [
    ("GET", "/v1/dep/account", {}),
    ("POST", "/v1/dep/devices", {"serials": ["S1"]}),
    ("PUT", "/v1/dep/profiles", {"profile_name": "x", "url": "https://mdm.example.com"}),
    ("POST", "/v1/dep/profiles", {"uuid": "p"}),
    ("DELETE", "/v1/dep/profiles", {"serials": ["S1"]}),
    ("POST", "/v1/dep/assign", {"id": "p", "serials": ["S1"]}),
]
PROFILE = {"profile_name": "x", "url": "https://mdm.example.com/mdm/enroll", "is_supervised": True}


@pytest.fixture
def bench() -> Bench:
    return Bench(depsim=URL)


def ask(bench: Bench, method: str, path: str, document: object = None, **more: Any) -> Answer:
    body = b"" if document is None else json.dumps(document).encode()
    return bench.ask(method, path, body, chunked=document is not None, **more)


def upload(
    bench: Bench, key: str = "CK_1", secret: str = "AT_1", expiry: str = "2027-06-01T00:00:00Z"
) -> Any:
    """A token file for the certificate that the server shows, as a request body."""
    public = base64.b64decode(bench.ask("GET", "/v1/dep-tokens").json()["public_key"])
    token = {
        "consumer_key": key,
        "consumer_secret": "CS",
        "access_token": secret,
        "access_secret": "AS",
        "access_token_expiry": expiry,
    }
    inside = (
        f"Content-Type: text/plain\n\n-----BEGIN MESSAGE-----\n{json.dumps(token)}\n-----END MESSAGE-----\n"
    )
    return json.loads(token_upload(public, inside))


def keys(bench: Bench, query: str = "") -> list[str]:
    listed = bench.ask("GET", "/v1/dep-tokens" + query).json()["dep_tokens"]
    return [f"{one['consumer_key']} {one['access_token']}" for one in listed or ()]


def define(bench: Bench) -> str:
    return str(ask(bench, "PUT", "/v1/dep/profiles", PROFILE).json()["profile_uuid"])


def sync(bench: Bench) -> None:
    """Write down the fleet as a sync does."""
    Roster(bench.store).take_page(
        "default", list(bench.apple.devices.values()), SyncState("sync", "f1", "c1")
    )


# --- tokens ---


def test_the_key_pair_is_made_once_and_lasts_a_year(bench: Bench) -> None:
    first = bench.ask("GET", "/v1/dep-tokens").json()
    assert first["dep_tokens"] is None
    certificate = load_certificate(base64.b64decode(first["public_key"]))
    assert (certificate.common_name, certificate.not_after - certificate.not_before) == (
        "micromdm-dep-token",
        timedelta(days=365),
    )
    assert bench.ask("GET", "/v1/dep-tokens").json() == first


def test_a_token_file_for_an_expired_certificate_can_still_be_stored(bench: Bench) -> None:
    old = upload(bench)
    bench.clock.move(366 * 86_400)
    assert upload(bench) != old
    assert ask(bench, "PUT", "/v1/dep-tokens", old).status == 200
    assert keys(bench) == ["CK_1 AT_1"]


def test_a_stored_token_is_listed_with_its_expiry_and_wakes_the_courier(bench: Bench) -> None:
    answer = ask(bench, "PUT", "/v1/dep-tokens", upload(bench))
    assert (answer.status, answer.body, len(bench.woken)) == (200, b"{}\n", 1)
    assert bench.ask("GET", "/v1/dep-tokens").json()["dep_tokens"] == [
        {
            "consumer_key": "CK_1",
            "consumer_secret": "CS",
            "access_token": "AT_1",
            "access_secret": "AS",
            "access_token_expiry": "2027-06-01T00:00:00Z",
        }
    ]


def test_another_server_replaces_the_default_token_and_the_old_one_stays_listed(bench: Bench) -> None:
    ask(bench, "PUT", "/v1/dep-tokens", upload(bench, "CK_1"))
    bench.clock.move(1)
    ask(bench, "PUT", "/v1/dep-tokens", upload(bench, "CK_2"))
    assert keys(bench) == ["CK_2 AT_1", "CK_1 AT_1"]
    assert keys(bench, "?name=default") == ["CK_2 AT_1"]


def test_a_renewed_token_keeps_its_name(bench: Bench) -> None:
    ask(bench, "PUT", "/v1/dep-tokens", upload(bench, "CK_1"))
    ask(bench, "PUT", "/v1/dep-tokens?name=school", upload(bench, "CK_2"))
    ask(bench, "PUT", "/v1/dep-tokens", upload(bench, "CK_2", "AT_2"))
    assert keys(bench, "?name=school") == ["CK_2 AT_2"]
    assert keys(bench, "?name=default") == ["CK_1 AT_1"]


def test_a_name_is_not_given_to_another_server_by_mistake(bench: Bench) -> None:
    ask(bench, "PUT", "/v1/dep-tokens?name=school", upload(bench, "CK_1"))
    body = upload(bench, "CK_2")
    assert "another server" in ask(bench, "PUT", "/v1/dep-tokens?name=school", body).error
    assert ask(bench, "PUT", "/v1/dep-tokens?name=school&force=true", body).status == 200
    answer = ask(bench, "PUT", "/v1/dep-tokens?name=other", body)
    assert (answer.status, answer.error) == (409, "name: this server's token is called school")


def test_a_token_is_removed_with_its_devices(bench: Bench) -> None:
    ask(bench, "PUT", "/v1/dep-tokens", upload(bench))
    sync(bench)
    assert bench.ask("DELETE", "/v1/dep-tokens").status == 200
    assert keys(bench) == []
    assert bench.ask("GET", "/v1/dep/devices/S1").status == 404
    assert bench.ask("DELETE", "/v1/dep-tokens").status == 404


@pytest.mark.parametrize(
    "document", [{}, {"p7m_content": "***"}, {"p7m_content": "aGFsbG8="}, {"p7m_content": 1}]
)
def test_what_is_no_token_file_is_400(bench: Bench, document: object) -> None:
    answer = ask(bench, "PUT", "/v1/dep-tokens", document)
    assert answer.status == 400
    assert answer.error.startswith("p7m_content: ")


@pytest.mark.parametrize("name", ["", "a%20b", "-x", "x" * 65, "%C3%A9"])
def test_a_name_must_be_a_word(bench: Bench, name: str) -> None:
    answer = ask(bench, "PUT", f"/v1/dep-tokens?name={name}", upload(bench))
    assert (answer.status, answer.error[:5]) == (400, "name:")


# --- calls to Apple ---


@pytest.mark.parametrize(("method", "path", "document"), NOT_CONFIGURED)
def test_without_a_token_calls_are_503(method: str, path: str, document: object) -> None:
    answer = ask(Bench(), method, path, document)
    assert (answer.status, answer.error) == (503, "DEP not configured yet. add a DEP token to enable DEP")


def test_an_unknown_name_is_404(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/dep/account?name=nope").error == "not found: DEP token nope"


def test_account_profile_and_devices(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/dep/account").json()["org_name"] == "Example Organization"
    uuid = define(bench)
    shown = ask(bench, "POST", "/v1/dep/profiles", {"uuid": uuid}).json()
    assert (shown["profile_name"], shown["is_supervised"], shown["devices"]) == ("x", True, None)
    answer = ask(bench, "POST", "/v1/dep/assign", {"id": uuid, "serials": ["S1", "NOPE"]})
    assert answer.json() == {"profile_uuid": uuid, "devices": {"S1": "SUCCESS", "NOPE": "NOT_ACCESSIBLE"}}
    found = ask(bench, "POST", "/v1/dep/devices", {"serials": ["S1", "NOPE"]}).json()["devices"]
    assert found["S1"]["profile_uuid"] == uuid
    assert found["NOPE"]["response_status"] == "NOT_ACCESSIBLE"
    removed = ask(bench, "DELETE", "/v1/dep/profiles", {"serials": ["S1"]})
    assert removed.json() == {"serials": {"S1": "SUCCESS"}}


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        (Fault("/account", 403, "T_C_NOT_SIGNED"), 502, "terms and conditions"),
        (Fault("/session", 403, "T_C_NOT_SIGNED"), 502, "terms and conditions"),
        (Fault("/account", 429, "", 1, 33), 503, "TOO_MANY_REQUESTS"),
        (Fault("/account", 503, ""), 503, "SERVICE_UNAVAILABLE"),
        (Fault("/account", 401, "UNAUTHORIZED", 2), 502, "status=401"),
        (Fault("/account", 400, "SOMETHING_NEW"), 502, "SOMETHING_NEW"),
    ],
)
def test_a_fault_is_told_with_its_code_and_remedy(bench: Bench, fault: Fault, status: int, text: str) -> None:
    bench.apple.faults.append(fault)
    answer = bench.ask("GET", "/v1/dep/account")
    assert answer.status == status
    assert answer.error.startswith("account request: unexpected dep response. status=")
    assert text in answer.error
    assert answer.headers.get("retry-after") == (
        {33: "33", 0: "5"}[fault.retry_after_s] if status == 503 else None
    )
    assert bench.ask("GET", "/v1/dep/account").status == 200


def test_a_session_that_has_ended_is_no_fault(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/dep/account").status == 200
    bench.apple.end_sessions()
    assert bench.ask("GET", "/v1/dep/account").status == 200


def test_a_profile_that_apple_refuses_is_502(bench: Bench) -> None:
    answer = ask(bench, "PUT", "/v1/dep/profiles", {"profile_name": "x"})
    assert (answer.status, "CONFIG_URL_REQUIRED" in answer.error) == (502, True)


@pytest.mark.parametrize(
    ("method", "path", "document", "field"),
    [
        ("PUT", "/v1/dep/profiles", {"url": 1}, "url"),
        ("POST", "/v1/dep/profiles", {"uuid": []}, "uuid"),
        ("DELETE", "/v1/dep/profiles", {"serials": "S1"}, "serials"),
        ("POST", "/v1/dep/assign", {"serials": [""]}, "serials[0]"),
        ("POST", "/v1/dep/devices", {"serials": ["S"] * 1001}, "serials"),
        ("POST", "/v1/dep/devices", [], "body"),
    ],
)
def test_wrong_fields_are_400(bench: Bench, method: str, path: str, document: object, field: str) -> None:
    answer = ask(bench, method, path, document)
    assert (answer.status, answer.error.partition(":")[0]) == (400, field)
    assert bench.apple.calls == []


# --- rules ---


def test_a_rule_is_set_shown_and_removed(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/dep/autoassigners").json() == {"autoassigners": None}
    assert ask(bench, "POST", "/v1/dep/autoassigners", {"filter": "*", "profile_uuid": "p"}).body == b"{}\n"
    assert len(bench.woken) == 1
    wanted = {"autoassigners": [{"filter": "*", "profile_uuid": "p"}]}
    assert bench.ask("GET", "/v1/dep/autoassigners").json() == wanted
    for name in ("nope", "*", "*"):
        assert ask(bench, "DELETE", "/v1/dep/autoassigners", {"filter": name}).body == b"{}\n"
    assert bench.ask("GET", "/v1/dep/autoassigners").json() == {"autoassigners": None}


@pytest.mark.parametrize(
    "document", [{}, {"filter": "x", "profile_uuid": "p"}, {"filter": "*"}, {"filter": 1}]
)
def test_a_rule_that_is_none_is_400(bench: Bench, document: object) -> None:
    assert ask(bench, "POST", "/v1/dep/autoassigners", document).status == 400
    assert bench.ask("GET", "/v1/dep/autoassigners").json() == {"autoassigners": None}


def test_what_an_administrator_said_last_counts(bench: Bench) -> None:
    first, second = define(bench), define(bench)
    sync(bench)

    def wanted(serial: str) -> tuple[str, str]:
        found = bench.ask("GET", f"/v1/dep/devices/{serial}").json()
        return found["wanted_profile_uuid"], found["reason"]

    assert wanted("S1") == ("", "no auto-assigner")
    ask(bench, "POST", "/v1/dep/autoassigners", {"filter": "*", "profile_uuid": first})
    bench.clock.move(1)
    ask(bench, "POST", "/v1/dep/assign", {"id": second, "serials": ["S1"]})
    assert (wanted("S1"), wanted("S2")) == ((second, "assigned by hand"), (first, "auto-assigner *"))
    ask(bench, "DELETE", "/v1/dep/profiles", {"serials": ["S1"]})
    assert wanted("S1") == ("", "removed by hand")
    bench.clock.move(1)
    ask(bench, "POST", "/v1/dep/autoassigners", {"filter": "*", "profile_uuid": first})
    assert wanted("S1") == (first, "auto-assigner *")


# --- syncs and status ---


@pytest.mark.parametrize("depsim", ["", URL])
def test_syncnow_answers_with_nothing(depsim: str) -> None:
    bench = Bench(depsim=depsim)
    answer = bench.ask("POST", "/v1/dep/syncnow")
    assert (answer.status, answer.body) == (200, b"")
    assert "content-type" not in answer.headers
    assert len(bench.woken) == bool(depsim)


def test_syncnow_for_an_unknown_token_is_404(bench: Bench) -> None:
    assert bench.ask("POST", "/v1/dep/syncnow?name=nope").status == 404


def test_the_status_tells_expiry_and_no_secret() -> None:
    bench = Bench()
    ask(bench, "PUT", "/v1/dep-tokens", upload(bench, "CK_1", "AT_1", "2026-12-03T09:00:00Z"))
    sync(bench)
    answer = bench.ask("GET", "/v1/dep/status")
    (shown,) = answer.json()["tokens"]
    assert (shown["name"], shown["expires_at"], shown["days_left"], shown["devices"]) == (
        "default",
        "2026-12-03T09:00:00Z",
        10,
        2,
    )
    assert b"AT_1" not in answer.body


def test_secrets_do_not_reach_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    ask(bench, "PUT", "/v1/dep-tokens", upload(bench))
    bench.ask("GET", "/v1/dep-tokens")
    shown = (
        caplog.text + "".join(bench.lines) + repr(StoredToken(DepToken("CK", "CS_z", "AT_z", "AS_z", None)))
    )
    assert not any(secret in shown for secret in ("AT_1", "CS_z", "AT_z", "AS_z"))
    assert bench.store.documents(TOKEN)


def test_changes_are_in_the_audit_log_without_secrets(bench: Bench) -> None:
    ask(bench, "PUT", "/v1/dep-tokens?name=school", upload(bench))
    uuid = define(bench)
    ask(bench, "POST", "/v1/dep/assign", {"id": uuid, "serials": ["S1", "S2"]})
    ask(bench, "DELETE", "/v1/dep/profiles", {"serials": ["S1"]})
    ask(bench, "POST", "/v1/dep/autoassigners", {"filter": "*", "profile_uuid": "p"})
    ask(bench, "DELETE", "/v1/dep/autoassigners", {"filter": "*"})
    answer = bench.ask("GET", "/v1/audit")
    found = [f"{one['action']} {one.get('target', '')}" for one in answer.json()["entries"]]
    assert found == [
        "mdm.apple.dep.autoassigner.remove default",
        "mdm.apple.dep.autoassigner.set default: p",
        "mdm.apple.dep.profile.assign no profile: S1",
        f"mdm.apple.dep.profile.assign {uuid}: S1, S2",
        "mdm.apple.dep.profile.define x",
        "server.dep.token.set school",
        "server.dep.token.show ",
    ]
    assert b"AT_1" not in answer.body
