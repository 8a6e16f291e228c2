"""/mdm/checkin and /mdm/connect: what is checked first, what is answered, and what is never answered."""

import base64
import ipaddress
import plistlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import Busy, NotConfigured, StorageUnavailable, UpstreamFailed
from micromdm_py.http.device import url_params
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.service.identity import AcceptanceRule
from micromdm_py.storage.lmdb.store import open_store
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule
from tests.http.bench import Answer, Unreadable
from tests.http.device_bench import CHECKIN, CONNECT, DAY, DeviceBench, make_identity, signature
from tests.protocol.crypto_samples import mutations

IDLE = plistlib.dumps({"UDID": "UDID-1", "Status": "Idle"})
PEER = ipaddress.ip_network("127.0.0.1/32")
BOTH = pytest.mark.parametrize("path", [CHECKIN, CONNECT])


@pytest.fixture
def bench() -> DeviceBench:
    return DeviceBench()


def is_refused(answer: Answer, status: int = 500) -> bool:
    """A refusal that tells nothing."""
    return (answer.status, answer.body, "www-authenticate" in answer.headers) == (status, b"", False)


# --- what is checked first ---


@BOTH
def test_the_signature_is_checked_before_anything_is_parsed(bench: DeviceBench, path: str) -> None:
    stranger = make_identity("stranger", 99)
    for _ in range(5):
        assert is_refused(bench.put(path, b"no property list", None))
        assert is_refused(bench.put(path, b"no property list", stranger))
        assert is_refused(bench.put(path, b"<plist>", None, mdm_signature="no base64"))
        assert is_refused(bench.put(path, b"", None))
    assert bench.store.quarantined() == []
    assert bench.events() == []


@BOTH
@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_is_413_whoever_sends_it(path: str, chunked: bool) -> None:
    bench = DeviceBench(max_body_bytes=len(IDLE))
    who = bench.issue("A")
    assert is_refused(bench.put(path, IDLE + b" ", who, chunked=chunked), 413)
    assert is_refused(bench.put(path, IDLE + b" ", None, chunked=chunked), 413)


@BOTH
def test_a_length_above_the_limit_is_refused_before_the_body_is_read(path: str) -> None:
    bench = DeviceBench(max_body_bytes=0)
    assert is_refused(bench.ask("PUT", path, source=Unreadable(), key=None), 413)


@BOTH
def test_a_body_that_ends_early_is_refused(bench: DeviceBench, path: str) -> None:
    header = signature(IDLE, bench.issue("A"))

    class Short:
        def read(self, _size: int) -> bytes:
            return b""

    assert is_refused(bench.ask("PUT", path, source=Short(), key=None, mdm_signature=header))


def test_signed_messages_are_taken_in_either_form_and_framing(bench: DeviceBench) -> None:
    who = bench.enrol()
    for form in ("der", "apple"):
        for chunked in (True, False):
            header = signature(IDLE, who, form)
            answer = bench.ask("PUT", CONNECT, IDLE, key=None, chunked=chunked, mdm_signature=header)
            assert (answer.status, answer.body) == (200, b"")


def test_a_signature_over_other_bytes_is_refused(bench: DeviceBench) -> None:
    header = signature(IDLE, bench.enrol())
    for body in (IDLE + b" ", IDLE[:-1], IDLE.replace(b"UDID-1", b"UDID-2")):
        assert is_refused(bench.ask("PUT", CONNECT, body, key=None, mdm_signature=header))


def test_the_key_of_the_api_is_no_way_in(bench: DeviceBench) -> None:
    bench.enrol()
    assert is_refused(bench.ask("PUT", CONNECT, IDLE))


# --- what is answered ---


def test_a_command_comes_byte_for_byte(bench: DeviceBench) -> None:
    who, body = bench.enrol(), bench.queue("c-1")
    answer = bench.report(who)
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert bench.report(who, "Acknowledged", "c-1").body == b""


def test_a_blocked_device_alone_gets_401(bench: DeviceBench) -> None:
    who, other = bench.enrol(), bench.enrol("B", "UDID-2")
    bench.queue("c-1")
    assert bench.ask("POST", "/v1/devices/UDID-1/block").status == 200
    for status in ("Idle", "Acknowledged", "NotNow", "Bogus"):
        assert is_refused(bench.report(who, status, "c-1"), 401)
    assert bench.report(other, udid="UDID-2").status == 200
    assert is_refused(bench.report(other, udid="UDID-1"))
    assert bench.ask("POST", "/v1/devices/UDID-1/unblock").status == 200
    assert bench.report(who).status == 200


def test_a_user_channel_is_not_authenticated(bench: DeviceBench) -> None:
    who = bench.enrol()
    assert is_refused(bench.check_in("UserAuthenticate", who, UserID="USER-1"), 410)
    assert is_refused(bench.check_in("UserAuthenticate", bench.issue("B"), UserID="USER-1"))


@pytest.mark.parametrize(
    ("fault", "status"), [(Busy(""), 503), (UpstreamFailed(""), 500), (NotConfigured(""), 500)]
)
def test_faults_of_the_declarative_service(bench: DeviceBench, fault: Exception, status: int) -> None:
    who = bench.enrol()
    bench.declarative = fault
    answer = bench.check_in("DeclarativeManagement", who, Endpoint="tokens")
    assert is_refused(answer, status)
    assert ("retry-after" in answer.headers) == (status == 503)


def test_declarative_answers_are_passed_on(bench: DeviceBench) -> None:
    who = bench.enrol()
    bench.declarative = b'{"SyncTokens":{}}'
    answer = bench.check_in("DeclarativeManagement", who, Endpoint="tokens")
    assert (answer.status, answer.body) == (200, b'{"SyncTokens":{}}')


@pytest.mark.parametrize("kind", ["", "GetToken", "authenticate", "Nope"])
def test_unknown_messages_are_refused(bench: DeviceBench, kind: str) -> None:
    assert is_refused(bench.check_in(kind, bench.enrol()))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0",
        b"<plist>",
        b"{}",
        b"bplist00",
        [],
        {},
        {"UDID": ""},
        {"UDID": 1},
        {"UDID": "x" * 256},
        {"UDID": "a\nb"},
        {"UDID": "UDID-1", "CommandUUID": 1},
        {"UDID": "UDID-1", "Status": b"Idle"},
        {"UDID": "UDID-1", "ErrorChain": "none", "MessageType": 1},
        {"UserID": "UDID-1", "Status": "Idle"},
    ],
)
@BOTH
def test_malformed_messages_are_an_empty_500(bench: DeviceBench, path: str, message: Any) -> None:
    assert is_refused(bench.put(path, message, bench.enrol()))


# --- who may speak for whom ---


def test_a_certificate_speaks_for_its_own_device_alone(bench: DeviceBench) -> None:
    bench.enrol("A", "UDID-1")
    thief = bench.enrol("B", "UDID-2")
    bench.queue("c-1")
    told = len(bench.events())
    assert is_refused(bench.report(thief))
    for kind in ("TokenUpdate", "CheckOut", "SetBootstrapToken", "GetBootstrapToken"):
        assert is_refused(bench.check_in(kind, thief))
    assert len(bench.events()) == told


def test_a_new_certificate_comes_in_by_authenticate(bench: DeviceBench) -> None:
    bench.enrol("A")
    second = bench.issue("B")
    assert is_refused(bench.report(second))
    assert bench.check_in("Authenticate", second).status == 200
    assert sorted(bench.topics()[-2:]) == ["mdm.Authenticate", "mdm.server.rebound"]
    assert bench.report(second).status == 200


def test_rebinding_can_be_forbidden() -> None:
    bench = DeviceBench(binding=BindingRule(allow_rebind=False))
    first, second = bench.enrol("A"), bench.issue("B")
    assert is_refused(bench.check_in("Authenticate", second))
    assert bench.check_in("Authenticate", first).status == 200


def test_a_certificate_can_be_kept_to_one_enrollment() -> None:
    for exclusive, status in ((False, 200), (True, 500)):
        bench = DeviceBench(binding=BindingRule(exclusive=exclusive))
        who = bench.enrol("A", "UDID-1")
        assert bench.check_in("Authenticate", who, "UDID-2").status == status


def test_a_wrong_certificate_can_be_let_through_with_a_warning() -> None:
    bench = DeviceBench(binding=BindingRule(warn_only=True))
    first, second = bench.enrol("A"), bench.issue("B")
    assert bench.report(second).status == 200
    assert bench.report(first).status == 200


@pytest.mark.parametrize(
    ("rule", "statuses"),
    [
        (AcceptanceRule(), (200, 500, 500)),
        (AcceptanceRule(validate_issuer=True), (200, 200, 500)),
        (AcceptanceRule(validate_expiration=True), (500, 500, 500)),
        (AcceptanceRule(validate_issuer=True, validate_expiration=True), (500, 200, 500)),
    ],
)
def test_which_certificates_are_accepted(rule: AcceptanceRule, statuses: tuple[int, ...]) -> None:
    bench = DeviceBench(acceptance=rule)
    expired = bench.issue("expired", begin=-2 * DAY, end=-DAY)
    signed_only = make_identity("signed only", 77)
    both_wrong = make_identity("signed once", 78, begin=-2 * DAY, end=-DAY)
    found = [
        bench.check_in("Authenticate", who, f"UDID-{number}").status
        for number, who in enumerate((expired, signed_only, both_wrong))
    ]
    assert tuple(found) == statuses


# --- identities that come with the connection ---


def forms(who: Certificate) -> dict[str, str]:
    pem = x509.load_der_x509_certificate(who.der).public_bytes(Encoding.PEM).decode()
    return {
        "RFC 9440": f":{base64.b64encode(who.der).decode()}:",
        "escaped": quote(pem),
        "escaped more": quote(pem, safe=""),
        "with spaces": pem.replace("\n", " "),
    }


@pytest.mark.parametrize("form", ["RFC 9440", "escaped", "escaped more", "with spaces"])
def test_a_trusted_proxy_passes_a_certificate_on(form: str) -> None:
    bench = DeviceBench(header="Client-Cert", trusted=(PEER,))
    value = forms(bench.enrol())[form]
    assert bench.put(CONNECT, IDLE, None, client_cert=value).status == 200


def test_nobody_else_can_write_a_certificate() -> None:
    for settings in (
        {"header": "Client-Cert"},
        {"header": "Client-Cert", "trusted": (ipaddress.ip_network("10.0.0.0/8"),)},
        {"header": "X-Other", "trusted": (PEER,)},
        {"trusted": (PEER,)},
    ):
        bench = DeviceBench(**settings)
        for value in forms(bench.enrol()).values():
            assert is_refused(bench.put(CONNECT, IDLE, None, client_cert=value))


@pytest.mark.parametrize("value", ["", ":", "::", ":!:", ":AAAA:", "%", "-----BEGIN CERTIFICATE-----", "ÿ"])
def test_a_header_that_is_no_certificate_is_refused(value: str) -> None:
    bench = DeviceBench(header="Client-Cert", trusted=(PEER,))
    bench.enrol()
    assert is_refused(bench.put(CONNECT, IDLE, None, client_cert=value))


def test_a_passed_on_certificate_obeys_the_same_rules() -> None:
    bench = DeviceBench(header="Client-Cert", trusted=(PEER,))
    bench.enrol()
    for who in (bench.issue("B"), make_identity("stranger", 99)):
        assert is_refused(bench.put(CONNECT, IDLE, None, client_cert=forms(who)["RFC 9440"]))


def test_a_signature_counts_more_than_a_passed_on_certificate() -> None:
    bench = DeviceBench(header="Client-Cert", trusted=(PEER,))
    value = forms(bench.enrol())["RFC 9440"]
    stranger = make_identity("stranger", 99)
    assert is_refused(bench.put(CONNECT, IDLE, stranger, client_cert=value))


# --- events ---


def test_parameters_of_the_url_reach_the_event(bench: DeviceBench) -> None:
    who = bench.enrol()
    bench.put(f"{CONNECT}?site=b&a=%20x&site=c&empty=", IDLE, who)
    topic, inside = bench.events()[-1]
    assert topic == "mdm.Connect"
    assert inside["url_params"] == {"a": " x", "empty": "", "site": "b"}
    assert base64.b64decode(inside["raw_payload"]) == IDLE


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1&a=2", {"a": "1"}),
        ("a", {"a": ""}),
        ("a=&b=+", {"a": "", "b": " "}),
        ("a%20b=%C3%A9", {"a b": "é"}),
        ("a=%FF", {"a": "\N{REPLACEMENT CHARACTER}"}),
        ("&&", {}),
        ("=x", {"": "x"}),
        ("a;b=1&c=2;d&e=3", {"e": "3"}),
        ("a=%zz&%4=1&b=%&c=%41", {"c": "A"}),
    ],
)
def test_query_parameters(query: str, found: dict[str, str]) -> None:
    assert url_params(query) == found


# --- events, and what a device leaves behind in record and log ---


def test_each_event_wakes_the_courier_and_a_refusal_does_not(bench: DeviceBench) -> None:
    who = bench.enrol()
    assert bench.wakes == 2
    bench.report(who)
    assert bench.wakes == 3
    for _ in range(2):
        bench.put(CONNECT, b"no property list", who)
    bench.check_in("TokenUpdate", bench.issue("B"))
    assert bench.wakes == 3
    bench.put(CONNECT, b"no property list", who)
    assert (bench.wakes, bench.topics()[-1]) == (4, "mdm.server.quarantined")


def test_an_idle_that_brings_nothing_is_no_event_when_only_the_feed_is_kept() -> None:
    bench = DeviceBench(wants_idle=False)
    who = bench.enrol()
    told = len(bench.events())
    assert (bench.report(who).body, bench.events()[told:]) == (b"", [])
    bench.queue("c-1")
    assert bench.report(who).body
    assert bench.report(who, "Acknowledged", "c-1").body == b""
    assert [inside["status"] for _, inside in bench.events()[told:]] == ["Idle", "Acknowledged"]


def test_nobody_wants_events_and_none_is_stored() -> None:
    bench = DeviceBench(wants_events=False)
    who = bench.enrol()
    bench.queue("c-1")
    answer = bench.report(who)
    assert answer.body
    for _ in range(3):
        bench.put(CONNECT, b"no property list", who)
    assert len(bench.store.quarantined()) == 1
    assert bench.events() == []
    record = bench.ask("GET", "/v1/commands/UDID-1/c-1").json()["record"]
    steps = {step["step"]: step["request_id"] for step in record["timeline"]}
    assert steps["handed out"] == answer.headers["x-request-id"]


def test_an_unknown_status_is_logged_and_a_known_one_is_not(
    bench: DeviceBench, caplog: pytest.LogCaptureFixture
) -> None:
    who = bench.enrol()
    bench.report(who, "Idle")
    assert "unknown status" not in caplog.text
    bench.report(who, "Perhaps")
    assert "unknown status 'Perhaps' from UDID-1" in caplog.text


# --- reports that nobody can read ---


def test_the_third_time_the_same_bytes_come_they_are_put_aside(bench: DeviceBench) -> None:
    who, body = bench.enrol(), b"no property list"
    told = len(bench.events())
    assert [bench.put(CONNECT, body, who).status for _ in range(2)] == [500, 500]
    assert bench.store.quarantined() == []
    answer = bench.put(CONNECT, body, who)
    assert (answer.status, answer.body) == (200, b"")
    ((_, fingerprint, kept),) = bench.store.quarantined()
    assert (fingerprint.hex(), kept) == (who.fingerprint, body)
    ((topic, inside),) = bench.events()[told:]
    assert (topic, inside["fingerprint"]) == ("mdm.server.quarantined", who.fingerprint)


def test_unlike_reports_and_identities_are_counted_apart(bench: DeviceBench) -> None:
    who, other = bench.enrol(), bench.enrol("B", "UDID-2")
    for number in range(6):
        assert is_refused(bench.put(CONNECT, b"bad %d" % number, who))
    for _ in range(2):
        assert is_refused(bench.put(CONNECT, b"bad", who))
        assert is_refused(bench.put(CONNECT, b"bad", other))
    assert bench.store.quarantined() == []


# --- a store that cannot write ---


class FullStore(MemoryStore):
    full = False

    def record_report(self, *args: Any, **names: Any) -> Any:
        if self.full:
            raise StorageUnavailable("the disk is full")
        return super().record_report(*args, **names)

    def authenticate(self, *args: Any, **names: Any) -> Any:
        if self.full:
            raise StorageUnavailable("the disk is full")
        return super().authenticate(*args, **names)


def test_a_device_comes_back_when_the_disk_is_full() -> None:
    store = FullStore()
    bench = DeviceBench(store)
    who = bench.enrol()
    bench.queue("c-1")
    store.full = True
    for answer in (bench.report(who), bench.check_in("Authenticate", who)):
        assert is_refused(answer, 503)
        assert answer.headers["retry-after"] == "5"
    store.full = False
    assert b"c-1" in bench.report(who).body


def test_a_full_map_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size_bytes=1 << 20)
    bench = DeviceBench(store, max_body_bytes=1 << 20)
    who = bench.enrol()
    kept = []
    for number in range(100):
        body = plistlib.dumps(
            {"CommandUUID": f"c-{number}", "Command": {"RequestType": "X", "Blob": bytes(30_000)}}
        )
        answer = bench.ask("POST", "/v1/commands/UDID-1", body)
        if answer.status != 201:
            break
        kept.append(f"c-{number}")
    assert (answer.status, bool(kept)) == (503, True)
    listed = bench.ask("GET", "/v1/commands/UDID-1").json()["commands"]
    assert [one["uuid"] for one in listed] == kept
    assert bench.report(who).status in (200, 503)
    assert bench.ask("DELETE", "/v1/commands/UDID-1").status in (200, 503)
    store.close()


# --- anything at all ---


ids = st.sampled_from(["UDID-1", "UDID-2", "USER-1", "", "x" * 300]) | st.text(max_size=8)
fields = st.dictionaries(
    st.sampled_from(
        (
            "UDID UserID EnrollmentID EnrollmentUserID UserShortName Status CommandUUID MessageType Topic"
            " Token ErrorChain BootstrapToken AwaitingConfiguration Endpoint"
        ).split()
    ),
    ids
    | st.sampled_from(["Idle", "NotNow", "Acknowledged", "Error", "Authenticate", "TokenUpdate", "CheckOut"])
    | st.binary(max_size=8)
    | st.booleans()
    | st.integers(-1, 1 << 63)
    | st.lists(st.text("a", max_size=2), max_size=2),
)


def encoded(message: Any) -> bytes:
    try:
        return plistlib.dumps(message)
    except (ValueError, OverflowError):  # control characters have no place in XML
        return plistlib.dumps(message, fmt=plistlib.FMT_BINARY)


bodies = st.binary(max_size=80) | fields.map(encoded) | mutations(IDLE)


@given(st.lists(st.tuples(st.sampled_from([CHECKIN, CONNECT]), bodies), max_size=6))
def test_signed_messages_of_any_kind_do_no_harm(messages: list[tuple[str, bytes]]) -> None:
    bench = DeviceBench()
    keeper = bench.enrol()
    bench.queue("c-1")
    stranger = bench.issue("B")
    for path, body in messages:
        answer = bench.put(path, body, stranger)
        assert answer.status in (200, 410, 500), (path, body, answer)
        assert not answer.body or answer.status == 200
    record = bench.store.enrollment("UDID-1")
    if record.fingerprint.hex() == keeper.fingerprint:  # nobody has enrolled in its place
        assert b"c-1" in bench.report(keeper).body


@given(st.binary(max_size=200) | mutations(base64.b64decode(signature(IDLE, make_identity("A", 5)))))
def test_signatures_of_any_kind_are_refused(cms: bytes) -> None:
    bench = DeviceBench()
    bench.enrol("B")
    header = base64.b64encode(cms).decode()
    assert is_refused(bench.ask("PUT", CONNECT, IDLE, key=None, mdm_signature=header))


# --- both at one URL ---


def test_nano_mdm_tells_check_in_from_connect_by_its_content_type(bench: DeviceBench) -> None:
    phone, path = bench.issue("phone"), "/nano/mdm"
    authenticate = {"MessageType": "Authenticate", "UDID": "UDID-1", "Topic": "t", "SerialNumber": "S"}
    told = {"content_type": "application/x-apple-aspen-mdm-checkin; charset=UTF-8"}
    assert bench.put(path, plistlib.dumps(authenticate), phone, **told).status == 200
    assert bench.store.enrollment("UDID-1").listed
    assert bench.put(path, IDLE, phone, content_type="application/x-apple-aspen-mdm").status == 200
    assert is_refused(bench.put(path, IDLE, phone, **told))
    assert is_refused(bench.put(path, IDLE, make_identity("stranger", 99)))
    assert is_refused(bench.put(path, b"garbage", None))
