"""What holds for every route: methods, paths, ids of requests, the log."""

import re

import pytest

from tests.http.bench import JSON, RULE, Answer, Bench, Unreadable, basic

ADMIN = [
    ("POST", "/v1/devices"),
    ("DELETE", "/v1/devices"),
    ("POST", "/v1/devices/U/block"),
    ("POST", "/v1/devices/U/unblock"),
    ("POST", "/v1/commands"),
    ("POST", "/v1/commands/U"),
    ("PUT", "/v1/commands/U"),
    ("GET", "/v1/commands/U"),
    ("DELETE", "/v1/commands/U"),
    ("POST", "/v1/push/U"),
    ("GET", "/push/U"),
    ("GET", "/v1/config/certificate"),
    ("PUT", "/v1/config/certificate"),
    ("POST", "/v1/challenge"),
]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def is_unknown(answer: Answer) -> bool:
    return (answer.status, answer.headers["content-type"], answer.body) == (
        404,
        "text/plain; charset=utf-8",
        b"404 page not found\n",
    )


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_administration_needs_credentials_before_its_body_is_read(
    bench: Bench, method: str, path: str
) -> None:
    for key in (None, basic(password="wrong")):
        answer = bench.ask(method, path, key=key, source=Unreadable())
        assert answer.status == 401
        assert answer.error == "Unauthorized"
        assert answer.headers["www-authenticate"] == 'Basic realm="micromdm"'
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_administration_does_not_exist_without_an_api_key(method: str, path: str) -> None:
    for key in (None, basic(), basic(password="")):
        assert is_unknown(Bench(api_key="").ask(method, path, key=key, source=Unreadable()))


def test_challenges_have_no_route_unless_they_are_one_time() -> None:
    assert is_unknown(Bench(one_time_challenges=False).ask("POST", "/v1/challenge"))


@pytest.mark.parametrize("method", ["POST", "PUT", "FOO"])
def test_an_id_with_a_slash_is_not_queued_to(bench: Bench, method: str) -> None:
    assert is_unknown(bench.ask(method, "/v1/commands/A%2FB"))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nope",
        "/v1",
        "/v1/devices/",
        "/v1/commands/",
        "/v1/commands/U/",
        "/v1/devices/U/x",
        "/V1/devices",
        "/push/",
        "/version/",
        "/index.html",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "FOO"])
def test_a_path_that_nobody_knows_is_404_as_text(bench: Bench, method: str, path: str) -> None:
    assert is_unknown(bench.ask(method, path))
    assert is_unknown(bench.ask(method, path, key=None))


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/devices", "DELETE, POST"),
        ("HEAD", "/v1/devices", "DELETE, POST"),
        ("OPTIONS", "/v1/devices", "DELETE, POST"),
        ("PATCH", "/v1/commands/U", "DELETE, GET, POST, PUT"),
        ("FOO", "/v1/commands/U", "DELETE, GET, POST, PUT"),
        ("GET", "/v1/push/U", "POST"),
        ("HEAD", "/push/U", "GET"),
        ("POST", "/mdm/checkin", "PUT"),
        ("GET", "/mdm/connect", "PUT"),
        ("BREW", "/mdm/connect", "PUT"),
        ("OPTIONS", "/mdm/connect", "PUT"),
    ],
)
def test_another_method_is_405_and_tells_the_right_ones(
    bench: Bench, method: str, path: str, allow: str
) -> None:
    answer = bench.ask(method, path)
    assert (answer.status, answer.body, answer.headers["allow"]) == (405, b"", allow)


def test_a_method_for_web_sockets_is_refused_like_others(bench: Bench) -> None:
    assert bench.ask("WEBSOCKET", "/mdm/connect").status == 405


def test_clearing_without_an_id_finds_nothing(bench: Bench) -> None:
    assert is_unknown(bench.ask("DELETE", "/v1/commands"))


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//v1/devices", "/v1/devices"),
        ("/v1//devices", "/v1/devices"),
        ("/v1/./devices", "/v1/devices"),
        ("/v1/x/../devices", "/v1/devices"),
        ("/../../v1/devices", "/v1/devices"),
        ("/v1/devices/.", "/v1/devices"),
        ("/v1//", "/v1/"),
        ("//", "/"),
        ("//v1/push/U?expiration=1&x=%2F", "/v1/push/U?expiration=1&x=%2F"),
        ("//evil.example.com/%2e%2e", "/"),
        ("/.//evil.example.com", "/evil.example.com"),
        ("/./%5Cevil.example.com", "/%5Cevil.example.com"),
        ("//a%0d%0aSet-Cookie:b", "/a%0D%0ASet-Cookie:b"),
        ("//%C3%A9 %FF?", "/%C3%A9%20%FF"),
    ],
)
def test_a_path_that_is_not_clean_is_redirected(bench: Bench, target: str, location: str) -> None:
    for key in (None, basic()):
        answer = bench.ask("POST", target, key=key, source=Unreadable())
        assert (answer.status, answer.headers["location"], answer.body) == (301, location, b"")


@pytest.mark.parametrize("path", ["/v1/commands/.hidden", "/v1/commands/a..b", "/v1/commands/..."])
def test_dots_inside_an_id_are_part_of_it(bench: Bench, path: str) -> None:
    assert bench.ask("GET", path).status == 200


ANY_METHOD = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "FOO"]


@pytest.mark.parametrize("method", ANY_METHOD)
def test_the_profile_service_answers_any_method(bench: Bench, method: str) -> None:
    answer = bench.ask(method, "/ota/enroll", key=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-apple-aspen-config")


def test_scep_clients_find_the_type_they_compare_with(bench: Bench) -> None:
    for method in ("GET", "POST"):
        answer = bench.ask(method, "/scep?operation=GetCACaps", key=None)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")


@pytest.mark.parametrize("method", ANY_METHOD)
def test_version_and_home_answer_any_method(bench: Bench, method: str) -> None:
    version, home = (bench.ask(method, path, key=None) for path in ("/version", "/"))
    assert (version.status, version.headers["content-type"]) == (200, JSON)
    assert (home.status, home.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert bool(version.body) == bool(home.body) == (method != "HEAD")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/challenge"), ("POST", "//v1/devices")])
def test_what_has_no_body_has_no_content_type(bench: Bench, method: str, path: str) -> None:
    answer = bench.ask(method, path)
    assert answer.body == b""
    assert "content-type" not in answer.headers


def test_version_tells_six_texts(bench: Bench) -> None:
    told = bench.ask("GET", "/version").json()
    assert set(told) == {"version", "branch", "revision", "go_version", "build_date", "build_user"}
    assert all(isinstance(text, str) for text in told.values())


def test_the_home_page_leads_to_the_profile_and_can_be_switched_off(bench: Bench) -> None:
    page = bench.ask("GET", "/", key=None).body.decode()
    assert re.search(r'<a href="mdm/enroll">[^<]+</a>', page)
    assert '<html lang="en">' in page
    assert is_unknown(Bench(homepage=False).ask("GET", "/"))


def test_every_answer_has_its_own_request_id(bench: Bench) -> None:
    targets = ["/version", "/nope", "//", "/v1/devices"]
    ids = [bench.ask("GET", target).headers["x-request-id"] for target in targets]
    assert ids == ["request-1", "request-2", "request-3", "request-4"]


def test_strict_transport_security_is_told_when_the_server_speaks_tls() -> None:
    for path in ("/version", "/nope", "//", "/v1/devices"):
        header = "strict-transport-security"
        assert Bench(tls=True).ask("GET", path, key=None).headers[header].startswith("max-age=63072000")
        assert header not in Bench().ask("GET", path, key=None).headers


def test_every_request_is_one_line_in_the_log(bench: Bench) -> None:
    bench.ask("POST", "/v1/devices?page=1", b"{}", user_agent="curl/8 (test)")
    assert bench.lines == [
        "level=info component=http request_id=request-1 transport=http method=POST status=200"
        ' proto=HTTP/1.1 host=127.0.0.1 user_agent="curl/8 (test)" path=/v1/devices'
    ]


def test_nothing_in_a_request_can_begin_a_line_or_a_field(bench: Bench) -> None:
    bench.ask("GET", "/%0Alevel=error%20status=1%22", user_agent='x" status=2\n')
    (line,) = bench.lines
    assert "\n" not in line
    assert re.sub(r'"(?:\\.|[^"\\])*"', "", line).count("status=") == 1


def test_credentials_do_not_reach_the_log(bench: Bench) -> None:
    bench.ask("GET", "/v1/commands/U")
    bench.ask("GET", "/v1/commands/U", key=basic(password="almost"))
    assert "Basic" not in "".join(bench.lines)
    assert RULE.api_key not in "".join(bench.lines)
