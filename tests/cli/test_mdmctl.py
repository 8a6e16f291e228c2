"""``mdmctl`` against a real server: what is printed, what is stored, and the one line of each error."""

import asyncio
import base64
import json
import plistlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.cli.go_flags import GoCommand
from micromdm_py.cli.mdmctl.api import Unreachable
from micromdm_py.cli.mdmctl.main import mdmctl
from micromdm_py.cli.mdmctl.output import go_time
from micromdm_py.cli.mdmctl.signing import load_key, new_key, pem_key
from micromdm_py.cli.mdmctl.watch import follow_feed
from micromdm_py.errors import StartupError
from micromdm_py.protocol.signature import verify_attached
from tests.examples.running import API_KEY, Server, enrol, serving
from tests.fakes import push_pair

Run = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]
PROFILE = plistlib.dumps({"PayloadIdentifier": "com.example.p1", "PayloadType": "Configuration"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mdmctl")
    (folder / "repo").mkdir()
    with serving(folder / "store", "-filerepo", str(folder / "repo")) as running:
        yield running


@pytest.fixture(scope="module")
def udid(server: Server) -> str:
    async def one() -> str:
        async with server.devices() as http:
            device, _ = await enrol(server, http)
            return device.facts.udid

    return asyncio.run(one())


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Run:
    home = tmp_path / "home"

    def run(*words: str, code: int = 0, text: bytes | None = None) -> Result:
        env = {"MDMCTL_CONFIG_PATH": str(home)}
        result = CliRunner(env=env).invoke(mdmctl, words, input=text, prog_name="mdmctl")
        assert result.exit_code == code, result.output
        return result

    run("config", "set", "-name", "test", "-api-token", API_KEY, "-server-url", server.url)
    return run


def write(path: Path, document: object) -> str:
    path.write_text(json.dumps(document))
    return str(path)


def leaves(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, member in command.commands.items():
            yield from leaves(member, (*path, name))
    else:
        yield path, command


# --- configuration ---


def test_configuration_is_kept_for_the_owner_alone(run: Run, tmp_path: Path, server: Server) -> None:
    file = tmp_path / "home" / "servers.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_bytes()) == {
        "active": "test",
        "servers": {"test": {"api_token": API_KEY, "server_url": server.url, "skip_verify": False}},
    }
    assert json.loads(run("config", "print").output)["active"] == "test"


def test_servers_are_switched_and_old_configurations_taken_over(run: Run, tmp_path: Path) -> None:
    run("config", "set", "-name", "other", "-api-token", "x", "-server-url", "mdm.example.com")
    found = json.loads(run("config", "print").output)
    assert (found["active"], found["servers"]["other"]["server_url"]) == ("other", "https://mdm.example.com")
    assert "no server named" in run("config", "switch", "-name", "nobody", code=1).output
    run("config", "switch", "-name", "test")
    old = {"api_token": "old", "server_url": "https://old.example.com", "skip_verify": True}
    write(tmp_path / "home" / "default.json", old)
    run("config", "migrate", "-name", "older")
    assert json.loads(run("config", "print").output)["servers"]["older"] == old
    assert not (tmp_path / "home" / "default.json").exists()


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"servers": {"a": 1}, "active": "a"}', '{"active": "x"}']
)
def test_no_usable_configuration_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "servers.json").write_text(content)
    env = {"MDMCTL_CONFIG_PATH": str(tmp_path)}
    result = CliRunner(env=env).invoke(mdmctl, ["get", "devices"])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1


# --- what MicroMDM's mdmctl does ---


def test_devices_are_shown_as_a_table_and_as_json(run: Run, udid: str) -> None:
    lines = run("get", "devices").output.splitlines()
    assert lines[0].split() == ["UDID", "SerialNumber", "EnrollmentStatus", "LastSeen"]
    row = next(line for line in lines if udid in line).split()
    assert row[2] == "true" and row[-1] == "UTC"
    assert lines[0].index("SerialNumber") == lines[1].index(row[1])
    (one,) = [one for one in json.loads(run("get", "devices", "-o", "json").output) if one["udid"] == udid]
    assert udid not in run("get", "devices", "-serials", "NOPE").output
    assert udid in run("get", "devices", "-serials", f"NOPE,{one['serial_number']}").output
    assert "-o must be table or json" in run("get", "devices", "-o", "xml", code=1).output


def test_profiles_go_up_come_back_and_go(run: Run, tmp_path: Path) -> None:
    file, copy = tmp_path / "p1.mobileconfig", tmp_path / "copy.mobileconfig"
    file.write_bytes(PROFILE)
    assert (
        run("apply", "profiles", "-f", str(file)).output == f"applied profile id com.example.p1 from {file}\n"
    )
    assert f"com.example.p1  {len(PROFILE)}" in run("get", "profiles").output
    run("get", "profiles", "-id", "com.example.p1", "-f", str(copy))
    assert copy.read_bytes() == PROFILE
    assert "not found" in run("get", "profiles", "-id", "nope", code=1).output
    assert run("remove", "profiles", "-id", "com.example.p1").output == "removed profile(s): com.example.p1\n"
    assert "not found" in run("remove", "profiles", "-id", "com.example.p1", code=1).output
    assert "not a profile" in run("apply", "profiles", "-f", "-", text=b"garbage", code=1).output


def test_profile_is_signed_with_pem_files_and_with_p12(run: Run, tmp_path: Path) -> None:
    file, key, out = tmp_path / "p", tmp_path / "key.pem", tmp_path / "signed"
    file.write_bytes(PROFILE)
    key.write_bytes(push_pair.key_bytes(password=b"secret"))
    cert = tmp_path / "cert.pem"
    cert.write_bytes(push_pair.certificate().public_bytes(Encoding.PEM))
    flags = ["-sign", "-cert", str(cert), "-private-key", str(key)]
    run("apply", "profiles", "-f", str(file), *flags, "-password", "secret", "-out", str(out))
    assert verify_attached(out.read_bytes()).content == PROFILE
    wrong = run("apply", "profiles", "-f", str(file), *flags, "-password", "wrong", code=1)
    assert "the password is wrong" in wrong.output
    run("apply", "profiles", "-f", str(file), *flags, "-password", "secret")
    run("remove", "profiles", "-id", "com.example.p1")


def test_blueprints_go_up_come_back_and_go(run: Run, tmp_path: Path) -> None:
    template = json.loads(run("apply", "blueprints", "-template").output)
    file = write(tmp_path / "b.json", template)
    refused = run("apply", "blueprints", "-f", file, code=1).output
    assert refused == "Profile ID com.example.my.profile in Blueprint exampleName does not exist\n"
    blueprint = {**template, "profile_ids": []}
    run("apply", "blueprints", "-f", write(tmp_path / "b.json", blueprint))
    assert run("get", "blueprints").output.splitlines()[1].split()[-3:] == ["1", "0", "Enroll"]
    run("get", "blueprints", "-name", "exampleName", "-f", str(tmp_path / "copy.json"))
    assert json.loads((tmp_path / "copy.json").read_bytes())["uuid"] == template["uuid"]
    run("remove", "blueprints", "-name", "exampleName")
    assert "not found" in run("get", "blueprints", "-name", "exampleName", code=1).output
    lonely = {**blueprint, "user_uuids": [], "skip_primary_setup_account_creation": True}
    assert (
        "can only be true" in run("apply", "blueprints", "-f", write(tmp_path / "l", lonely), code=1).output
    )


def test_user_is_stored_with_a_hash_alone_and_written_back(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "user.json"
    file.write_text(run("apply", "users", "-template").output)
    assert "password argument" in run("apply", "users", "-f", str(file), code=1).output
    run("apply", "users", "-f", str(file), "-password", "hunter22")
    stored = json.loads(file.read_bytes())
    hashed = plistlib.loads(base64.b64decode(stored["password_hash"]))["SALTED-SHA512-PBKDF2"]
    assert len(hashed["salt"]) == 32 and "hunter22" not in file.read_text()
    assert stored["uuid"] in run("get", "users").output
    run("remove", "users", "-uuid", stored["uuid"])


def test_block_is_lifted_again(run: Run, udid: str) -> None:
    assert "blocked, but not woken" in run("apply", "block", "-udid", udid).output
    assert run("remove", "block", "-udid", udid).output == "success\n"
    assert "not found" in run("remove", "block", "-udid", udid, code=1).output
    assert "must be provided" in run("remove", "devices", code=1).output
    run("remove", "devices", "-serials", "NOPE", code=1)


def test_app_must_be_a_signed_package(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pkg").write_bytes(b"not a package at all, really none")
    assert "not an installer package" in run("apply", "app", "-pkg", str(tmp_path / "a.pkg"), code=1).output
    assert run("get", "apps").output.split() == ["Name", "ManifestURL"]
    assert "open" in run("apply", "app", "-pkg", str(tmp_path / "none.pkg"), code=1).output


def test_automated_enrollment_without_a_token_says_so(run: Run, tmp_path: Path) -> None:
    key, token = tmp_path / "key.pem", tmp_path / "token.json"
    shown = run("get", "dep-tokens", "-export-public-key", str(key), "-export-token", str(token)).output
    assert "Wrote DEP public key to" in shown and not token.exists()
    x509.load_pem_x509_certificate(key.read_bytes())
    assert "DEP" in run("get", "dep-account", code=1).output
    assert run("get", "dep-autoassigners").output.startswith("Filter")
    assert "must provide -uuid" in run("get", "dep-profiles", code=1).output
    assert "anchor_certs" in json.loads(run("apply", "dep-profiles", "-template").output)
    assert run("apply", "dep-tokens", "-import", str(key), code=1).output


# --- certificates ---


def test_requests_are_made_with_protected_keys(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subject = ["-email", "Admin@example.com", "-country", "de", "-password", "secret"]
    for command, name in (("vendor", "Vendor"), ("push", "Push")):
        told = run("mdmcert", command, *subject).output
        assert told.startswith("wrote ") and f"{name}CertificateRequest.csr" in told
        (key,) = (tmp_path / "mdm-certificates").glob(f"{name}*.key")
        assert key.stat().st_mode & 0o777 == 0o600 and b"ENCRYPTED" in key.read_bytes()
        (csr,) = (tmp_path / "mdm-certificates").glob(f"{name}*.csr")
        request = x509.load_pem_x509_csr(csr.read_bytes())
        assert request.is_signature_valid
        assert "admin@example.com" in request.subject.rfc4514_string()
        assert request.public_key() == load_key(str(key), "secret").public_key()
        assert "file already exists" in run("mdmcert", command, *subject, code=1).output
    assert "-password" in run("mdmcert", "push", "-email", "a@example.com", code=1).output
    assert "two letter" in run("mdmcert", "push", *subject, "-country", "deu", code=1).output


def test_push_certificate_is_uploaded(run: Run, tmp_path: Path) -> None:
    cert, key = tmp_path / "push.pem", tmp_path / "push.key"
    cert.write_bytes(push_pair.certificate().public_bytes(Encoding.PEM))
    key.write_bytes(pem_key(new_key(), "secret"))
    flags = ["-cert", str(cert), "-private-key", str(key), "-password", "secret"]
    assert "does not belong" in run("mdmcert", "upload", *flags, code=1).output
    assert "must provide -cert" in run("mdmcert", "upload", code=1).output
    assert "not a certificate" in run("mdmcert", "upload", "-cert", str(key), code=1).output
    good = tmp_path / "good.key"
    good.write_bytes(pem_key(push_pair.rsa_key(), "secret"))
    run("mdmcert", "upload", "-cert", str(cert), "-private-key", str(good), "-password", "secret")
    (one,) = json.loads(run("get", "certificates", "-o", "json").output)
    assert one["current"] is True
    header, row = (line.split() for line in run("get", "certificates").output.splitlines())
    assert header == ["Topic", "Ends", "Enrolled", "Current"]
    assert row == [one["topic"], one["not_after"][:10], str(one["enrolled"]), "yes"]


# --- more than MicroMDM's ---


def test_command_is_sent_shown_listed_and_cancelled(run: Run, udid: str) -> None:
    sent = run("commands", "send", "-udid", udid, "DeviceInformation", 'queries=["UDID"]').output.split()[-1]
    shown = run("commands", "show", "-udid", udid, "-id", sent).output
    assert "Pending" in shown and "accepted" in shown
    listed = json.loads(run("commands", "list", "-udid", udid, "-o", "json").output)
    assert (listed[0]["uuid"], listed[0]["request_type"]) == (sent, "DeviceInformation")
    assert sent in run("queue", "inspect", "-udid", udid).output
    assert "Pending" in run("commands", "wait", "-udid", udid, "-id", sent, "-timeout", "0", code=1).output
    run("commands", "cancel", "-udid", udid, "-id", listed[0]["id"])
    assert "Cancel" in run("commands", "wait", "-udid", udid, "-id", sent).output
    assert "Cancel" in run("commands", "cancel", "-udid", udid, "-id", sent, code=1).output
    assert "Pending" in run("commands", "send", "-udid", udid, "-wait", "1", "RestartDevice", code=1).output
    run("commands", "send", "-udid", udid, "DeviceLock", "pin=123456", "PhoneNumber=1", "command_uuid=lock")
    locking = json.loads(run("commands", "show", "-udid", udid, "-id", "lock", "-o", "json").output)
    assert (locking["command"]["PIN"], locking["command"]["PhoneNumber"]) == ("123456", "1")
    raw = plistlib.dumps({"CommandUUID": "raw-1", "Command": {"RequestType": "ProfileList"}})
    assert "raw-1" in run("commands", "send", "-udid", udid, "-raw", "-", text=raw).output
    run("queue", "clear", "-udid", udid)
    assert "raw-1" not in run("queue", "inspect", "-udid", udid).output
    assert "must provide" in run("commands", "send", "-udid", udid, code=1).output
    assert "is not KEY=VALUE" in run("commands", "send", "-udid", udid, "A", "b", code=1).output


def test_devices_are_searched_and_explained(run: Run, udid: str) -> None:
    assert udid in run("devices", "search", "-serial", "sim").output
    assert udid not in run("devices", "search", "-state", "blocked").output
    for flag, shown in (("-seen-after", True), ("-seen-before", False)):
        found = run("devices", "search", flag, "2026-01-01T00:00:00Z").output
        assert (udid in found) == shown
    assert json.loads(run("devices", "show", "-udid", udid).output)["enrollment_id"] == udid
    assert isinstance(json.loads(run("devices", "show", "-udid", udid, "-inventory").output), dict)
    assert "Last contact" in run("devices", "why", "-udid", udid).output
    assert "not found" in run("devices", "why", "-udid", "nobody", code=1).output
    assert run("push", "-udid", udid, code=1).output


def test_events_webhooks_tokens_and_audit(run: Run, udid: str) -> None:
    assert f"mdm.Authenticate {udid}" in run("events", "tail", "-follow=false").output
    first = run("events", "tail", "-follow=false", "-o", "json").output.splitlines()[0]
    assert json.loads(first)["topic"] == "mdm.Authenticate"
    assert run("webhooks", "list", "-o", "json").output == "[]\n"
    assert "no webhook receiver" in run("webhooks", "test", code=1).output
    secret = run("tokens", "create", "-name", "ci", "-permission", "mdm.event.get").output.strip()
    assert secret.startswith("mdm_") and secret not in run("tokens", "list").output
    run("tokens", "revoke", "-name", "ci")
    assert "UTC" in run("tokens", "list").output.splitlines()[1]
    assert "server.token.revoke" in run("audit", "-limit", "1").output


def feed(*pages: dict[str, object] | Exception) -> tuple[Callable[..., object], list[object]]:
    """A feed that answers one page after the other, and the cursors it was asked for."""
    left, cursors = list(pages), []

    def fetch(*, query: dict[str, object]) -> object:
        cursors.append(query["after"])
        page = left.pop(0)
        if isinstance(page, Exception):
            raise page
        return page

    return fetch, cursors


def test_a_tail_waits_for_a_server_that_restarts(capsys: pytest.CaptureFixture[str]) -> None:
    away = Unreachable("connection refused")
    first, second = {"events": [{"n": 1}], "next": "1"}, {"events": [{"n": 2}], "next": "2"}
    fetch, cursors = feed(first, away, away, second, StartupError("gone"))
    pauses: list[None] = []
    events = follow_feed(fetch, 0, True, lambda: pauses.append(None))
    assert [next(events), next(events)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(StartupError, match="gone"):
        next(events)
    assert cursors == [0, "1", "1", "1", "2"] and len(pauses) == 2
    assert capsys.readouterr().err == "connection refused; trying again until it answers\n"


@pytest.mark.parametrize("follow", [True, False])
def test_a_tail_ends_when_the_server_is_not_there_to_begin_with(follow: bool) -> None:
    fetch, _ = feed(Unreachable("connection refused"))
    with pytest.raises(Unreachable):
        list(follow_feed(fetch, 0, follow, lambda: None))


# --- what goes wrong ---


def test_server_that_is_not_there_and_wrong_key_are_one_line(run: Run, server: Server) -> None:
    run("config", "set", "-name", "gone", "-api-token", "x", "-server-url", "http://127.0.0.1:9")
    gone = "POST http://127.0.0.1:9/v1/devices: Connection refused\n"
    assert run("get", "devices", code=1).output == gone
    run("config", "set", "-name", "wrong", "-api-token", "wrong", "-server-url", server.url)
    refused = "127.0.0.1 refuses the API token: see mdmctl config print\n"
    assert run("get", "devices", code=1).output == refused
    run("config", "set", "-name", "path", "-api-token", API_KEY, "-server-url", f"{server.url}/nowhere")
    assert run("get", "devices", code=1).output == "the server answered 404 Not Found\n"


def test_times_are_as_go_prints_them() -> None:
    assert go_time("2026-11-23T08:00:00.059Z") == "2026-11-23 08:00:00.059 +0000 UTC"
    assert go_time("0001-01-01T00:00:00Z") == "0001-01-01 00:00:00 +0000 UTC"
    assert go_time("never") == "never"


@pytest.mark.parametrize(("path", "command"), list(leaves(mdmctl)), ids=lambda part: str(part)[:40])
def test_every_command_is_in_the_manual_with_its_flags(path: tuple[str, ...], command: click.Command) -> None:
    heading = " ".join(path)
    parts = (ROOT / "docs" / "mdmctl.rst").read_text().split(f"\n{heading}\n{'~' * len(heading)}\n")
    assert len(parts) == 2, f"docs/mdmctl.rst has no heading {heading!r}"
    section = parts[1].partition("\n~~~")[0]
    if isinstance(command, GoCommand):
        for flag in set(command.options) - {"o"}:
            assert f"``-{flag}``" in section, (path, flag)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["config", "set", "-name", "x", "-api-token", "x", "-server-url", "two words"],
            "bad input: server-url https://two words: invalid character in URL\n",
        ),
        (["apply", "profiles", "-f", "/dev/null", "-sign"], "bad input: -sign needs -cert\n"),
    ],
)
def test_bad_input_is_one_line(run: Run, words: list[str], line: str) -> None:
    assert run(*words, code=1).output == line
