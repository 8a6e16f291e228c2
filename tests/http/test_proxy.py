"""Proxy headers and Strict-Transport-Security."""

from ipaddress import ip_network

import falcon
import falcon.testing
import pytest

from micromdm_py.http.proxy import ProxyHeaders, StrictTransport, TrustedProxies

TRUSTED = TrustedProxies([ip_network("127.0.0.0/8"), ip_network("::1/128"), ip_network("10.0.0.0/8")])


class Seen:
    """Answers with what the application sees of the client."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = [req.remote_addr, req.scheme, req.host, req.env["micromdm.peer_address"]]


def seen(peer: str, headers: dict[str, str], *, enabled: bool = True) -> list[str]:
    app = falcon.App(middleware=[ProxyHeaders(TRUSTED, enabled=enabled)])
    app.add_route("/", Seen())
    client = falcon.testing.TestClient(app)
    answer: list[str] = client.simulate_get("/", remote_addr=peer, headers=headers, host="inner").json
    return answer


FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "mdm.example.com",
}
TAKEN = ["203.0.113.9", "https", "mdm.example.com", "127.0.0.1"]


def test_headers_of_a_trusted_proxy_are_taken() -> None:
    assert seen("127.0.0.1", FORWARDED) == TAKEN


def test_headers_of_anybody_else_are_not() -> None:
    assert seen("198.51.100.1", FORWARDED) == ["198.51.100.1", "http", "inner", "198.51.100.1"]


def test_headers_are_not_taken_unless_switched_on() -> None:
    assert seen("127.0.0.1", FORWARDED, enabled=False) == ["127.0.0.1", "http", "inner", "127.0.0.1"]


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("198.51.100.7, 203.0.113.9", "203.0.113.9"),  # the first was sent by the client itself
        ("203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("nonsense", "127.0.0.1"),
        ("nonsense, 203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(header: str, client: str) -> None:
    assert seen("127.0.0.1", {"X-Forwarded-For": header})[0] == client


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Real-IP": "203.0.113.9"}, ["203.0.113.9", "http", "inner"]),
        ({"X-Forwarded-Scheme": "https"}, ["127.0.0.1", "https", "inner"]),
        (
            {"Forwarded": 'for="[2001:db8::1]:80";proto=https;host=mdm.example.com'},
            ["2001:db8::1", "https", "mdm.example.com"],
        ),
        ({"X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "a b"}, ["127.0.0.1", "http", "inner"]),
    ],
)
def test_other_headers(headers: dict[str, str], expected: list[str]) -> None:
    assert seen("127.0.0.1", headers)[:3] == expected


def test_strict_transport_is_on_every_answer() -> None:
    client = falcon.testing.TestClient(falcon.App(middleware=[StrictTransport()]))
    header = client.simulate_get("/nothing").headers["Strict-Transport-Security"]
    assert header == "max-age=63072000; includeSubDomains; preload"
