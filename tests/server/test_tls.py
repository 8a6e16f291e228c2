"""TLS: certificates that change, client certificates, the redirect."""

import json
import shutil
import ssl
from pathlib import Path

import pytest

from micromdm_py.errors import StartupError
from micromdm_py.server.exchange import Environ
from micromdm_py.server.redirect import redirect_app
from micromdm_py.server.tls import ServerTls
from tests.server.conftest import Authority
from tests.server.harness import Server, eventually, running


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def serial(server: Server) -> str:
    client = server.connect()
    assert isinstance(client.sock, ssl.SSLSocket)
    certificate = client.sock.getpeercert() or {}
    return str(certificate["serialNumber"])


def replace(files: tuple[Path, Path], by: tuple[Path, Path]) -> None:
    for old, new in zip(files, by, strict=True):
        Path(shutil.copy(new, f"{old}.new")).replace(old)


def test_https_is_http_1_1_and_says_so(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.issue("localhost")
    with running(tmp_path / "store", tls=True, tls_cert=str(cert), tls_key=str(key)) as server:
        server.context = trusting(authority)
        server.context.set_alpn_protocols(["h2", "http/1.1"])
        client = server.connect()
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "http/1.1"
        assert json.loads(client.ask("GET", "/environ").body)["wsgi.url_scheme"] == "https"
        assert client.ask("PUT", "/echo", b"x" * 1_000_000).body == b"x" * 1_000_000
        client.send(b"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1" * 2)
        assert [client.answer().body for _ in range(2)] == [b"1", b"1"]


def test_plain_http_on_the_tls_port_ends_at_once(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with running(tmp_path / "store", tls=True, tls_cert=str(cert), tls_key=str(key)) as server:
        client = server.connect(plain=True)
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.answer().status == 400
        assert client.is_closed()


def test_changed_files_are_picked_up_and_bad_ones_are_not(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("localhost")
    with running(tmp_path / "store", tls=True, tls_cert=str(files[0]), tls_key=str(files[1])) as server:
        server.context = trusting(authority)
        first = serial(server)
        files[0].write_text("no certificate")
        eventually(lambda: serial(server) and "keeping the old TLS certificate" in server.log(), "complaint")
        assert serial(server) == first
        replace(files, authority.issue("localhost"))
        eventually(lambda: serial(server) != first, "new certificate")


def test_client_certificates(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.issue("localhost")
    settings = {"tls": True, "tls_cert": str(cert), "tls_key": str(key), "client_ca": authority.pem.decode()}
    with running(tmp_path / "store", **settings) as server:
        server.context = trusting(authority)
        assert server.ask("GET", "/peer").body == b""
        for days in (30, -30):  # an expired one too: dates are a matter of each request
            device = authority.issue("device", days=days)
            server.context = trusting(authority)
            server.context.load_cert_chain(*device)
            shown = server.ask("GET", "/peer").body
            assert shown == ssl.PEM_cert_to_DER_cert(device[0].read_text().split("\n-----BEGIN")[0])
        server.context = trusting(authority)
        server.context.load_cert_chain(*Authority(tmp_path, "Other Authority").issue("stranger"))
        with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
            server.ask("GET", "/peer")


def test_key_and_certificate_must_fit(tmp_path: Path, authority: Authority) -> None:
    cert, _ = authority.issue("localhost")
    _, key = authority.issue("localhost")
    with pytest.raises(
        StartupError, match=r"loading TLS certificate from file: .*: the key does not belong to"
    ):
        ServerTls(cert, key)
    with pytest.raises(StartupError, match=r"loading TLS certificate from file: .*: no PEM certificate"):
        ServerTls(key, key)


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("mdm.example.com", "/mdm/enroll?a=b", "https://mdm.example.com/mdm/enroll?a=b"),
        ("mdm.example.com:80", "/", "https://mdm.example.com/"),
        ("[::1]:80", "/", "https://[::1]/"),
        ("[::1]", "/", "https://[::1]/"),
    ],
)
def test_the_redirect_keeps_host_path_and_query(host: str, target: str, location: str) -> None:
    status, headers = redirect({"HTTP_HOST": host, "RAW_URI": target})
    assert status == "301 Moved Permanently"
    assert headers["Location"] == location


@pytest.mark.parametrize("environ", [{"RAW_URI": "/"}, {"HTTP_HOST": "a", "RAW_URI": "http://b/"}])
def test_the_redirect_needs_a_host_and_a_path(environ: Environ) -> None:
    assert redirect(environ)[0] == "400 Bad Request"


def redirect(environ: Environ) -> tuple[str, dict[str, str]]:
    seen: list[tuple[str, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> object:
        seen.append((status, dict(headers)))
        return None

    assert redirect_app(environ, start_response) == [b""]  # type: ignore[arg-type]
    return seen[0]
