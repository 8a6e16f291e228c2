"""The parts put together, in this process: what is made before the server runs, and what the flags switch."""

import base64
import io
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import falcon.testing
import lmdb
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.compose import build_app, prepare, store_path
from micromdm_py.config import Config
from micromdm_py.errors import StartupError
from micromdm_py.storage.lmdb.store import open_store
from tests.fakes.push_pair import certificate
from tests.http.bench import API_KEY, basic

MAP_BYTES = 1 << 30
PROXY = "10.0.0.7"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    folder = tmp_path / "new" / "folder"
    return Config(
        server_url="https://mdm.example.com", config_path=folder, tls=False, api_key=API_KEY, store_size_gib=1
    )


def authority(config: Config) -> bytes:
    store = open_store(store_path(config), map_size_bytes=MAP_BYTES)
    try:
        found = store.authority()
        assert found
        return found[0]
    finally:
        store.close()


def asked(
    config: Config, path: str, method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    """Prepare the store, build the application, send one request with the API key."""
    prepare(config)
    app = build_app(config)
    try:
        environ = falcon.testing.create_environ(path=path, method=method, remote_addr=PROXY)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        environ["HTTP_AUTHORIZATION"] = basic()
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        started = falcon.testing.StartResponseMock()
        pieces = app(environ, started)
        answer = b"".join(pieces)
        if close := getattr(pieces, "close", None):
            close()
        return int(str(started.status).split()[0]), answer
    finally:
        app.close()


def test_the_folder_of_a_new_store_is_for_its_owner_only(config: Config) -> None:
    prepare(config)
    assert stat.S_IMODE(config.config_path.stat().st_mode) == 0o700
    assert stat.S_IMODE(store_path(config).stat().st_mode) == 0o700
    modes = {stat.S_IMODE(file.stat().st_mode) for file in store_path(config).iterdir()}
    assert modes == {0o600}


def test_the_authority_is_made_once(config: Config) -> None:
    prepare(config)
    first = authority(config)
    prepare(config)
    assert authority(config) == first


@pytest.mark.parametrize("row", [b"", b"[", b'["AA==", "AA=="]', b"[1, 2]", b"\xff\xfe", b'["A"]'])
def test_a_store_whose_bytes_have_changed_is_one_line(config: Config, row: bytes) -> None:
    prepare(config)
    with lmdb.open(str(store_path(config)), max_dbs=64) as env, env.begin(write=True) as txn:
        txn.put(b"authority", row, db=env.open_db(b"meta", txn=txn))
    with pytest.raises(StartupError, match=r"damaged: .*; restore a backup") as caught:
        prepare(config)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_line(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StartupError, match="creating config directory"):
        prepare(replace(config, config_path=tmp_path / "file" / "below"))


@pytest.mark.parametrize("flag", ["device_ca_file", "apns_ca_file"])
def test_authorities_that_are_none_are_one_line(config: Config, tmp_path: Path, flag: str) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    name = "-" + flag.replace("_", "-")
    with pytest.raises(StartupError, match=f"{name}: .*ca.pem holds no PEM certificates"):
        prepare(replace(config, **{flag: str(tmp_path / "ca.pem")}))  # type: ignore[arg-type]
    with pytest.raises(StartupError, match=f"{name}: open .*: no such file"):
        prepare(replace(config, **{flag: str(tmp_path / "missing.pem")}))  # type: ignore[arg-type]


@pytest.mark.parametrize("tls", [True, False])
def test_tls_asks_for_certificates_of_our_authority_only_when_told(config: Config, tls: bool) -> None:
    assert prepare(replace(config, tls=tls)) is None
    pem = prepare(replace(config, tls=tls, tls_client_auth=True))
    assert (pem is not None) == tls
    if pem:
        assert x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) == authority(config)


def test_a_receiver_s_place_is_set_before_any_event(config: Config) -> None:
    url = "https://hook.example.com/events"
    prepare(replace(config, command_webhook_url=(url,)))
    store = open_store(store_path(config), map_size_bytes=MAP_BYTES)
    try:
        assert store.receiver(url).cursor == 0
    finally:
        store.close()


def test_the_application_works_with_its_store(config: Config) -> None:
    status, body = asked(config, "/v1/devices", "POST", b"{}")
    assert (status, body) == (200, b'{\n  "devices": null\n}\n')


def test_the_file_repository_hands_out_no_state_of_the_server(config: Config, tmp_path: Path) -> None:
    key = tmp_path / "new" / "server.key"
    shared = replace(config, filerepo=str(tmp_path / "new"), tls_key=str(key))
    prepare(config)
    key.write_bytes(b"private")
    (config.config_path / "tool.pkg").write_bytes(b"package")
    (config.config_path / "micromdm.db").write_bytes(b"old")
    assert asked(shared, "/repo/folder/tool.pkg") == (200, b"package")
    for name in ("folder/micromdm.lmdb/data.mdb", "folder/micromdm.db", "server.key"):
        assert (tmp_path / "new" / name).exists()
        assert asked(shared, f"/repo/{name}")[0] == 404


def test_uploads_that_a_killed_server_left_are_swept_away_at_start(config: Config, tmp_path: Path) -> None:
    (tmp_path / ".upload-1").write_bytes(b"half")
    prepare(replace(config, filerepo=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_store_is_handed_out_as_a_file(config: Config) -> None:
    status, body = asked(config, "/boltbackup")
    assert status == 200 and len(body) > 4096
    assert not list(config.config_path.glob("tmp*"))


def test_without_an_api_key_nothing_is_administered(config: Config) -> None:
    assert asked(replace(config, api_key=""), "/v1/devices", "POST", b"{}")[0] == 404


def test_flags_reach_the_routes(config: Config) -> None:
    command = b'{"udid": "U", "request_type": "ProfileList", "colour": "red"}'
    assert asked(config, "/v1/commands", "POST", command)[0] == 201
    assert asked(replace(config, strict_commands=True), "/v1/commands", "POST", command)[0] == 400
    assert asked(replace(config, max_body_bytes=10), "/v1/commands", "POST", command)[0] == 413
    assert asked(config, "/")[0] == 200
    assert asked(replace(config, homepage=False), "/")[0] == 404
    assert asked(config, "/v1/challenge", "POST")[0] == 404
    assert asked(replace(config, use_dynamic_challenge=True), "/v1/challenge", "POST")[0] == 200


def test_the_profile_names_the_server_and_its_certificate(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "tls.pem"
    file.write_bytes(certificate().public_bytes(Encoding.PEM))
    with_tls = replace(config, tls=True, tls_cert=str(file))
    status, profile = asked(with_tls, "/mdm/enroll")
    assert status == 200
    assert base64.b64encode(file.read_bytes()) in b"".join(profile.split())
    assert b"https://mdm.example.com/mdm/checkin" in profile


def test_an_unreadable_certificate_is_one_line(config: Config, tmp_path: Path) -> None:
    prepare(config)
    with pytest.raises(StartupError, match="setting up enrollment service: open"):
        build_app(replace(config, tls=True, tls_cert=str(tmp_path / "missing.pem")))


def test_requests_are_outlined_without_values_when_debugging(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"udid": "U", "request_type": "DeviceLock", "pin": "123456"}'
    with caplog.at_level("DEBUG", "micromdm_py"):
        asked(replace(config, http_debug=True), "/v1/commands", "POST", body, cookie="sweet")
        fields = [record.__dict__["fields"] for record in caplog.records if record.name.endswith(".debug")]
    request, answer = fields
    assert request["headers"].split(",") == ["authorization", "cookie", "host", "user-agent"]
    assert (request["length"], answer["status"]) == (str(len(body)), 201)
    told = f"{request} {answer}"
    assert not any(secret in told for secret in ("123456", "sweet", "Basic"))
    assert asked(config, "/version")[0] == 200


def test_proxies_are_believed_only_when_named(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    for networks, host in (("127.0.0.0/8", PROXY), ("10.0.0.0/8", "192.0.2.1")):
        settings = replace(config, http_proxy_headers=True, trusted_proxies=networks)
        asked(settings, "/version", x_forwarded_for="192.0.2.1")
        assert f" host={host} " in capsys.readouterr().err


def test_a_web_worker_starts_without_what_only_few_requests_need(config: Config) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from micromdm_py import compose; from micromdm_py.config import Config\n"
        "config = Config(server_url='https://mdm.example.com', config_path=Path(sys.argv[1]), api_key='k')\n"
        "compose.prepare(config); compose.build_app(config); print(*sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", script, str(config.config_path)], capture_output=True, check=True
    )
    loaded = set(answer.stdout.decode().split())
    assert "micromdm_py.http.app" in loaded
    assert not loaded & {"micromdm_py.courier", "httpcore", "h2", "jinja2"}
