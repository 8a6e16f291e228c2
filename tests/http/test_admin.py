"""The pages: who gets in, what is shown, and that nothing of strangers gets through as markup."""

import html
import json
import plistlib
import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.http.admin.rendering import page
from micromdm_py.storage.records import HeldEvent, PushCertificate, PushOutcome
from tests.builders import NOW, TOPIC, Device, check_out, command, device, event, identity, report
from tests.fakes.push_pair import certificate
from tests.http.bench import API_KEY, Answer, Bench

EVIL = '<script>alert("1")</script>'


@pytest.fixture
def bench() -> Bench:
    return Bench()


def login(bench: Bench, secret: str = API_KEY, **headers: str) -> Answer:
    body = f"token={secret}".encode()
    return bench.ask("POST", "/admin/login", body, key=None, **headers)


def cookie(bench: Bench, secret: str = API_KEY) -> str:
    answer = login(bench, secret)
    assert (answer.status, answer.headers["location"]) == (303, "/admin")
    return answer.headers["set-cookie"].partition(";")[0]


def look(bench: Bench, path: str, session: str | None = None) -> Answer:
    return bench.ask("GET", path, key=None, cookie=session or cookie(bench))


def text(answer: Answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode()))


@pytest.mark.parametrize("path", ["/admin", "/admin/devices", "/admin/devices/A", "/admin/events"])
def test_without_a_session_there_is_only_the_login(bench: Bench, path: str) -> None:
    long = cookie(bench) + "; a=b" * 4000
    for session in ("", "micromdm_session=made-up", 'micromdm_session="', "other=1", long):
        answer = bench.ask("GET", path, key=None, cookie=session)
        assert (answer.status, answer.headers["location"], answer.body) == (303, "/admin/login", b"")
    assert b'name="token"' in bench.ask("GET", "/admin/login", key=None).body


def test_login_sets_a_cookie_that_only_the_pages_get(bench: Bench) -> None:
    told = login(bench).headers["set-cookie"]
    assert re.fullmatch(r"micromdm_session=\w+; HttpOnly; Max-Age=43200; Path=/admin; SameSite=Strict", told)
    assert "Secure" in login(bench, scheme="https").headers["set-cookie"]


@pytest.mark.parametrize("secret", ["", "wrong", API_KEY + "x", "mdm_wrong", "%F0%28"])
def test_wrong_token_gets_nobody_in(bench: Bench, secret: str) -> None:
    answer = login(bench, secret)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers
    assert "This token is not known." in text(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
        {"origin": "http://["},
    ],
)
def test_form_from_another_site_is_refused(bench: Bench, headers: dict[str, str]) -> None:
    assert login(bench, **headers).status == 403
    session = cookie(bench)
    answer = bench.ask("POST", "/admin/logout", key=None, cookie=session, **headers)
    assert (answer.status, "set-cookie" in answer.headers) == (303, False)
    assert look(bench, "/admin", session).status == 200


def test_session_ends_by_logout_by_time_and_with_its_token(bench: Bench) -> None:
    first, second = cookie(bench), cookie(bench)
    bench.ask("POST", "/admin/logout", key=None, cookie=first)
    assert look(bench, "/admin", first).status == 303
    assert look(bench, "/admin", second).status == 200
    bench.clock.move(timedelta(hours=12).total_seconds())
    assert look(bench, "/admin", second).status == 303
    body = json.dumps({"name": "ci", "permissions": ["mdm.apple.device.*"]}).encode()
    session = cookie(bench, bench.ask("POST", "/v1/tokens", body).json()["token"])
    assert look(bench, "/admin", session).status == 200
    refused = look(bench, "/admin/events", session)
    assert (refused.status, "lacks mdm.event.get" in text(refused)) == (403, True)
    bench.ask("DELETE", "/v1/tokens/ci")
    assert look(bench, "/admin", session).status == 303
    assert len(bench.store.documents("session")) == 1  # those that have ended were cleared away


@pytest.mark.parametrize(
    ("path", "opens", "needs", "shows"),
    [
        ("/admin", "mdm.apple.device.list", "mdm.event.get", "Newest events"),
        ("/admin", "mdm.apple.device.list", "server.webhook.list", "Webhooks"),
        ("/admin/events", "mdm.event.get", "server.webhook.list", "Delivery"),
        ("/admin/devices/A", "mdm.apple.device.get", "mdm.apple.command.list", "Last change"),
    ],
)
def test_a_page_leaves_out_what_the_token_does_not_allow(
    bench: Bench, path: str, opens: str, needs: str, shows: str
) -> None:
    made = Device(bench.store, "A")
    made.enrolls()
    made.queue("c")
    for name, permissions, shown in (("a", [opens], False), ("b", [opens, needs], True)):
        body = json.dumps({"name": name, "permissions": permissions}).encode()
        secret = bench.ask("POST", "/v1/tokens", body).json()["token"]
        answer = look(bench, path, cookie(bench, secret))
        assert (answer.status, shows in text(answer)) == (200, shown)


def test_session_of_an_old_api_key_has_ended(bench: Bench) -> None:
    session = cookie(bench)
    assert look(Bench(bench.store), "/admin", session).status == 200
    assert look(Bench(bench.store, api_key="new key"), "/admin", session).status == 303


def test_fleet_is_counted(bench: Bench) -> None:
    for letter in "ABC":
        Device(bench.store, letter).enrolls()
    bench.store.block("A", at=NOW)
    due = bench.store.due_push("B")
    bench.store.record_push(due, PushOutcome(NOW, False, reason="Unregistered", dead=True))
    Device(bench.store, "C").queue("c")
    shown = text(look(bench, "/admin"))
    assert "Enrolled 3 of 3" in shown and "Blocked 1" in shown
    assert "With waiting commands 1" in shown and "Push refused for good 1" in shown
    assert "Push certificate none" in shown and "No webhook receiver" in shown


def test_certificate_receivers_and_their_backlog_are_shown(bench: Bench) -> None:
    begin, end = NOW - timedelta(days=10), NOW + timedelta(days=300, hours=1)
    pem = certificate(TOPIC, begin=begin, end=end).public_bytes(Encoding.PEM)
    bench.store.store_push_certificate(PushCertificate(TOPIC, pem, b"key", NOW))
    start = bench.store.receiver("https://hooks.example.com").cursor
    for topic in ("one", "two", "three"):
        bench.store.append_event(event("{}", topic), at=NOW)
    (first,) = bench.store.events_after(start, 1)
    hold = [HeldEvent(first, 1, NOW, "status 500")]
    bench.store.settle("https://hooks.example.com", at=NOW, cursor=start + 1, hold=hold)
    shown = text(look(bench, "/admin"))
    assert "Push certificate 300 days" in shown
    assert "Last error https://hooks.example.com 3 1 0 never none" in shown


def test_newest_answers_are_shown_without_secrets(bench: Bench) -> None:
    phone = Device(bench.store, "A").enrolls()
    for uuid, kind, told in (
        ("c1", "DeviceInformation", {"QueryResponses": {"DeviceName": "Käthe"}}),
        ("c2", "SecurityInfo", {"SecurityInfo": {"Passcode": "s3cret"}}),
    ):
        bench.store.enqueue("A", command(uuid, kind), at=NOW)
        phone.says("Idle")
        raw = plistlib.dumps({"UDID": "A", "Status": "Acknowledged", "CommandUUID": uuid, **told})
        answer = report(phone.ref, "Acknowledged", uuid, raw)
        bench.store.record_report(answer, phone.who, None, at=NOW)
    shown = html.unescape(look(bench, "/admin/devices/A").body.decode())
    assert '{\n  "QueryResponses": {\n    "DeviceName": "Käthe"\n  }\n}' in shown
    assert '"Passcode": "***"' in shown and "s3cret" not in shown


def test_events_name_their_device(bench: Bench) -> None:
    for letter, name in (("A", "Reception"), ("B", "")):
        Device(bench.store, letter).enrolls(serial_number=f"S-{letter}", device_name=name)
        told = event("{}", "mdm.CheckOut")
        bench.store.check_out(check_out(device(letter)), identity(f"of {letter}"), told, at=NOW)
    shown = text(look(bench, "/admin/events"))
    assert "Reception A CheckOut" in shown and "S-B B CheckOut" in shown


def test_what_strangers_made_up_is_text(bench: Bench) -> None:
    Device(bench.store, "A").enrolls(serial_number=EVIL, device_name=EVIL, model_name=EVIL)
    bench.store.check_out(
        check_out(device("A")),
        identity("of A"),
        event(json.dumps({"acknowledge_event": {"status": EVIL}})),
        at=NOW,
    )
    session = cookie(bench)
    for path in ("/admin", "/admin/devices", "/admin/devices/A", "/admin/events", f"/admin/devices?q={EVIL}"):
        answer = look(bench, path, session)
        assert answer.status == 200
        assert EVIL.encode() not in answer.body and b"&lt;script&gt;" in answer.body
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def test_facts_have_readable_names(bench: Bench) -> None:
    Device(bench.store, "A").enrolls(serial_number="S", os_version="15.1", imei="1", device_name="N")
    shown = text(look(bench, "/admin/devices/A"))
    assert "Serial number S" in shown and "OS version 15.1" in shown and "IMEI 1" in shown


def test_devices_are_searched_and_paged(bench: Bench) -> None:
    for number in range(51):
        Device(bench.store, f"U{number:02}").enrolls(serial_number=f"S{number:02}")
    session = cookie(bench)
    first = look(bench, "/admin/devices?field=serial_number&q=s", session)
    assert b">S49<" in first.body and b">S50<" not in first.body
    link = re.search(r'href="(/admin/devices\?[^"]*)">Next page', first.body.decode())
    assert link
    second = look(bench, link[1].replace("&amp;", "&"), session)
    assert b">S50<" in second.body and b">S49<" not in second.body
    nothing = text(look(bench, "/admin/devices?field=serial_number&q=zz", session))
    assert "No device whose serial number begins with “zz”." in nothing
    assert "No device that is blocked." in text(look(bench, "/admin/devices?state=blocked", session))
    wrong = look(bench, "/admin/devices?state=asleep", session)
    assert (wrong.status, "state: must be one of" in text(wrong)) == (400, True)


def test_commands_are_shown_with_timeline_request_and_answer(bench: Bench) -> None:
    phone = Device(bench.store, "A").enrolls()
    body = json.dumps({"udid": "A", "request_type": "DeviceLock", "pin": "123456", "message": EVIL}).encode()
    bench.ask("POST", "/v1/commands", body)
    session = cookie(bench)
    shown = look(bench, "/admin/devices/A", session)
    assert "DeviceLock" in text(shown) and "Pending" in text(shown)
    assert "1 command waits" in text(shown)
    link = re.search(r'href="(/admin/devices/A/commands/[0-9a-f]{24})"', shown.body.decode())
    assert link
    uuid = phone.says("Idle")
    assert uuid
    page_before = text(look(bench, link[1], session))
    assert "Awaiting" in page_before and "handed out" in page_before and "None yet." in page_before
    phone.says("Error", uuid)
    answered = look(bench, link[1], session)
    assert "answered" in text(answered) and "Error" in text(answered)
    assert "123456" not in text(answered) and "***" in text(answered)
    assert EVIL.encode() not in answered.body
    missing = look(bench, "/admin/devices/A/commands/nope", session)
    assert (missing.status, "No command nope of A" in text(missing)) == (404, True)


def test_older_commands_are_on_the_next_page(bench: Bench) -> None:
    Device(bench.store, "A").enrolls().queue(*(f"c{number:02}" for number in range(30)))
    session = cookie(bench)
    first = look(bench, "/admin/devices/A", session)
    assert b">c29<" in first.body and b">c00<" not in first.body
    link = re.search(r'href="(\?cursor=[0-9a-f]+)">Older', first.body.decode())
    assert link
    assert b">c00<" in look(bench, f"/admin/devices/A{link[1]}", session).body


def test_unknown_device_says_what_was_looked_for(bench: Bench) -> None:
    answer = look(bench, "/admin/devices/nobody")
    assert (answer.status, "No device nobody" in text(answer)) == (404, True)


def test_style_is_served(bench: Bench) -> None:
    answer = bench.ask("GET", "/admin/style.css", key=None)
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.body == page("style.css")


def test_pages_can_be_left_out() -> None:
    assert Bench(pages=False).ask("GET", "/admin/login").status == 404
