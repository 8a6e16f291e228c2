"""The recorded requests of the administrators' API, sent to the real server as it is started by users.

A server serves many cases: what a case may meet is removed before it begins. Those that upload a push
certificate, which cannot be removed, have one of their own.
"""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from micromdm_py.protocol.cms import sign_detached
from micromdm_py.simulator.device import DeviceIdentity
from micromdm_py.simulator.enrol import Enroller, KeyPool
from micromdm_py.simulator.fleet import facts_of
from tests import golden_api
from tests.examples.running import Server, serving
from tests.fakes.apns_server import Answer as ApnsAnswer
from tests.fakes.apns_server import ApnsServer, Push
from tests.fakes.dep import token_upload
from tests.fakes.recorded_dep import TOKEN_TEXT, RecordedDep
from tests.golden_api import A, B, Case
from tests.server.harness import Answer, Client

CASES = list(golden_api.cases())
KEYS = KeyPool(1)
AUTH = {"Authorization": "Basic " + base64.b64encode(b"micromdm:secret").decode()}
REFUSED = {
    "bb" * 32: ApnsAnswer(410, b'{"reason":"Unregistered","timestamp":1700000000000}'),
    "cc" * 32: ApnsAnswer(400, b'{"reason":"BadDeviceToken"}'),
}


LIBRARY = (
    ("/v1/blueprints", "blueprints", "names", "name"),
    ("/v1/profiles", "profiles", "ids", "Identifier"),
    ("/v1/users", "users", "uuids", "uuid"),
)
"""What administrators keep: path, key of the list, key to remove by, and where its values are found."""


class Site:
    """A server and the devices that have enrolled with it."""

    def __init__(self, server: Server, repo: Path) -> None:
        self.server, self._repo = server, repo
        self.port = int(server.url.rpartition(":")[2])
        self.identity = cache(self._identity)

    def _identity(self, name: str) -> DeviceIdentity:
        async def enrol() -> DeviceIdentity:
            async with self.server.devices() as http:
                enroller = Enroller(http, self.server.url, keys=KEYS)
                return await enroller.identity(await enroller.profile(), facts_of(ord(name[0]), seed=1))

        return asyncio.run(enrol())

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str], chunked: bool) -> Answer:
        client = Client(self.port)
        try:
            if not chunked:
                return client.ask(method, path, body, **headers)
            fields = {"Host": "localhost", "Transfer-Encoding": "chunked", **headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            pieces = [body[i : i + 100] for i in range(0, len(body), 100)]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            client.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + chunks + b"0\r\n\r\n")
            return client.answer(to=method)
        finally:
            client.close()

    def send(self, request: Any, chunked: bool = False) -> Answer:
        body, headers = golden_api.body_of(request), dict(request["headers"])
        if body == b"<dep-token>":
            shown = json.loads(self.ask("GET", "/v1/dep-tokens", b"", AUTH, False).body)
            body = token_upload(base64.b64decode(shown["public_key"]), TOKEN_TEXT)
        if found := re.fullmatch(r"<signature:(\w+)>", headers.get("Mdm-Signature", "")):
            identity = self.identity(found[1])
            signature = sign_detached(body, identity.key, identity.certificate, form="apple")
            headers["Mdm-Signature"] = base64.b64encode(signature).decode()
        return self.ask(request["method"], request["path"], body, headers, chunked)

    def clean(self) -> None:
        """Remove what earlier cases have left."""
        for file in self._repo.iterdir():
            file.unlink()
        for path, kept, names, key in LIBRARY:
            answer = self.ask("POST", path, b"{}", AUTH, False)
            found = (
                [one[key] for one in json.loads(answer.body).get(kept) or []] if answer.status == 200 else []
            )
            self.ask("DELETE", path, json.dumps({names: found}).encode(), AUTH, False)
        self.ask("DELETE", "/v1/dep-tokens", b"", AUTH, False)
        self.ask("DELETE", "/v1/dep/autoassigners", b'{"filter": "*"}', AUTH, False)
        for udid in (A, B):
            self.ask("DELETE", "/v1/devices?purge=true", b'{"udids": ["%s"]}' % udid.encode(), AUTH, False)
        for udid in (A, B, "USER-1", "USER%20ONE", "NOPE"):
            self.ask("DELETE", f"/v1/commands/{udid}", b"", AUTH, False)
            self.ask("POST", f"/v1/devices/{udid}/unblock", b"", AUTH, False)


@pytest.fixture(scope="session")
def apns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApnsServer]:
    def answer(push: Push) -> ApnsAnswer:
        return REFUSED.get(push.token, ApnsAnswer())

    with ApnsServer(tmp_path_factory.mktemp("apns"), answer) as server:
        yield server


@pytest.fixture(scope="session")
def dep() -> Iterator[RecordedDep]:
    with RecordedDep() as service:
        yield service


@pytest.fixture(scope="session")
def site_of(
    apns: ApnsServer, dep: RecordedDep, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Site]]:
    """The server for a case, started when the first one needs it."""
    with contextlib.ExitStack() as stack:

        @cache
        def start(key: str, uploads: bool, flags: tuple[str, ...]) -> Site:
            folder: Path = tmp_path_factory.mktemp("golden") / "store"
            repo = folder.parent / "repo"
            repo.mkdir()
            pushes = ("-apns-url", apns.url, "-apns-ca-file", apns.ca_file)
            words = [flag.replace("<repo>", str(repo)) for flag in flags]
            return Site(stack.enter_context(serving(folder, "-api-key", key, *pushes, *words)), repo)

        def site(case: Case) -> Site:
            uploads = any(
                one["path"] == "/v1/config/certificate" for one in case["state"] + [case["request"]]
            )
            bare = case["name"] in ("config/certificate/get-unset", "config/certificate/put-empty")
            key = "" if case.get("no_api_key") else "secret"
            flags = tuple(flag.replace("<dep-simulator>", dep.url) for flag in case["flags"])
            return start(key, uploads and not bare, flags)

        yield site


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_recorded_request(site_of: Callable[[Case], Site], case: Case, chunked: bool) -> None:
    site = site_of(case)
    site.clean()
    for request in case["state"]:
        assert site.send(request).status in (200, 201)
    answer = site.send(case["request"], chunked)
    assert golden_api.fault(case, answer.status, answer.headers, answer.body) == ""
    for number, after in enumerate(case.get("after", ())):
        answer = site.send(after["request"])
        assert golden_api.fault(case, answer.status, answer.headers, answer.body, number) == ""


def judged(case: Case, status: int, body: bytes) -> str:
    headers = {name.lower(): value for name, value in case["response"].get("headers", {}).items()}
    return golden_api.fault(case, status, headers, body)


def test_the_judge_takes_no_other_status() -> None:
    for case in CASES:
        recorded = case["response"]
        for status in (299, 418):
            assert judged(case, status, recorded.get("body", "").encode()), case["name"]


def test_the_judge_takes_no_other_document() -> None:
    judges = [
        case for case in CASES if case["match"] == "exact" and "status-only" not in case.get("compare", [])
    ]
    for case in judges:
        recorded = case["response"]
        if '"' not in recorded["body"] or "fields-only" in case.get("compare", []):
            continue
        for body in (
            "{}",
            recorded["body"].replace('": "', '": "x', 1),
            recorded["body"][:-3] + ', "x": 1}\n',
        ):
            if body != recorded["body"] and not (body == "{}" and '"devices": null' in recorded["body"]):
                assert judged(case, recorded["status"], body.encode()), (case["name"], body)
