"""Scripts of ``examples/`` that call the API, as a user runs them; and calls as others make them."""

import base64
import json
import os
import plistlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.running import API_KEY, EXAMPLES, Server
from tests.fakes.packages import package

Commands = list[dict[str, object]]


def run(server: Server, *words: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [str(word) for word in words],
        env={
            **os.environ,
            "SERVER_URL": server.url,
            "API_TOKEN": API_KEY,
            "CURL_OPTS": "--noproxy 127.0.0.1",
        },
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def udid() -> str:
    return str(uuid.uuid4()).upper()


def waiting(server: Server, udid: str) -> Iterator[dict[str, object]]:
    with server.api() as api:
        found = api.get(f"/v1/commands/{udid}").raise_for_status().json()
    for one in found.get("commands", []):
        yield plistlib.loads(base64.b64decode(one["payload"]))["Command"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ([sys.executable, EXAMPLES / "queue_command.py"], "DeviceInformation"),
        ([EXAMPLES / "queue_command.sh"], "SecurityInfo"),
    ],
)
def test_example_queues_a_json_and_a_raw_command(
    server: Server, udid: str, words: list[str | Path], first: str
) -> None:
    status, out, err = run(server, *words, udid)
    assert (status, err) == (0, "")
    assert [command["RequestType"] for command in waiting(server, udid)] == [first, "ProfileList"]
    assert "2 waiting" in out or "profile-list-" in out


@pytest.mark.parametrize("name", ["queue_command.py", "queue_command.sh"])
def test_example_without_udid_says_how_it_is_called(server: Server, name: str) -> None:
    words = [sys.executable] if name.endswith(".py") else []
    status, _, err = run(server, *words, EXAMPLES / name)
    assert status != 0 and f"usage: {name} UDID" in err


def test_scripts_queue_inspect_and_clear(server: Server, udid: str, tmp_path: Path) -> None:
    api = EXAMPLES / "api"
    body = plistlib.dumps({"CommandUUID": "one", "Command": {"RequestType": "ProfileList"}})
    (tmp_path / "command.plist").write_bytes(body)
    for file, stdin in ((str(tmp_path / "command.plist"), b""), ("-", body)):
        status, out, err = run(server, api / "raw_command", udid, file, stdin=stdin)
        assert (status, err) == (0, "")
        assert base64.b64decode(json.loads(out)["payload"]["payload"]) == body
    status, out, _ = run(server, api / "inspect_queue", udid)
    assert status == 0 and [one["uuid"] for one in json.loads(out)["commands"]] == ["one", "one"]
    assert run(server, api / "clear_queue", udid) == (0, "{}\n", "")
    assert run(server, api / "inspect_queue", udid) == (0, "{}\n", "")


def test_scripts_store_a_profile_and_give_a_blueprint(server: Server, udid: str, tmp_path: Path) -> None:
    api, name = EXAMPLES / "api", f"com.example.{udid}"
    profile = plistlib.dumps({"PayloadIdentifier": name, "PayloadContent": [bytes(1000)]})
    (tmp_path / "own.mobileconfig").write_bytes(profile)
    assert run(server, api / "store_profile", name, tmp_path / "own.mobileconfig") == (0, "{}\n", "")
    blueprint = {"uuid": udid, "name": udid, "profile_ids": [name]}
    with server.api() as http:
        http.put("/v1/blueprints", json={"blueprint": blueprint}).raise_for_status()
    status, out, err = run(server, api / "give_blueprint", udid, udid)
    assert (status, err) == (0, "") and list(json.loads(out)["udids"]) == [udid]
    assert list(waiting(server, udid)) == [{"RequestType": "InstallProfile", "Payload": profile}]


def test_a_package_is_uploaded_and_queued(server: Server, udid: str, tmp_path: Path) -> None:
    script, file = EXAMPLES / "api/install_package", tmp_path / "tool 1.pkg"
    file.write_bytes(package())
    status, _, err = run(server, script, file, udid)
    assert (status, err) == (0, "")
    url = "https://mdm.example.com/repo/tool%201.plist"
    assert list(waiting(server, udid)) == [{"RequestType": "InstallApplication", "ManifestURL": url}]
    file.write_bytes(package(signed=False))
    status, out, _ = run(server, script, file, udid)
    assert (status, out) == (1, "")


def test_push_script_shows_why_there_is_none(server: Server, udid: str) -> None:
    status, out, _ = run(server, EXAMPLES / "api/send_push_notification", udid)
    assert status == 22 and "not found: PushInfo" in json.loads(out)["error"]


@pytest.mark.parametrize(
    "usage",
    [
        "send_push_notification UDID",
        "raw_command UDID",
        "clear_queue UDID",
        "inspect_queue UDID",
        "store_profile IDENTIFIER FILE",
        "give_blueprint NAME UDID",
        "install_package FILE UDID",
    ],
)
def test_script_without_arguments_says_how_it_is_called(server: Server, usage: str) -> None:
    status, out, err = run(server, EXAMPLES / "api" / usage.split()[0])
    assert (status, out) == (2, "") and err.startswith(f"usage: {usage}")


def curl(server: Server, *words: str, stdin: bytes = b"") -> tuple[int, str]:
    """Call as the shell scripts of MicroMDM do; returns status and body."""
    auth = base64.b64encode(f"micromdm:{API_KEY}".encode()).decode()
    always = [
        "--silent",
        "--noproxy",
        "*",
        "--header",
        f"Authorization: Basic {auth}",
        "--write-out",
        "%{http_code}",
    ]
    _, out, _ = run(server, "curl", *always, *words, stdin=stdin)
    return int(out[-3:]), out[:-3]


def test_json_with_the_content_type_of_a_form_is_queued(server: Server, udid: str) -> None:
    body = json.dumps({"udid": udid, "request_type": "DeviceLock", "pin": "123456"}).encode()
    status, out = curl(server, f"{server.url}/v1/commands", "-d@-", stdin=body)
    assert status == 201 and json.loads(out)["payload"]["command"]["pin"] == "123456"
    assert [command["PIN"] for command in waiting(server, udid)] == ["123456"]


def test_property_list_without_its_line_ends_is_queued_with_the_content_type_of_a_form(
    server: Server, udid: str, tmp_path: Path
) -> None:
    body = plistlib.dumps({"CommandUUID": "form", "Command": {"RequestType": "ProfileList"}})
    (tmp_path / "command.plist").write_bytes(body)
    words = [f"{server.url}/v1/commands/{udid}", "--data", f"@{tmp_path / 'command.plist'}"]
    status, out = curl(server, *words)
    assert status == 201
    assert base64.b64decode(json.loads(out)["payload"]["payload"]) == body.replace(b"\n", b"")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_chunked_body_is_read(server: Server, udid: str, method: str) -> None:
    words = ["-X", method, "-H", "Transfer-Encoding: chunked", "-d@-", f"{server.url}/v1/devices"]
    body = json.dumps({"filter_udid": [udid], "Opts": {"udids": [udid]}}).encode()
    status, out = curl(server, *words, stdin=body)
    answers = {"POST": (200, {"devices": None}), "DELETE": (404, {"error": f"not found: Device key {udid}"})}
    assert (status, json.loads(out)) == answers[method]


def test_large_chunked_command_is_queued(server: Server, udid: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    body = plistlib.dumps(
        {"CommandUUID": "big", "Command": {"RequestType": "InstallProfile", "Payload": data}}
    )
    (tmp_path / "command.plist").write_bytes(body)
    upload = ["-T", str(tmp_path / "command.plist"), "-H", "Transfer-Encoding: chunked"]
    status, _ = curl(server, *upload, "-X", "PUT", f"{server.url}/v1/commands/{udid}")
    assert status == 201
    assert [command["Payload"] for command in waiting(server, udid)] == [data]
