"""``nginx.conf`` and ``micromdm.service`` of ``examples/``: checked, and the server run as they have it."""

import asyncio
import configparser
import plistlib
import re
import shlex
import sys
import urllib.parse
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from micromdm_py.config import Config, settings
from tests.examples.running import API_KEY, EXAMPLES, Server, enrol, running, serving

Block = list[tuple[list[str], "Block | None"]]
FLAGS = {setting.flag for setting in settings()}
CLIENT = "198.51.100.7"


def read_nginx(text: str) -> Block:
    """The directives of a configuration: (words, block or None)."""
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    tokens = re.findall(r'"[^"]*"|[{};]|[^\s{};"]+', text)
    stack: list[Block] = [[]]
    words: list[str] = []
    for token in tokens:
        if token == "{":
            block: Block = []
            stack[-1].append((words, block))
            stack.append(block)
            words = []
        elif token == "}":
            assert not words, f"no semicolon after {words}"
            stack.pop()
        elif token == ";":
            stack[-1].append((words, None))
            words = []
        else:
            words.append(token.strip('"'))
    assert len(stack) == 1 and not words
    return stack[0]


def inside(block: Block, *names: str) -> list[Block]:
    found = [block]
    for name in names:
        found = [b for one in found for words, b in one if words[0] == name and b is not None]
    return found


def values(block: Block, name: str) -> list[list[str]]:
    return [words[1:] for words, _ in block if words[0] == name]


@pytest.fixture(scope="module")
def nginx() -> Block:
    return read_nginx((EXAMPLES / "nginx.conf").read_text())


@pytest.fixture(scope="module")
def tls_server(nginx: Block) -> Block:
    [found] = [
        block for block in inside(nginx, "http", "server") if ["443", "ssl"] in values(block, "listen")
    ]
    return found


def test_nginx_ends_tls_and_passes_everything_to_the_upstream(nginx: Block, tls_server: Block) -> None:
    assert values(tls_server, "ssl_certificate") and values(tls_server, "ssl_certificate_key")
    targets = [values(location, "proxy_pass") for location in inside(tls_server, "location")]
    assert len(targets) == 2 and targets[0] == targets[1]
    [[target]] = targets[0]
    names = [words[1] for words, _ in inside(nginx, "http")[0] if words[0] == "upstream"]
    assert [target] == [f"http://{name}" for name in names]


def test_nginx_takes_bodies_as_large_as_the_server_does(tls_server: Block) -> None:
    [[size]] = values(tls_server, "client_max_body_size")
    assert size == f"{Config().max_body_bytes >> 20}m"


def test_nginx_lets_packages_of_any_size_through(tls_server: Block) -> None:
    [location] = [block for block in inside(tls_server, "location") if values(block, "client_max_body_size")]
    assert values(location, "client_max_body_size") == [["0"]]
    assert values(location, "proxy_request_buffering") == [["off"]]
    # what a location sets itself would take the place of everything that the server sets
    assert not any(values(block, "proxy_set_header") for block in inside(tls_server, "location"))


def sent_by_nginx(tls_server: Block, variables: dict[str, str]) -> dict[str, str]:
    """The headers that reach the server; nginx leaves out those whose value is empty."""
    headers = {}
    for name, value in values(tls_server, "proxy_set_header"):
        if text := variables[value[1:]] if value.startswith("$") else value:
            headers[name] = text
    return headers


def proxied(server: Server, tls_server: Block, certificate: bytes = b"") -> httpx.AsyncClient:
    """A client whose requests look as if nginx had passed them on."""
    pem = load_der_x509_certificate(certificate).public_bytes(Encoding.PEM).decode() if certificate else ""
    escaped = urllib.parse.quote(pem, safe="")
    variables = {"host": "mdm.example.com", "remote_addr": CLIENT, "scheme": "https"}
    http = server.devices()
    http.headers.update(sent_by_nginx(tls_server, {**variables, "ssl_client_escaped_cert": escaped}))
    return http


def test_server_believes_what_nginx_says_about_client_and_certificate(
    tls_server: Block, tmp_path: Path
) -> None:
    text = (EXAMPLES / "nginx.conf").read_text()
    [header] = re.findall(r"-client-cert-header (\S+)\.", text)
    assert "-http-proxy-headers" in text

    async def exchange(server: Server) -> None:
        async with server.devices() as http:
            device, identity = await enrol(server, http)
        body = plistlib.dumps({"UDID": device.facts.udid, "Status": "Idle"})
        url = "https://mdm.example.com/mdm/connect"
        for certificate, status in ((identity.certificate.der, 200), (b"", 500)):
            async with proxied(server, tls_server, certificate) as http:
                assert (await http.put(url, content=body)).status_code == status
                server.program.expect(rf" status={status} .*host={CLIENT} .*path=/mdm/connect")

    with serving(tmp_path / "store", "-http-proxy-headers", "-client-cert-header", header) as server:
        asyncio.run(exchange(server))


def test_nginx_sets_every_header_that_the_server_believes(tls_server: Block) -> None:
    source = (EXAMPLES.parent / "micromdm_py/http/proxy.py").read_text()
    believed = {name.replace("_", "-").lower() for name in re.findall(r'"HTTP_([A-Z_]+)"', source)}
    assert believed - {name.lower() for name, _ in values(tls_server, "proxy_set_header")} == set()


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names of directives keep their case
    parser.read_string((EXAMPLES / "micromdm.service").read_text().replace("\\\n", " "))
    return parser


def words_of(unit: configparser.ConfigParser) -> list[str]:
    return shlex.split(unit["Service"]["ExecStart"])


def test_unit_starts_the_server_with_flags_that_exist_and_no_secret(unit: configparser.ConfigParser) -> None:
    program, command, *flags = words_of(unit)
    assert program.endswith("/micromdm") and command == "serve"
    assert flags and {flag.partition("=")[0] for flag in flags} <= FLAGS
    assert not {"-api-key", "-scep-challenge"} & {flag.partition("=")[0] for flag in flags}


def test_unit_runs_as_its_own_user_and_gives_away_little(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert service["User"] == "micromdm"
    assert service["ProtectSystem"] == "strict" and service["StateDirectoryMode"] == "0700"
    assert service["CapabilityBoundingSet"] == "" and service["NoNewPrivileges"] == "yes"


def test_server_starts_and_stops_as_the_unit_has_it(unit: configparser.ConfigParser, tmp_path: Path) -> None:
    service = unit["Service"]
    (tmp_path / service["StateDirectory"]).mkdir()
    name, _, source = service["LoadCredential"].partition(":")
    assert source.startswith("/etc/")
    (tmp_path / name).write_text(API_KEY + "\n")
    words = [word.replace("%S", str(tmp_path)).replace("%d", str(tmp_path)) for word in words_of(unit)[1:]]
    words = ["-http-addr=127.0.0.1:0" if word.startswith("-http-addr") else word for word in words]
    with running(sys.executable, "-P", "-m", "micromdm_py", *words) as program:
        url = program.expect(r"msg=listening url=(\S+)")[1]
        with httpx.Client(base_url=url, auth=("micromdm", API_KEY), trust_env=False) as api:
            assert api.post("/v1/devices", content=b"{}").status_code == 200
        assert program.end() == 0
    assert (tmp_path / "micromdm" / "micromdm.lmdb").stat().st_mode & 0o777 == 0o700
