"""Tokens and the audit log over HTTP."""

import json

import pytest

from micromdm_py.http.permissions import OTHER, PERMISSIONS, permission_of
from tests.builders import NOW, Device, event
from tests.http.bench import API_KEY, Answer, Bench, basic

RAW = (
    b'<plist version="1.0"><dict><key>Command</key><dict><key>RequestType</key><string>%s</string></dict>'
    b"<key>CommandUUID</key><string>u</string></dict></plist>"
)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def create(bench: Bench, *permissions: str, key: str | None = None, **fields: object) -> Answer:
    body = {"name": "ci", "permissions": permissions, **fields}
    return bench.ask("POST", "/v1/tokens", json.dumps(body).encode(), key=key or basic())


def secret(bench: Bench, *permissions: str, **fields: object) -> str:
    answer = create(bench, *permissions, **fields)
    assert answer.status == 201, answer.body
    return str(answer.json()["token"])


def queue(bench: Bench, key: str, request_type: str) -> Answer:
    body = json.dumps({"udid": "UDID-1", "request_type": request_type}).encode()
    return bench.ask("POST", "/v1/commands", body, key=key)


def test_token_works_as_bearer_and_as_basic_password(bench: Bench) -> None:
    token = secret(bench, "mdm.apple.command.list")
    assert token.startswith("mdm_")
    for key in (f"Bearer {token}", f"bearer  {token}", basic("anybody", token), basic("micromdm", token)):
        assert bench.ask("GET", "/v1/commands/UDID-1", key=key).status == 200


def test_token_allows_what_it_names_and_nothing_else(bench: Bench) -> None:
    key = f"Bearer {secret(bench, 'mdm.apple.command.create:SecurityInfo')}"
    assert queue(bench, key, "SecurityInfo").status == 201
    assert bench.ask("POST", "/v1/commands/UDID-1", RAW % b"SecurityInfo", key=key).status == 201
    for refused in (
        queue(bench, key, "DeviceInformation"),
        bench.ask("POST", "/v1/commands/UDID-1", RAW % b"DeviceInformation", key=key),
        bench.ask("GET", "/v1/commands/UDID-1", key=key),
        bench.ask("DELETE", "/v1/commands/UDID-1", key=key),
        bench.ask("POST", "/v1/devices", b"{}", key=key),
        bench.ask("GET", "/v1/audit", key=key),
        create(bench, "mdm.apple.command.create:SecurityInfo", key=key),
    ):
        assert (refused.status, refused.error) == (403, "Permission denied")
    assert len(bench.ask("GET", "/v1/commands/UDID-1").json()["commands"]) == 2


def test_api_key_is_no_bearer_token_here(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/commands/U", key=f"Bearer {API_KEY}").status == 401


@pytest.mark.parametrize(
    "key",
    ["Bearer mdm_unknown", "Bearer ", "Bearer mdm_\xe9", "Digest mdm_x", basic("ci", "mdm_unknown"), "mdm_x"],
)
def test_unknown_token_is_unauthorized(bench: Bench, key: str) -> None:
    secret(bench, "*")
    answer = bench.ask("GET", "/v1/commands/U", key=key)
    assert (answer.status, answer.error) == (401, "Unauthorized")


def test_revoked_and_expired_tokens_are_refused_at_once(bench: Bench) -> None:
    first, second = secret(bench, "*"), secret(bench, "*", name="short", expires_days=2)
    assert bench.ask("DELETE", "/v1/tokens/ci").status == 200
    bench.clock.move(2 * 86400 - 1)
    assert bench.ask("GET", "/v1/commands/U", key=f"Bearer {first}").status == 401
    assert bench.ask("GET", "/v1/commands/U", key=f"Bearer {second}").status == 200
    bench.clock.move(1)
    assert bench.ask("GET", "/v1/commands/U", key=f"Bearer {second}").status == 401
    listed = {one["name"]: one for one in bench.ask("GET", "/v1/tokens").json()["tokens"]}
    assert "revoked_at" in listed["ci"] and listed["short"]["expires_at"].endswith("Z")
    assert first not in str(listed) and first not in str(bench.store.documents("token"))
    assert bench.ask("DELETE", "/v1/tokens/nobody").status == 404
    assert create(bench, "*").status == 409


def test_a_token_that_ends_while_its_request_waits_learns_nothing_more(bench: Bench) -> None:
    key = f"Bearer {secret(bench, '*')}"
    phone = Device(bench.store, "U").enrolls()

    def end(_seconds: float) -> None:
        """The token is revoked, then something happens."""
        for one in bench.ask("GET", "/v1/tokens").json()["tokens"]:
            bench.ask("DELETE", f"/v1/tokens/{one['name']}")
        bench.store.append_event(event("{}"), at=NOW)
        phone.run("Acknowledged")

    bench.pause = end
    body = json.dumps({"udid": "U", "request_type": "ProfileList"}).encode()
    answer = bench.ask("POST", "/v1/commands?wait=30", body, key=key)
    assert (answer.status, list(answer.json())) == (202, ["payload"])
    assert phone.waiting() == []
    last = bench.ask("GET", "/v1/events").json()["next"]
    key = f"Bearer {secret(bench, '*', name='second')}"
    answer = bench.ask("GET", f"/v1/events?wait=30&after={last}", key=key)
    assert (answer.status, answer.error) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": ""}, "name: must not be empty"),
        ({"name": 7}, "name: must be a string"),
        ({"name": "a\nb"}, "name: must not contain control characters"),
        ({"name": "api-key"}, "name: is that of the API key"),
        ({"permissions": []}, "permissions: must not be empty"),
        ({"permissions": ["Not A Name"]}, "permission: "),
        ({"permissions": ["mdm.event.gett"]}, "permissions: there is no permission mdm.event.gett"),
        ({"permissions": ["*", "mdm.apples.*"]}, "permissions: there is no permission mdm.apples.*"),
        ({"expires_days": -1}, "expires_days: "),
        ({"expires_days": 10**9}, "expires_days: "),
    ],
)
def test_token_that_cannot_be_is_refused(bench: Bench, fields: dict[str, object], error: str) -> None:
    body = json.dumps({"name": "ci", "permissions": ["*"], **fields}).encode()
    answer = bench.ask("POST", "/v1/tokens", body)
    assert answer.status == 400 and answer.error.startswith(error)
    assert bench.ask("GET", "/v1/tokens").json()["tokens"] == []


def test_token_cannot_make_a_stronger_one(bench: Bench) -> None:
    key = f"Bearer {secret(bench, 'server.token.*', 'mdm.event.get')}"
    assert create(bench, "mdm.event.get", key=key, name="weak").status == 201
    assert create(bench, "mdm.event.*", key=key, name="strong").status == 403
    assert [one["name"] for one in bench.ask("GET", "/v1/tokens").json()["tokens"]] == ["ci", "weak"]


def test_without_key_and_tokens_there_is_no_admin_api() -> None:
    bench = Bench(api_key="")
    for key in (None, basic(), basic(password=""), "Bearer mdm_x"):
        assert bench.ask("GET", "/v1/commands/U", key=key).status == 404
    bench = Bench(bench.store)
    token = secret(bench, "mdm.apple.command.list")
    bench = Bench(bench.store, api_key="")
    assert bench.ask("GET", "/v1/commands/U", key=f"Bearer {token}").status == 200
    assert bench.ask("GET", "/v1/commands/U", key=basic(password="")).status == 401
    organization = "/v1/organizations/default/mdm/apple/enterprise/commands/device/U"
    for key in ("Bearer ", "Bearer", basic(password="")):
        assert bench.ask("GET", organization, key=key).status == 401
    assert bench.ask("GET", "/v1/commands/U", key=None).status == 401


def test_changes_are_in_the_audit_log(bench: Bench) -> None:
    token = secret(bench, "*")
    queue(bench, basic(), "SecurityInfo")
    bench.ask("POST", "/v1/commands/UDID-2", RAW % b"ProfileList", key=f"Bearer {token}")
    bench.ask("POST", "/v1/devices/UDID-3/block")
    entries = bench.ask("GET", "/v1/audit").json()["entries"]
    told = [(e["who"], e["action"], e["target"], e.get("detail"), e["request"]) for e in entries]
    assert told == [
        ("api-key", "mdm.apple.device.block", "UDID-3", None, "POST /v1/devices/UDID-3/block"),
        ("ci", "mdm.apple.command.create", "UDID-2", "ProfileList", "POST /v1/commands/UDID-2"),
        ("api-key", "mdm.apple.command.create", "UDID-1", "SecurityInfo", "POST /v1/commands"),
        ("api-key", "server.token.create", "ci", "*", "POST /v1/tokens"),
    ]
    assert all(e["result"] == "accepted" and e["request_id"] and e["at"].endswith("Z") for e in entries)
    assert token not in str(entries)


def test_reads_and_refusals_are_not_in_the_audit_log(bench: Bench) -> None:
    bench.ask("GET", "/v1/commands/UDID-1")
    bench.ask("POST", "/v1/devices", b"{}")
    bench.ask("POST", "/v1/devices/UDID-1/unblock")
    bench.ask("POST", "/v1/commands/UDID-1", b"no property list")
    bench.ask("POST", "/v1/devices/UDID-1/block", key=None)
    assert bench.ask("GET", "/v1/audit").json() == {"entries": []}


def test_audit_log_is_read_in_pages(bench: Bench) -> None:
    for number in range(5):
        bench.ask("POST", f"/v1/devices/UDID-{number}/block")
    seen, query = [], "limit=2"
    while query:
        page = bench.ask("GET", f"/v1/audit?{query}").json()
        seen += [entry["target"] for entry in page["entries"]]
        query = f"limit=2&cursor={page['next']}" if "next" in page else ""
    assert seen == [f"UDID-{number}" for number in reversed(range(5))]
    assert bench.ask("GET", "/v1/audit?who=nobody").json() == {"entries": []}
    for bad in ("limit=0", "limit=1001", "limit=x", "cursor=-1", "cursor=" + "9" * 30):
        assert bench.ask("GET", f"/v1/audit?{bad}").status == 400


def test_route_that_the_table_does_not_name_is_for_administrators() -> None:
    assert permission_of("/v1/unheard-of", "GET") == OTHER
    assert not any(OTHER in methods.values() for methods in PERMISSIONS.values())
