"""Account-driven enrollment over HTTP: discovery, sign-in, the profile, and a hook that decides or fails."""

import json
import plistlib
import threading
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from micromdm_py.errors import UpstreamFailed
from micromdm_py.http.app import Services
from micromdm_py.protocol.cms import sign_attached
from micromdm_py.service.account_enrollment import AccountDrivenEnrollment, AccountRule, AllowAll
from micromdm_py.service.enrollment_hook import Hook, HookReply
from tests.http.bench import Answer
from tests.http.device_bench import DeviceBench
from tests.http.test_signed_enrollment import FACTORY, from_factory
from tests.protocol.crypto_samples import rsa_key

URL = "https://mdm.example.com"
WELL_KNOWN = "/.well-known/com.apple.remotemanagement"
BYOD, ADDE = "/account/enroll/byod", "/account/enroll/adde"
USER = "dev@example.com"
INFO = plistlib.dumps({"LANGUAGE": "en", "PRODUCT": "iPhone10,2", "VERSION": "19A240"})
AS_WEB = {"method": "apple-as-web", "url": "https://login.example.com/?a=b"}
OAUTH = {
    "method": "apple-oauth2",
    "authorization-url": "https://login.example.com/authorize",
    "token-url": "https://login.example.com/token",
    "redirect-url": "apple-remotemanagement-user-login:/oauth2/redirection",
    "client-id": "mdm",
    "scope": "enroll",
}


class AccountBench(DeviceBench):
    """An application with a rule for account-driven enrollment."""

    def __init__(self, rule: AccountRule | None) -> None:
        self.rule = rule
        super().__init__(device_authorities=(FACTORY,))

    def _services(self, api_key: str) -> Services:
        base = super()._services(api_key)
        if self.rule is None:
            return base
        account = AccountDrivenEnrollment(self.rule, base.signed_enrollment, base.enroll, URL)
        return replace(base, account_enrollment=account)

    def discover(self, user: str = USER, family: str = "iPhone") -> Answer:
        return self.ask("GET", f"{WELL_KNOWN}?user-identifier={user}&model-family={family}", key=None)

    def enroll(self, token: str = "", path: str = BYOD, body: bytes | None = None) -> Answer:
        signed = sign_attached(INFO, rsa_key("device"), from_factory()) if body is None else body
        return self.ask("POST", path, signed, key=f"Bearer {token}" if token else None)


class Script:
    """A hook that gives prepared answers and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers, self.asked = list(answers), list[dict[str, Any]]()

    def __call__(self, question: bytes) -> HookReply:
        self.asked.append(json.loads(question))
        status, document = self.answers.pop(0)
        return HookReply(status, document if isinstance(document, bytes) else json.dumps(document).encode())


def hooked(*answers: tuple[int, object]) -> tuple[AccountBench, Script]:
    script = Script(*answers)
    return AccountBench(Hook(script, slots=4)), script


def mdm_payload(answer: Answer) -> dict[str, Any]:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-apple-aspen-config")
    payloads = plistlib.loads(answer.body)["PayloadContent"]
    (found,) = [one for one in payloads if one["PayloadType"] == "com.apple.mdm"]
    return dict(found)


def test_there_is_nothing_unless_it_is_switched_on() -> None:
    bench = AccountBench(None)
    assert [bench.discover().status, bench.enroll().status] == [404, 404]
    assert bench.ask("GET", "/account/sign-in?user-identifier=" + USER, key=None).status == 404


def test_whoever_names_an_account_enrols_the_own_device_where_all_may() -> None:
    bench = AccountBench(AllowAll(URL))
    place = {"Version": "mdm-byod", "BaseURL": URL + BYOD}
    assert json.loads(bench.discover().body) == {"Servers": [place]}
    first = bench.enroll()
    assert (first.status, first.body) == (401, b"")
    way = f'Bearer method="apple-as-web", url="{URL}/account/sign-in"'
    assert first.headers["www-authenticate"] == way
    page = bench.ask("GET", f"/account/sign-in?user-identifier={USER}", key=None)
    target = urlsplit(page.headers["location"])
    assert (page.status, target.scheme) == (308, "apple-remotemanagement-user-login")
    assert target.netloc == "authentication-results"
    (token,) = parse_qs(target.query)["access-token"]
    mdm = mdm_payload(bench.enroll(token))
    assert (mdm["EnrollmentMode"], mdm["AssignedManagedAppleID"]) == ("BYOD", USER)
    assert "AccessRights" not in mdm
    assert mdm["ServerURL"] == URL + "/mdm/connect"


def test_open_door_lets_nobody_take_an_organizations_device_and_takes_no_foreign_token() -> None:
    bench = AccountBench(AllowAll(URL))
    token = AllowAll.token(USER)
    assert bench.enroll(token, ADDE).status == 403
    for bad in ("junk", "\xff", AllowAll.token("nobody"), AllowAll.token("a\x00@example.com")):
        assert bench.enroll(bad).status == 403


def test_hook_decides_how_a_user_enrols() -> None:
    bench, script = hooked((200, {"version": "mdm-adde"}), (401, OAUTH), (200, {"managed_apple_id": USER}))
    place = {"Version": "mdm-adde", "BaseURL": URL + ADDE}
    assert json.loads(bench.discover(family="Mac").body) == {"Servers": [place]}
    first = bench.enroll(path=ADDE)
    words = ", ".join(f'{name}="{value}"' for name, value in OAUTH.items())
    assert (first.status, first.headers["www-authenticate"]) == (401, f"Bearer {words}")
    mdm = mdm_payload(bench.enroll("from-login", ADDE))
    assert (mdm["EnrollmentMode"], mdm["AssignedManagedAppleID"]) == ("ADDE", USER)
    assert mdm["AccessRights"] == 8191
    device = plistlib.loads(INFO)
    assert script.asked == [
        {"request": "discovery", "user_identifier": USER, "model_family": "Mac"},
        {"request": "enrollment", "version": "mdm-adde", "access_token": None, "device": device},
        {"request": "enrollment", "version": "mdm-adde", "access_token": "from-login", "device": device},
    ]


def test_hook_may_send_a_device_to_another_server() -> None:
    other = "https://other.example.com/enroll"
    bench, _ = hooked((200, {"version": "mdm-byod", "base_url": other}))
    assert json.loads(bench.discover().body)["Servers"][0]["BaseURL"] == other


def test_refusal_reaches_the_user_in_apples_form() -> None:
    message = {"message": "Ask the help desk."}
    bench, _ = hooked((403, message), (403, b""), (403, message))
    refused = bench.discover()
    assert (refused.status, refused.headers["content-type"]) == (403, "application/json; charset=utf-8")
    assert json.loads(refused.body) == {"code": "com.apple.well-known.failed", **message}
    assert json.loads(bench.discover().body)["message"] == "enrollment is not allowed"
    late = bench.enroll("token")
    assert (late.status, json.loads(late.body)) == (403, {"error": message["message"]})


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}),
        (302, {}),
        (200, b""),
        (200, b"junk"),
        (200, b"\xff"),
        (200, []),
        (200, {}),
        (200, {"version": "mdm-other", "managed_apple_id": 7}),
        (
            200,
            {"version": "mdm-byod", "base_url": "http://plain.example.com/", "managed_apple_id": "no-domain"},
        ),
        (200, {"version": "mdm-byod", "base_url": 5, "managed_apple_id": "a\n@example.com"}),
        (200, {"version": "mdm-byod", "base_url": "https://[", "managed_apple_id": "@example.com"}),
        (401, {}),
        (401, {"method": "basic"}),
        (401, {"method": ["apple-as-web"]}),
        (401, {**AS_WEB, "url": 'https://a" evil="b'}),
        (401, {**AS_WEB, "url": "https://a\r\nSet-Cookie: b"}),
        (401, {**OAUTH, "scope": ""}),
        (403, b"junk"),
        (200, b"[" * 100_000),
    ],
)
def test_nonsense_of_the_hook_is_its_fault_and_never_the_devices(answer: tuple[int, object]) -> None:
    bench, _ = hooked(answer, answer)
    assert bench.discover().status == 502
    failed = bench.enroll("token")
    assert (failed.status, "www-authenticate" in failed.headers) == (502, False)


def test_hook_that_is_down_is_502_and_one_that_is_busy_503() -> None:
    def down(_question: bytes) -> HookReply:
        raise UpstreamFailed("enrollment hook: ConnectError")

    assert AccountBench(Hook(down, slots=1)).discover().status == 502
    entered, leave = threading.Event(), threading.Event()

    def slow(_question: bytes) -> HookReply:
        entered.set()
        leave.wait()
        return HookReply(200, b'{"version": "mdm-byod"}')

    bench = AccountBench(Hook(slow, slots=1))
    found: list[Answer] = []
    first = threading.Thread(target=lambda: found.append(bench.discover()))
    first.start()
    entered.wait()
    busy = bench.discover()
    leave.set()
    first.join()
    assert (busy.status, "retry-after" in busy.headers, found[0].status) == (503, True, 200)
    assert bench.discover().status == 200


def test_hook_hears_of_signed_requests_only() -> None:
    bench, script = hooked()
    stranger = sign_attached(INFO, rsa_key("device"), bench.issue("phone"))
    for body, status in ((stranger, 403), (b"", 403), (INFO, 403), (bytes(1 << 19), 413)):
        assert bench.enroll("token", body=body).status == status
    no_list = sign_attached(b"no property list", rsa_key("device"), from_factory())
    assert bench.enroll("token", body=no_list).status == 400
    assert bench.enroll("x" * 9000).status == 400
    assert bench.enroll(path="/account/enroll/other").status == 404
    assert script.asked == []


@pytest.mark.parametrize("user", ["", "nobody", "@example.com", "dev@", "a%00@example.com", "a" * 300 + "@b"])
def test_user_must_be_an_account(user: str) -> None:
    bench, script = hooked()
    answer = bench.discover(user)
    assert answer.status == 400
    assert json.loads(answer.body)["error"].startswith("user-identifier: ")
    assert bench.discover(family="x" * 300).status == 400
    open_bench = AccountBench(AllowAll(URL))
    assert open_bench.ask("GET", f"/account/sign-in?user-identifier={user}", key=None).status == 400
    assert script.asked == []


def test_other_methods_are_refused() -> None:
    bench, _ = hooked()
    answer = bench.ask("GET", BYOD, key=None)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
