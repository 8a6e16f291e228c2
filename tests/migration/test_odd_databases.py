"""Databases with a history: what is odd in them is served as before or named in the report."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.messages import (
    OldCommand,
    OldDevice,
    OldProfile,
    OldPush,
    OldQueue,
    OldServerConfig,
    OldUser,
    decode,
    encode,
)
from micromdm_py.migration.micromdm import content
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.dep.documents import KnownDevice, Rule, StoredToken
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID, EnrollmentKind
from micromdm_py.storage.transfer import Moved, MovedAuthority, MovedChallenge, MovedDocument, MovedEnrollment
from tests.builders import NOW
from tests.migration.samples import expected, sample, written
from tests.storage.backends import open_lmdb

Database = dict[bytes, dict[bytes, bytes]]
Import = Callable[[Database], tuple[list[Moved], Report]]
MAC = "DD59209E-AB89-4C13-8679-0139C8EA7C5C"
DEPOT, QUEUES, USERS = b"scep_certificates", b"mdm.DeviceCommands", b"mdm.Users"


@pytest.fixture
def old() -> Database:
    return sample()


@pytest.fixture
def moves(tmp_path: Path) -> Import:
    def run(database: Database) -> tuple[list[Moved], Report]:
        path, report = tmp_path / "micromdm.db", Report("micromdm.db")
        path.write_bytes(written(database))
        with OldDatabase(path, report) as source:
            return list(content(source, report, NOW)), report

    return run


def enrollments(pieces: list[Moved]) -> dict[str, MovedEnrollment]:
    return {one.record.enrollment_id: one for one in pieces if isinstance(one, MovedEnrollment)}


def lost(report: Report, bucket: str) -> list[tuple[str, str]]:
    return report.buckets[bucket].lost


def test_a_sound_database_is_told_nothing_of_topics_and_every_enrollment_is_counted(
    old: Database, moves: Import
) -> None:
    pieces, report = moves(old)
    assert not [line for line in report.warnings if "topic" in line or "push certificate" in line]
    kinds = Counter(one.record.kind for one in enrollments(pieces).values())
    assert {kind.replace("_", " "): count for kind, count in kinds.items() if kind} == {
        name: count for name, count in report.enrollments.items() if name not in ("blocked", "unknown")
    }


def test_archives_of_older_releases_are_left_out(old: Database, moves: Import) -> None:
    old[b"mdm.Checkin.ARCHIVE"] = {b"%d" % n: b"x" for n in range(9)}
    _, report = moves(old)
    assert (report.buckets["mdm.Checkin.ARCHIVE"].left, lost(report, "mdm.Checkin.ARCHIVE")) == (9, [])
    assert "9 left out: an archive" in report.as_text()


def test_unknown_buckets_and_fields_are_lost_and_named(old: Database, moves: Import) -> None:
    old[b"mdm.New"] = {b"a": b"1", b"b": b"2"}
    key, value = next(iter(old[b"mdm.PushInfo"].items()))
    old[b"mdm.PushInfo"][key] = value + b"\x2a\x01x"
    _, report = moves(old)
    assert lost(report, "mdm.New") == [("2 rows", "this program has no place for the bucket")]
    assert report.unknown_fields == {"OldPush 5": 1}
    assert not report.lossless
    assert "unknown field OldPush 5, 1 times" in report.as_text()


def test_a_record_that_cannot_be_read_is_lost_and_the_rest_goes_on(old: Database, moves: Import) -> None:
    old[b"mdm.PushInfo"][MAC.encode()] = b"\xff\xff"
    old[b"mdm.PushInfo"][b"\xff\xfe"] = encode(OldPush("x"))
    old[QUEUES][b"A:B"] = encode(OldQueue("A:B"))
    old[b"mdm.UDIDCertAuth"][b"short"] = b"123"
    pieces, report = moves(old)
    assert {key for key, _ in lost(report, "mdm.PushInfo")} == {MAC, r"\xff\xfe"}
    assert lost(report, "mdm.DeviceCommands") == [("A:B", "the id: must not contain a colon")]
    assert lost(report, "mdm.UDIDCertAuth") == [("short", "is not the SHA-256 of a certificate")]
    mac = enrollments(pieces)[MAC]
    assert mac.push is None
    assert mac.commands


def test_commands_without_payload_or_uuid_are_lost(old: Database, moves: Import) -> None:
    good = OldCommand("good", b"<plist/>")
    bad = (OldCommand("", b"x"), good, OldCommand("no payload"))
    old[QUEUES][b"UDID"] = encode(OldQueue("UDID", bad))
    pieces, report = moves(old)
    assert [one.entry.command_uuid for one in enrollments(pieces)["UDID"].commands] == ["good"]
    assert lost(report, "mdm.DeviceCommands") == [
        ("UDID commands[0]", "has no uuid"),
        ("UDID commands[2]", "has no payload"),
    ]


def test_commands_that_are_no_property_lists_are_kept_as_they_are(old: Database, moves: Import) -> None:
    old[QUEUES][b"UDID"] = encode(OldQueue("UDID", (OldCommand("c" * 2000, b"\0 nonsense"),) * 2))
    pieces, _ = moves(old)
    commands = enrollments(pieces)["UDID"].commands
    assert [(one.entry.payload, one.entry.request_type) for one in commands] == [(b"\0 nonsense", "")] * 2


def test_the_index_says_which_of_two_records_of_a_device_counts(old: Database, moves: Import) -> None:
    key = old[b"mdm.DeviceIdx"][MAC.encode()]
    record = decode(OldDevice, old[b"mdm.Devices"][key])
    for other in (b"0000", b"zzzz"):
        old[b"mdm.Devices"][other] = encode(replace(record, uuid=other.decode(), device_name="stale"))
    pieces, report = moves(old)
    assert enrollments(pieces)[MAC].record.facts["device_name"] == record.device_name
    assert report.buckets["mdm.Devices"].left == 2


def test_orphans_are_served_as_before_and_named(old: Database, moves: Import) -> None:
    old[b"mdm.Devices"] = {}
    pieces, report = moves(old)
    mac = enrollments(pieces)[MAC]
    assert (mac.record.kind, mac.record.listed) == (EnrollmentKind.DEVICE, False)
    assert mac.push is not None
    assert mac.commands
    assert any(MAC in line and "no device record" in line for line in report.warnings)


def test_a_former_user_channel_keeps_its_queue_under_its_own_id(old: Database, moves: Import) -> None:
    old[b"mdm.UserIdx"][b"FORMER"] = b"a record that is gone"
    old[b"mdm.PushInfo"][b"FORMER"] = encode(OldPush("FORMER", "aa", "magic", "topic"))
    old[QUEUES][b"FORMER"] = encode(OldQueue("FORMER", (OldCommand("c", b"<plist/>"),)))
    pieces, report = moves(old)
    record = enrollments(pieces)["FORMER"].record
    assert (record.kind, record.user_id) == (None, "FORMER")
    assert any("FORMER is a user channel without a record" in line for line in report.warnings)


def test_a_user_of_a_shared_ipad_gets_an_id_of_its_own(old: Database, moves: Import) -> None:
    user = OldUser("u", "IPAD", SHARED_IPAD_USER_ID, "pupil", "A Pupil", "aa")
    old[USERS][b"u"] = encode(user)
    pieces, _ = moves(old)
    found = enrollments(pieces)["IPAD:pupil"].record
    assert (found.kind, found.device_id, found.user_id) == (
        EnrollmentKind.SHARED_IPAD,
        "IPAD",
        SHARED_IPAD_USER_ID,
    )


def test_nobody_is_pushed_who_has_checked_out_or_is_blocked(old: Database, moves: Import) -> None:
    found = enrollments(moves(old)[0])
    due = {name for name, one in found.items() if one.push and one.push.due}
    records = expected()["buckets"]["mdm.Devices"].values()
    gone = {one["udid"] for one in records if not one["enrolled"]} | set(
        expected()["buckets"]["mdm.RemoveDevice"]
    )
    assert MAC in due
    assert not due & gone
    assert all(any(command.state in ("Pending", "Tried") for command in found[name].commands) for name in due)


def test_a_blueprint_that_names_what_is_gone_is_kept_and_named(old: Database, moves: Import) -> None:
    del old[b"mdm.Profile"][b"com.example.wifi"]
    pieces, report = moves(old)
    assert sum(isinstance(one, MovedDocument) and one.kind == "blueprint" for one in pieces) == 2
    assert any(
        "blueprint default names what is missing: com.example.wifi" in line for line in report.warnings
    )


def test_profiles_without_content_and_users_with_another_uuid_are_lost(old: Database, moves: Import) -> None:
    old[b"mdm.Profile"][b"com.example.empty"] = encode(OldProfile("com.example.empty"))
    old[USERS][b"key"] = encode(OldUser("another"))
    _, report = moves(old)
    assert lost(report, "mdm.Profile") == [("com.example.empty", "is empty")]
    assert lost(report, "mdm.Users") == [("key", "has another uuid inside")]


# --- automated enrollment ---


def documents(pieces: list[Moved], kind: str) -> dict[str, bytes]:
    return {one.name: one.body for one in pieces if isinstance(one, MovedDocument) and one.kind == kind}


def test_the_token_that_was_added_last_is_the_one_in_use(old: Database, moves: Import) -> None:
    tokens = old[b"mdm.DEPToken"]
    first = next(key for key in tokens if key.startswith(b"CK_"))
    other = b"CK_" + b"0" * 20
    tokens[other] = tokens[first].replace(first, other)
    pieces, report = moves(old)
    assert StoredToken.of(documents(pieces, "dep-token")["default"]).token.consumer_key == first.decode()
    assert list(documents(pieces, "dep-old-token")) == [other.decode()]
    del tokens[b"last_added"]
    pieces, report = moves(old)
    assert StoredToken.of(documents(pieces, "dep-token")["default"]).token.consumer_key == other.decode()
    assert report.lossless


def test_a_token_or_key_pair_that_cannot_be_read_is_lost(old: Database, moves: Import) -> None:
    for key in list(old[b"mdm.DEPToken"]):
        old[b"mdm.DEPToken"][key] = b"nonsense"
    old[b"mdm.DEPAutoAssign"][b"model"] = b"X"
    pieces, report = moves(old)
    assert not documents(pieces, "dep-token")
    assert len(lost(report, "mdm.DEPToken")) == 2
    assert [key for key, _ in lost(report, "mdm.DEPAutoAssign")] == ["model"]
    assert "nonsense" not in report.as_json()


def test_a_profile_assigned_by_hand_is_kept_from_the_rule(old: Database, moves: Import) -> None:
    rule = old[b"mdm.DEPAutoAssign"][b"*"].decode()
    for serial, profile in (("BYHAND", "OTHER"), ("BYRULE", rule), ("NONE", "")):
        device = OldDevice(
            serial, serial_number=serial, dep_profile_status="assigned", dep_profile_uuid=profile
        )
        old[b"mdm.Devices"][serial.encode()] = encode(device)
    found = documents(moves(old)[0], "dep-device")
    wanted = {name: KnownDevice.of(body).wanted(Rule(rule))[0] for name, body in found.items()}
    assert (wanted["BYHAND"], wanted["BYRULE"], wanted["NONE"]) == ("OTHER", rule, rule)


def test_a_device_record_without_any_id_is_lost(old: Database, moves: Import) -> None:
    old[b"mdm.Devices"][b"nobody"] = encode(OldDevice("nobody"))
    _, report = moves(old)
    assert lost(report, "mdm.Devices") == [("nobody", "has neither UDID nor serial number")]


@pytest.mark.parametrize("udid", ["", "UDID"])
def test_names_that_no_store_can_hold_are_lost(
    old: Database, moves: Import, udid: str, tmp_path: Path
) -> None:
    long = "x" * 600
    device = OldDevice("long", udid, long, dep_profile_status="assigned")
    old[b"mdm.Devices"][b"long"] = encode(device)
    old[USERS][long.encode()] = encode(OldUser(long))
    account = "y" * 255
    old[USERS][b"shared"] = encode(OldUser("shared", "z" * 255, SHARED_IPAD_USER_ID, account))
    pieces, report = moves(old)
    assert [key for key, _ in lost(report, "mdm.Devices")] == ["long"]
    assert [key for key, _ in lost(report, "mdm.Users")] == [long]
    store = open_lmdb(tmp_path / "store")
    store.load(pieces, at=NOW)
    assert store.enrollment(f"{'z' * 255}:{account}").user_short_name == account
    store.close()


# --- keys ---


def other_key() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({b"ca_key": other_key()}, "does not belong"),
        ({b"ca_key": b"nonsense"}, "cannot be read"),
        ({b"ca_key": None}, "has no ca_key"),
        ({b"ca_certificate": None}, "has no ca_certificate"),
        ({b"serial": b"\xff" * 30}, "out of range"),
    ],
)
def test_an_authority_that_cannot_go_on_is_refused(
    old: Database, moves: Import, change: dict[bytes, bytes | None], words: str
) -> None:
    for key, value in change.items():
        old[DEPOT].pop(key)
        if value is not None:
            old[DEPOT][key] = value
    with pytest.raises(BadDatabase, match=words):
        moves(old)


def test_a_serial_number_is_never_given_twice(old: Database, moves: Import) -> None:
    next_serial = int(expected()["buckets"]["scep_certificates"]["serial"])
    for serial in (b"", b"\x02"):
        old[DEPOT][b"serial"] = serial
        pieces, report = moves(old)
        authority = next(one for one in pieces if isinstance(one, MovedAuthority))
        assert authority.next_serial == next_serial
        assert any("serial number" in line for line in report.warnings)


def test_issued_certificates_may_have_any_key_and_bad_ones_are_lost(old: Database, moves: Import) -> None:
    name = next(key for key in old[DEPOT] if key.startswith(b"MicroMDM Identity"))
    old[DEPOT][b"\xff\xfe\0.77"] = old[DEPOT].pop(name)
    old[DEPOT][b"broken.78"] = b"0\x82"
    _, report = moves(old)
    assert [key for key, _ in lost(report, "scep_certificates")] == ["broken.78"]


def test_pinned_certificates_that_were_not_issued_are_named(old: Database, moves: Import) -> None:
    old[b"mdm.UDIDCertAuth"][MAC.encode()] = b"\x11" * 32
    _, report = moves(old)
    assert any("-validate-scep-issuer" in line and MAC in line for line in report.warnings)
    assert not lost(report, "mdm.UDIDCertAuth")


def test_one_time_challenges_are_moved_and_never_shown(old: Database, moves: Import) -> None:
    old[b"scep_challenges"] = {b"VGhlIGNoYWxsZW5nZQ==": b"VGhlIGNoYWxsZW5nZQ==", b"\xff": b"\xff"}
    pieces, report = moves(old)
    assert [one.challenge for one in pieces if isinstance(one, MovedChallenge)] == ["VGhlIGNoYWxsZW5nZQ=="]
    assert [key for key, _ in lost(report, "scep_challenges")] == ["(secret)"]
    assert "VGhl" not in report.as_json() + report.as_text() + repr(pieces)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"push_certificate_key": b"nonsense"}, "cannot be read"),
        ({"push_certificate": b""}, "cannot be read"),
    ],
)
def test_a_push_certificate_that_cannot_push_is_lost(
    old: Database, moves: Import, change: dict[str, bytes], words: str
) -> None:
    config = decode(OldServerConfig, old[b"mdm.ServerConfig"][b"config"])
    old[b"mdm.ServerConfig"][b"config"] = encode(replace(config, **change))
    _, report = moves(old)
    assert words in lost(report, "mdm.ServerConfig")[0][1]
    assert any("no push certificate" in line for line in report.warnings)


def test_other_push_topics_are_named(old: Database, moves: Import) -> None:
    push = decode(OldPush, old[b"mdm.PushInfo"][MAC.encode()])
    old[b"mdm.PushInfo"][MAC.encode()] = encode(replace(push, mdm_topic="com.apple.mgmt.other"))
    _, report = moves(old)
    assert any("1 enrollments have the push topic com.apple.mgmt.other" in line for line in report.warnings)


def test_a_database_without_queues_is_said_to_be_one(old: Database, moves: Import) -> None:
    del old[QUEUES]
    pieces, report = moves(old)
    assert MAC in enrollments(pieces)
    assert any("-queue inmem" in line for line in report.warnings)


def test_no_secret_is_in_a_report(old: Database, moves: Import) -> None:
    _, report = moves(old)
    shown = report.as_json() + report.as_text()
    for one in expected()["buckets"]["mdm.PushInfo"].values():
        assert one["token"] not in shown
        assert one["push_magic"] not in shown
    assert "PRIVATE" not in shown
