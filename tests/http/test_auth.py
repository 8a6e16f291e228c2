"""The API key: what an Authorization header may look like."""

import base64

import pytest

from tests.http.bench import API_KEY, Bench, basic


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


GOOD = encoded(f"micromdm:{API_KEY}".encode())


@pytest.mark.parametrize(
    "header", [basic(), basic(scheme="basic"), basic(scheme="BASIC"), f"Basic   {GOOD} "]
)
def test_the_key_opens(header: str) -> None:
    assert Bench().ask("POST", "/v1/devices", b"{}", key=header).status == 200


@pytest.mark.parametrize("key", ["plain", "with:colons::", "ünïcode", " spaces ", "a" * 500])
def test_a_key_may_be_any_text(key: str) -> None:
    bench = Bench(api_key=key)
    assert bench.ask("POST", "/v1/devices", b"{}", key=basic(password=key)).status == 200
    assert bench.ask("POST", "/v1/devices", b"{}", key=basic(password=key[:-1])).status == 401


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        f"Bearer {API_KEY}",
        f"Bearer {GOOD}",
        f"Token {GOOD}",
        GOOD,
        f"Basic {GOOD[:-1]}",
        f"Basic {GOOD}!",
        f"Basic {GOOD[:4]} {GOOD[4:]}",
        f"Basic{GOOD}",
        "Basic ÿþ",
        f"Basic {encoded(b'micromdm')}",
        f"Basic {encoded(b'micromdm:')}",
        f"Basic {encoded(API_KEY.encode())}",
        f"Basic {encoded(bytes(range(128, 160)))}",
        basic(user="MicroMDM"),
        basic(user=""),
        basic(user="nanomdm"),
        basic(password=API_KEY.upper()),
        basic(password=API_KEY + " "),
        basic(password=API_KEY + "\0"),
    ],
)
def test_anything_else_does_not(header: str) -> None:
    assert Bench().ask("POST", "/v1/devices", b"{}", key=header).status == 401


def test_the_user_of_nanomdm_is_one_of_its_routes_alone() -> None:
    path = "/nano/v1/enqueue/U"
    assert Bench().ask("PUT", path, b"<plist/>", key=basic(user="nanomdm")).status != 401
    assert Bench().ask("PUT", path, b"<plist/>", key=basic(user="other")).status == 401


def test_credentials_come_before_methods_and_ids() -> None:
    bench = Bench()
    for method, path in (("GET", "/v1/devices"), ("GET", "/v1/commands/%FF"), ("FOO", "/push/U")):
        assert bench.ask(method, path, key=None).status == 401


@pytest.mark.parametrize("path", ["/version", "/"])
def test_public_pages_ask_nobody(path: str) -> None:
    assert Bench().ask("GET", path, key=basic(password="wrong")).status == 200
