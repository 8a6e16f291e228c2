"""HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE are honoured; each case in a process with its own environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.apns_server import APNS_ID, ApnsServer
from tests.fakes.certificates import push_certificate
from tests.fakes.recorded_dep import RecordedDep

TOPIC = "com.apple.mgmt.External.1111"
SCRIPT = """
import asyncio, json, sys
from datetime import UTC, datetime
from micromdm_py.net.apns import ApnsSender, AsyncApnsSender
from micromdm_py.protocol.apns import push_request
from micromdm_py.storage.records import PushCertificate

what = json.load(sys.stdin)
certificate = PushCertificate(
    what["topic"], what["certificate"].encode(), what["key"].encode(), datetime(2026, 11, 23, tzinfo=UTC)
)
request = push_request("ab" * 32, "magic", what["topic"])

async def in_loop():
    sender = AsyncApnsSender(what["url"], what["ca_file"], user_agent="test")
    reply = await sender(certificate, request)
    await sender.aclose()
    return reply

in_thread = ApnsSender(what["url"], what["ca_file"], user_agent="test")
replies = [asyncio.run(in_loop()), in_thread(certificate, request)]
print(json.dumps([[reply.fate.value, reply.apns_id, reply.reason] for reply in replies]))
"""


def push(url: str, environment: dict[str, str], ca_file: str = "") -> list[list[str]]:
    certificate = push_certificate(TOPIC)
    what = {
        "topic": TOPIC,
        "certificate": certificate.certificate.decode(),
        "key": certificate.key.decode(),
        "url": url,
        "ca_file": ca_file,
    }
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(what),
        env={**clean, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


ACCEPTED = [["accepted", APNS_ID, ""]] * 2


def test_through_a_proxy(tmp_path: Path) -> None:
    with ApnsServer(tmp_path) as server:
        environment = {"HTTPS_PROXY": server.proxy_url, "SSL_CERT_FILE": server.ca_file}
        assert push("https://apns.example.com", environment) == ACCEPTED
        assert server.tunnels == ["CONNECT apns.example.com:443 HTTP/1.1"] * 2
        assert server.pushes[0].headers[":authority"] == "apns.example.com"


def test_past_the_proxy_where_it_shall_not_be_used(tmp_path: Path) -> None:
    with ApnsServer(tmp_path) as server:
        environment = {
            "https_proxy": "http://127.0.0.1:9",
            "NO_PROXY": "localhost,127.0.0.1",
            "SSL_CERT_FILE": server.ca_file,
        }
        assert push(server.url, environment) == ACCEPTED


def test_without_the_authority_nothing_is_sent(tmp_path: Path) -> None:
    with ApnsServer(tmp_path) as server:
        for fate, _, reason in push(server.url, {}):
            assert fate == "down"
            assert reason
        assert server.pushes == []


def test_the_authority_given_by_flag_takes_the_place_of_the_usual_ones(tmp_path: Path) -> None:
    with ApnsServer(tmp_path) as server:
        assert push(server.url, {}, server.ca_file) == ACCEPTED
        other = tmp_path / "other"
        other.mkdir()
        with ApnsServer(other) as stranger:
            refused = push(server.url, {"SSL_CERT_FILE": server.ca_file}, stranger.ca_file)
        assert [fate for fate, _, _ in refused] == ["down", "down"]
        missing = push(server.url, {}, str(tmp_path / "none.pem"))
        assert [fate for fate, _, _ in missing] == ["locked out", "locked out"]


DEP_SCRIPT = """
import asyncio, sys
from datetime import UTC, datetime
from micromdm_py.net.dep import AsyncDepClient, DepClient, DepSessions
from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN

sessions = DepSessions(user_agent="test", now=lambda: datetime.now(UTC), make_nonce=str)
call = "http://dep.example.com", SIMULATOR_TOKEN, "GET", "/account"

async def in_loop():
    client = AsyncDepClient(sessions)
    answer = await client(*call)
    await client.aclose()
    return answer

for answer in (DepClient(sessions)(*call), asyncio.run(in_loop())):
    assert b"Example MDM" in answer.body
"""


def test_calls_to_the_enrollment_program_honour_the_proxy() -> None:
    with RecordedDep() as proxy:
        environment = {**os.environ, "HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        subprocess.run([sys.executable, "-P", "-W", "ignore", "-c", DEP_SCRIPT], env=environment, check=True)
