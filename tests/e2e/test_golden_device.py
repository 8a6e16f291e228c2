"""The recorded scenarios of devices, played to the real server: answers, events and their order, pushes."""

import base64
import contextlib
import hashlib
import json
import re
import secrets
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.cms import sign_detached
from micromdm_py.protocol.issuing import make_request, self_signed
from micromdm_py.protocol.oids import Cipher, Digest
from micromdm_py.protocol.scep import PkiStatus, ScepReply, build_request, parse_reply
from micromdm_py.simulator.authority import make_authority, make_server_certificate
from micromdm_py.simulator.device import DeviceIdentity
from tests import golden_device
from tests.builders import TOPIC
from tests.examples.running import running
from tests.fakes import push_pair
from tests.fakes.apns_server import ApnsServer
from tests.fakes.webhook_receiver import Got, Reply, WebhookReceiver
from tests.golden_device import Known, Scenario, Step
from tests.server.harness import Answer, Client

KEY = "golden key"
AUTH = {"Authorization": "Basic " + base64.b64encode(f"micromdm:{KEY}".encode()).decode()}
SCENARIOS = golden_device.scenarios()
WITH_PUSHES = ("push-", "ota-", "enrollment-profile-with")
STANDARD = 9
"""Words in front of a scenario's own flags: webhook, API key and TLS files."""
DAY = timedelta(days=1)


@cache
def key() -> rsa.RSAPrivateKey:
    """The key of every device: certificates differ all the same."""
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Site:
    """A server with everything that it talks to."""

    url: str
    hook: WebhookReceiver
    service: WebhookReceiver
    apns: ApnsServer
    context: ssl.SSLContext | None
    certificate: bytes
    heard: int = 0
    upstream: dict[str, Any] = field(default_factory=dict)  # recorded answers by path

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        client = Client(int(self.url.rpartition(":")[2]), self.context)
        try:
            return client.ask(method, path, body, **headers)
        finally:
            client.close()

    @property
    def authority(self) -> Certificate:
        return load_certificate(self.ask("GET", "/scep?operation=GetCACert").body)

    def request_certificate(
        self, name: str, challenge: str, digest: Digest, cipher: Cipher
    ) -> tuple[ScepReply, Answer]:
        """Ask over SCEP; the reply answers this very question."""
        now, nonce, authority = datetime.now(UTC), secrets.token_bytes(16), self.authority
        request = make_request(key(), name, "Lab", challenge)
        sender = load_certificate(self_signed(key(), name, 1, now - DAY, now + DAY))
        transaction = hashlib.sha256(request).hexdigest()
        message = build_request(
            request,
            key(),
            sender,
            authority,
            transaction_id=transaction,
            nonce=nonce,
            random_bytes=secrets.token_bytes,
            cipher=cipher,
            digest=digest,
        )
        answer = self.ask("POST", "/scep?operation=PKIOperation", message)
        assert answer.status == 200, answer
        reply = parse_reply(answer.body, key(), sender, authority)
        assert (reply.transaction_id, reply.recipient_nonce) == (transaction, nonce)
        return reply, answer

    def events(self, count: int) -> list[bytes]:
        """All new events, when there are at least `count`."""
        got = self.hook.wait_for(self.heard + count)[self.heard :]
        self.heard += len(got)
        return [one.body for one in got]

    def upstream_answer(self, got: Got) -> Reply:
        recorded = self.upstream.get(got.path) or self.upstream.get("*", {"status": 404, "body": ""})
        return Reply(recorded["status"], body=recorded["body"].encode())


@contextlib.contextmanager
def serving(folder: Path, words: tuple[str, ...], pushes: bool) -> Iterator[Site]:
    now, plain = datetime.now(UTC), "-tls=false" in words
    authority = make_authority(now)
    ca_file, _ = authority.write(folder, "ca")
    certificate, key_file = make_server_certificate(authority, now).write(folder, "tls")
    with (
        WebhookReceiver() as hook,
        WebhookReceiver() as service,
        ApnsServer(folder) as apns,
    ):
        own = [word.replace("<dm-origin>", service.origin) for word in words if "<server-url>" not in word]
        flags = ["-http-addr", "127.0.0.1:0", "-config-path", str(folder / "config"), "-workers", "1"]
        flags += ["-server-url", "https://mdm.example.com", "-command-webhook-url", hook.url]
        flags += ["-apns-url", apns.url, "-apns-ca-file", apns.ca_file]
        if not plain:
            flags += ["-tls-cert", str(certificate), "-tls-key", str(key_file)]
        command = [sys.executable, "-P", "-m", "micromdm_py", "serve", *flags, *own]
        with running(*command, MICROMDM_API_KEY=KEY) as program:
            url = program.expect(r"msg=listening url=(\S+)")[1]
            context = None if plain else ssl.create_default_context(cafile=str(ca_file))
            site = Site(url, hook, service, apns, context, certificate.read_bytes())
            service.answer = site.upstream_answer
            if pushes:
                made = push_pair.certificate(TOPIC, begin=now - DAY, end=now + DAY)
                answer = site.ask("PUT", "/v1/config/certificate", push_pair.upload(made), **AUTH)
                assert answer.status == 200, answer
            yield site


@pytest.fixture(scope="module")
def site_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Scenario], Site]]:
    """The server for a scenario, started when the first one needs it."""
    with contextlib.ExitStack() as stack:

        @cache
        def start(words: tuple[str, ...], pushes: bool, fresh: bool) -> Site:
            return stack.enter_context(serving(tmp_path_factory.mktemp("golden"), words, pushes))

        def site(scenario: Scenario) -> Site:
            words, name = scenario["server_flags"], scenario["name"]
            own = tuple(words[4:] if "-tls=false" in words else words[8:])
            own = tuple(word for word in own if word not in ("-server-url", "<server-url>"))
            return start(own, name.startswith(WITH_PUSHES), name == "device-list-life-cycle")

        yield site


class Play:
    """One scenario in front of a server."""

    def __init__(self, scenario: Scenario, site: Site) -> None:
        self.scenario, self.site = scenario, site
        encoded = base64.b64encode(site.certificate).decode()
        url = "https://mdm.example.com"
        self.known = Known(
            {
                "<server-url>": url,
                "<dm-origin>": site.service.origin,
                "<base64:tls-cert-file>": encoded,
            }
        )
        self.identity = cache(self._identity)
        site.upstream = scenario.get("dm_upstream", {})

    def _identity(self, name: str) -> DeviceIdentity:
        what = self.scenario["identities"][name]
        named_after = what.split()[-1] if "same CN" in what else name
        common_name = f"{self.scenario['name']} {named_after}"
        if what.startswith("self-signed"):
            now = datetime.now(UTC)
            return DeviceIdentity(
                key(), load_certificate(self_signed(key(), common_name, 5, now - DAY, now + DAY))
            )
        reply, _ = self.site.request_certificate(common_name, "micromdm", "sha256", "aes256-cbc")
        assert reply.certificate is not None
        return DeviceIdentity(key(), load_certificate(reply.certificate))

    def signature(self, mark: str, body: bytes) -> str:
        """The header that a mark like `<sign:A over ...>` describes."""
        found = re.fullmatch(r"<sign:(\w+)(.*)>", mark, re.DOTALL)
        if found is None:
            return mark
        who, how = self.identity(found[1]), found[2].strip(" ,")
        if over := {'over body+"\\n"': body + b"\n", "over body without the final space": body[:-1]}.get(how):
            body = over
        moved = re.fullmatch(r"signing-time=now([+-]\d+)(min|d)", how)
        unit = {"min": timedelta(minutes=1), "d": DAY}
        moment = datetime.now(UTC) + (int(moved[1]) * unit[moved[2]] if moved else timedelta(0))
        if not moved and who.certificate.not_after <= moment:  # it has only just ended
            moment += timedelta(seconds=2)
        if how == "no-signing-time":
            signed = sign_detached(body, who.key, who.certificate)
        else:
            signed = sign_detached(body, who.key, who.certificate, signing_time=moment)
        text = base64.b64encode(signed).decode()
        if how == "last base64 character(s) removed":
            return text.rstrip("=") if text.endswith("=") else text[:-1]
        if how == "base64=urlsafe":
            return text.replace("+", "-").replace("/", "_")
        if how == "base64=spaces-every-76":
            return " ".join(text[at : at + 76] for at in range(0, len(text), 76))
        return text

    def run(self) -> None:
        faults = []
        for number, step in enumerate(self.scenario["steps"]):
            what = f"step {number} {step['request']['method']} {step['request']['path']}"
            faults += [f"{what}: {one}" for one in self.step(number, step) if one]
        assert not faults, "\n".join(faults)

    def step(self, number: int, step: Step) -> list[str]:
        request = step["request"]
        if request.get("body", "").startswith("<scep:PKCSReq"):
            return [self.scep(request["body"], step["response"]["body"])]
        body, headers = golden_device.body_of(request, self.known), dict(request["headers"])
        if "Authorization" in headers:
            headers |= AUTH
        if "Mdm-Signature" in headers:
            headers["Mdm-Signature"] = self.signature(headers["Mdm-Signature"], body)
        self.known["<base64:request-body>"] = base64.b64encode(body).decode()
        asked, pushed = len(self.site.service.got), len(self.site.apns.pushes)
        answer = self.site.ask(request["method"], self.known.fill(request["path"]), body, **headers)
        told = (answer.status, answer.headers, answer.body)
        return [
            golden_device.fault(self.scenario, number, self.known, told),
            self.events(number),
            self.upstream(step, asked),
            self.pushes(step, pushed),
        ]

    def events(self, number: int) -> str:
        wanted = golden_device.events_of(self.scenario, number)
        got = self.site.events(len(wanted))
        if len(got) != len(wanted):
            return f"events {got}, not {wanted}"
        faults = (golden_device.event_fault(*pair, self.known) for pair in zip(wanted, got, strict=True))
        return next(filter(None, faults), "")

    def upstream(self, step: Step, asked: int) -> str:
        wanted, got = step.get("dm_request", ()), self.site.service.got[asked:]
        if self.scenario["kind"] != "contract":
            outside = [one.path for one in got if not one.path.startswith("/ddm/")]
            return f"asked outside: {outside}" if outside else ""
        have = [(one.method, one.path, one.body.decode(), one.headers.get("x-enrollment-id")) for one in got]
        want = [
            (one["method"], one["path"], one["body"], one["headers"]["X-Enrollment-Id"]) for one in wanted
        ]
        types = [one.headers.get("content-type") for one in got if one.method == "PUT"]
        return "" if want == have and set(types) <= {"application/json"} else f"asked {have}, not {want}"

    def pushes(self, step: Step, before: int) -> str:
        wanted = step.get("apns", ())
        got = self.site.apns.wait_for(before + len(wanted))[before:]
        have = [
            (one.headers[":path"], json.loads(one.body), one.headers.get("apns-expiration")) for one in got
        ]
        want = [
            (one["path"], json.loads(one["body"]), one["headers"].get("apns-expiration")) for one in wanted
        ]
        same = all(w[:2] == h[:2] and w[2] in (None, h[2]) for w, h in zip(want, have, strict=False))
        return "" if len(want) == len(have) and same else f"pushed {have}, not {want}"

    def scep(self, label: str, expected: str) -> str:
        options = dict(re.findall(r"(\w+)=([\w-]+)", label))
        digest, cipher = cast(Digest, options["digest"]), cast(Cipher, options["cipher"])
        reply, answer = self.site.request_certificate(options["cn"], options["challenge"], digest, cipher)
        wanted = dict(re.findall(r"(\w+)=([\w-]+)", expected))
        if answer.headers["content-type"] != "application/x-pki-message":
            return answer.headers["content-type"]
        if wanted["pkiStatus"] != "0":
            return "" if reply.status is PkiStatus.FAILURE else "issued"
        return "" if reply.certificate and reply.cipher == wanted["cipher"] else f"{reply}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[one["name"] for one in SCENARIOS])
def test_recorded_scenario(site_of: Callable[[Scenario], Site], scenario: Scenario) -> None:
    Play(scenario, site_of(scenario)).run()


def test_what_is_answered_otherwise_and_left_out_is_recorded() -> None:
    every = {one["name"] for one in json.loads(golden_device.FILE.read_text())}
    assert {*golden_device.LEFT_OUT, *golden_device.OTHERWISE} <= every


def test_the_judge_takes_no_other_answer() -> None:
    for scenario in SCENARIOS:
        for number, step in enumerate(scenario["steps"]):
            expected = step["response"]
            headers = {name.lower(): value for name, value in expected["headers"].items()}
            known = Known({"<base64:request-body>": ""})
            for status, body in ((299, expected["body"]), (expected["status"], "other")):
                told = (status, headers, body.encode())
                refused = (expected["status"] >= 400 and expected["body"]) or expected.get("body_encoding")
                if status == 299 or not refused:
                    assert golden_device.fault(scenario, number, known, told), (scenario["name"], number)
