"""Whatever a caller sends, the answer is a refusal or a success in the usual form, never a fault of ours."""

import atexit
import functools
import json
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote_from_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from micromdm_py.storage.filerepo import FileRepository
from tests.fakes.packages import package
from tests.fakes.push_pair import upload
from tests.http.bench import API_KEY, JSON, Bench

ROUTES = [
    "/v1/commands",
    "/v1/commands/{}",
    "/v1/commands/{}/x",
    "/v1/bulk/commands",
    "/v1/devices",
    "/v1/devices/{}/commands",
    "/v1/devices/{}/block",
    "/v1/devices/{}/unblock",
    "/v1/push/{}",
    "/push/{}",
    "/v1/config/certificate",
    "/v1/challenge",
    "/v1/profiles",
    "/v1/blueprints",
    "/v1/blueprints/{}/apply",
    "/v1/users",
    "/v1/apps",
    "/v1/apps?manifest",
    "/boltbackup",
    "/repo/{}",
    "/version",
    "/{}",
]
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "FOO"]
FIELDS = [
    *("udid", "UDID", "request_type", "command_uuid", "opts", "Opts", "udids", "serials"),
    *("filter_serial", "filter_udid", "page", "per_page", "cert", "key", "queries", "settings", "payload"),
]
KNOWN = json.loads(upload())
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.characters(categories=["Cs"])
    | st.sampled_from(
        ["ProfileList", "Settings", "InstallProfile", "DeviceInformation", "U", "", *KNOWN.values()]
    )
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(FIELDS), values, max_size=8).map(
    lambda found: json.dumps(found).encode()
)
commands = st.fixed_dictionaries(
    {
        "udid": st.sampled_from(["U", "V:W"]),
        "request_type": st.sampled_from(["Settings", "InstallProfile", "EraseDevice"]),
    },
    optional={name: values for name in FIELDS[3:]},
).map(lambda found: json.dumps(found).encode())
plists = st.sampled_from(
    [b"<plist><dict><key>CommandUUID</key>", b"<string>a</string>", b"</dict></plist>", b"<?xml"]
)
LIBRARY = {
    "profile": ["Identifier", "Mobileconfig"],
    "blueprint": [
        *("uuid", "name", "profile_ids", "user_uuids", "apply_at"),
        *("install_application_manifest_urls", "skip_primary_setup_account_creation"),
    ],
    "user": [
        *("uuid", "udid", "user_id", "user_shortname", "auth_token"),
        *("password_hash", "password", "hidden"),
    ],
}
library = st.sampled_from(list(LIBRARY)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {kind: st.dictionaries(st.sampled_from(LIBRARY[kind]), leaves | st.lists(leaves, max_size=3))}
    )
)
listings = st.dictionaries(
    st.sampled_from(["id", "ids", "names", "uuids", "FilterName", "udids", "filter_udid", "page", "opts"]),
    leaves | st.lists(leaves, max_size=3),
)
kept = (library | listings).map(lambda found: json.dumps(found).encode())
bodies = objects | commands | kept | st.binary(max_size=60) | st.lists(plists, max_size=6).map(b"".join)


@functools.cache
def shared() -> Bench:
    """One application for all examples: building it takes longer than a request."""
    return Bench(files=FileRepository(repository()))


@functools.cache
def repository() -> Path:
    """Its folder."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder


def check(method: str, target: str, body: bytes, **how: Any) -> None:
    bench = shared()
    bench.lines.clear()
    answer = bench.ask(method, target, body, **how)
    assert answer.status < 500, (method, target, body, answer)
    if answer.headers.get("content-type") == JSON and method != "HEAD":
        assert isinstance(answer.json(), dict)
        if answer.status >= 400:
            assert answer.error
    for name, value in answer.headers.items():
        assert value.isprintable(), (name, value)
        assert value.isascii(), (name, value)
    assert "\n" not in "".join(bench.lines)


@given(
    st.sampled_from(METHODS),
    st.sampled_from(ROUTES),
    st.binary(max_size=20) | st.sampled_from([b"..", b".", b"a/b", b"\xff", b"%2F", b"\r\n"]),
    st.text("=&%?+strictforcepurgeexpiration1", max_size=20),
    bodies,
    st.booleans(),
)
def test_requests_of_any_kind(
    method: str, route: str, segment: bytes, query: str, body: bytes, chunked: bool
) -> None:
    join = "&" if "?" in route else "?"
    target = route.format(quote_from_bytes(segment, safe="")) + (f"{join}{query}" if query else "")
    check(method, target, body, chunked=chunked)


@given(st.sampled_from(["/v1/commands", "/v1/commands?strict"]), commands | objects)
def test_json_commands_of_any_kind(target: str, body: bytes) -> None:
    check("POST", target, body)


BULK = ("udids", "filter", "command", "dry_run", "confirm", "group", "ttl", "expires_at", "supersede", "from")
ORGANIZATIONS = "/v1/organizations/default/mdm/apple/enterprise/commands"
BEARER = f"Bearer {API_KEY}"
keyed = st.fixed_dictionaries(
    {"RequestType": st.sampled_from(["SecurityInfo", "EraseDevice", "Settings", "InstallProfile"])},
    optional={name: values for name in ("Payload", "Settings", "PIN", "Queries")},
)


@given(
    st.dictionaries(st.sampled_from(BULK), values, max_size=6),
    st.sampled_from([{}, {"udids": ["U", "V:W"], "command": {"request_type": "SecurityInfo"}}]),
)
def test_bulk_commands_of_any_kind(given: dict[str, object], sound: dict[str, object]) -> None:
    check("POST", "/v1/bulk/commands", json.dumps({**given, **sound}).encode())
    check("POST", "/v1/bulk/commands", json.dumps({**sound, **given}).encode())


@given(
    st.sampled_from(["GET", "POST"]),
    st.lists(
        st.sampled_from(["device", "deviceUser", "U", "V:W", "f" * 24, "grouped", "cancel", "%00", "%ED%A0"])
        | st.binary(max_size=8).map(quote_from_bytes),
        min_size=1,
        max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(["limit", "cursor", "status", "from", "since", "until", "page", "ttl", "group"]),
        st.sampled_from(["", "1", "0" * 16, "Pending", "sync", "2026-11-23", "9999-12-31T23:59:59-23:59"]),
        max_size=3,
    ),
    keyed | values,
    st.dictionaries(
        st.sampled_from(["targetIds", "groupName", "expiresAt", "ttl", "from"]), values, max_size=3
    ),
)
def test_requests_of_the_organizations_api_of_any_kind(
    method: str, path: list[str], query: dict[str, str], command: object, more: dict[str, object]
) -> None:
    target = (
        "/".join([ORGANIZATIONS, *path]) + "?" + "&".join(f"{name}={value}" for name, value in query.items())
    )
    body = json.dumps({"command": command, **more}).encode() if method == "POST" else b""
    answer = shared().ask(method, target, body, key=BEARER)
    assert answer.status < 500, (method, target, body, answer)
    if answer.headers.get("content-type") == JSON:
        assert answer.json()["status"] is (answer.status == 200)


@given(objects)
@example(b'{"cert": "eA==\\u0000", "key": ""}')
def test_certificates_and_devices_of_any_kind(body: bytes) -> None:
    check("PUT", "/v1/config/certificate", body)
    check("POST", "/v1/devices", body)
    check("DELETE", "/v1/devices?purge", body)


parts = st.tuples(
    st.sampled_from(["pkg_name", "pkg_filedata", "app_manifest_filename", "app_manifest_filedata", "x", ""]),
    st.binary(max_size=30) | st.sampled_from([b"a.pkg", b"../a", "ü".encode(), package(), package()[:90]]),
)
PIECES = [
    b"--B",
    b"--B--",
    b"\r\n",
    b'Content-Disposition: form-data; name="',
    b'"',
    b"pkg_name",
    b": ",
    b";",
]


def form(fields: list[tuple[str, bytes]]) -> bytes:
    head = b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    return b"".join(head % (name.encode(), content) for name, content in fields) + b"--B--\r\n"


@given(
    st.lists(parts, max_size=5).map(form)
    | st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=20).map(b"".join),
    st.sampled_from(
        ["multipart/form-data; boundary=B", 'multipart/form-data; boundary="', "multipart/form-data"]
    )
    | st.text(st.characters(max_codepoint=255), max_size=10).map("multipart/form-data; {}".format),
    st.integers(min_value=0),
    st.booleans(),
)
def test_uploads_of_any_kind_leave_nothing_half_done(body: bytes, kind: str, end: int, chunked: bool) -> None:
    for sent in (body, body[: end % (len(body) + 1)]):
        check("PUT", "/v1/apps", sent, content_type=kind, chunked=chunked)
        check("PUT", "/v1/apps?manifest", sent, content_type=kind, chunked=chunked)
    assert not list(repository().glob(".*"))
    check("POST", "/v1/apps", b"{}")


@given(st.text(max_size=30), st.text(st.characters(max_codepoint=255), max_size=30))
def test_headers_of_any_kind(key: str, other: str) -> None:
    header = "".join(letter for letter in key if ord(letter) < 256)
    body = b'{"udid": "U", "request_type": "ProfileList"}'
    for credentials in (None, header, "Basic " + header):
        assert shared().ask("POST", "/v1/commands", body, key=credentials).status == 401
    check("POST", "/v1/commands", body, idempotency_key=other, user_agent=other, content_type=other)


@given(kept, kept)
@example(b'{"user": {"password": "\\ud800"}}', b'{"user": {"uuid": "u"}}')
@example(
    b'{"user": {"uuid": "u", "user_longname": "\\ud800"}}',
    b'{"blueprint": {"uuid": "b", "name": "n", "user_uuids": ["u"], "apply_at": ["enroll"]}}',
)
@example(
    b"{}", b'{"blueprint": {"uuid": "b", "name": "n", "install_application_manifest_urls": ["\\ud800"]}}'
)
def test_profiles_blueprints_and_users_of_any_kind(first: bytes, second: bytes) -> None:
    for path in ("/v1/profiles", "/v1/users", "/v1/blueprints"):
        for body in (first, second):
            check("PUT", path, body)
            check("POST", path, body)
    check("POST", "/v1/blueprints/n/apply", b'{"udids": ["U"]}')
    for path in ("/v1/blueprints", "/v1/profiles", "/v1/users"):
        check("POST", path, b"{}")
        check("DELETE", path, first)
    check("DELETE", "/v1/commands/U", b"")
