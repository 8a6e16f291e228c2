"""Automated enrollment with the real server: from the token file to a fleet with its profile."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from micromdm_py.protocol.dep.documents import StoredToken
from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN
from micromdm_py.simulator.depserver import DepServer
from tests.examples.running import serving
from tests.fakes.dep import token_upload


@pytest.fixture
def apple() -> Iterator[DepServer]:
    server = DepServer(("127.0.0.1", 0), 3, now=lambda: datetime.now(UTC), log=lambda _line: None)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.close()
    thread.join()


def eventually(http: httpx.Client, path: str, holds: str) -> Any:
    """Ask again until the answer holds a text."""
    pause = threading.Event()
    for _ in range(400):
        answer = http.get(path)
        if holds in answer.text:
            return answer.json()
        pause.wait(0.05)
    raise AssertionError(answer.text)


def test_from_the_token_file_to_assigned_devices(apple: DepServer, tmp_path: Path) -> None:
    with serving(tmp_path / "store", "-dep-url", apple.url) as server, server.api() as http:
        public = base64.b64decode(http.get("/v1/dep-tokens").json()["public_key"])
        token = json.dumps(StoredToken(SIMULATOR_TOKEN).fields())
        text = f"Content-Type: text/plain\n\n-----BEGIN MESSAGE-----{token}-----END MESSAGE-----\n"
        body = token_upload(public, text)
        assert http.put("/v1/dep-tokens?name=school", content=body).status_code == 200
        listed = http.post("/v1/devices", json={}).json()["devices"]
        assert [one["dep_profile_status"] for one in listed] == ["empty"] * 3

        profile = {"profile_name": "x", "url": "https://mdm.example.com/mdm/enroll"}
        uuid = http.put("/v1/dep/profiles?name=school", json=profile).json()["profile_uuid"]
        rule = {"filter": "*", "profile_uuid": uuid}
        assert http.post("/v1/dep/autoassigners?name=school", json=rule).json() == {}
        shown = eventually(http, "/v1/dep/devices/SIM000000003", '"last_result": "SUCCESS"')
        assert (shown["profile_uuid"], shown["token"]) == (uuid, "school")
        assert {facts["profile_uuid"] for facts in apple.service.devices.values()} == {uuid}

        apple.answer(
            "POST", "/simulator", {}, b'{"add": 1, "fail": {"path": "/devices/sync", "status": 429}}'
        )
        assert http.post("/v1/dep/syncnow").content == b""
        status = eventually(http, "/v1/dep/status", "TOO_MANY_REQUESTS")["tokens"][0]
        assert status["error"] == "429 TOO_MANY_REQUESTS"
        assert http.get("/v1/dep/account").status_code == 503  # there is no default token
