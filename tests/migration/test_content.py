"""The sample, moved into a store: every record is there, and devices are served as by the original."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from micromdm_py.errors import BadDatabase, Unenroll
from micromdm_py.migration.messages import NEVER
from micromdm_py.migration.micromdm import content
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.dep.documents import KnownDevice, Rule, StoredToken, read_key
from micromdm_py.protocol.enrollment import EnrollmentKind, EnrollmentRef, resolve
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.service.blueprints import decode_blueprint
from micromdm_py.service.users import Users, decode_user
from micromdm_py.storage.base import Store
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule, DeviceFilter, Identity
from micromdm_py.storage.transfer import Moved, MovedCertificate, MovedEnrollment
from tests.builders import NOW, Device
from tests.builders import user as user_channel
from tests.migration.samples import SAMPLE, delivery, expected, written
from tests.storage.backends import open_lmdb

BUCKETS: Any = expected()["buckets"]
QUEUES = BUCKETS["mdm.DeviceCommands"]
PINS = BUCKETS["mdm.UDIDCertAuth"]


def pieces(path: Path = SAMPLE) -> tuple[list[Moved], Report]:
    report = Report(str(path))
    with OldDatabase(path, report) as old:
        return list(content(old, report, NOW)), report


@pytest.fixture(params=["memory", "lmdb"])
def moved(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else open_lmdb(tmp_path / "store")
    store.load(iter(pieces()[0]), at=NOW)
    yield store
    store.close()


def test_the_report_counts_every_row_of_every_bucket() -> None:
    report = pieces()[1]
    assert {name: one.read for name, one in report.buckets.items()} == {k: len(v) for k, v in BUCKETS.items()}
    assert all(one.read == one.imported + one.derived + one.left for one in report.buckets.values())
    assert report.lossless


def test_device_records(moved: Store) -> None:
    want = {one["udid"]: one for one in BUCKETS["mdm.Devices"].values() if one["udid"]}
    found = {one.udid: one for one in moved.devices(DeviceFilter())}
    assert found.keys() == want.keys()
    for udid, one in found.items():
        old = want[udid]
        facts = ("serial_number", "os_version", "product_name", "imei", "device_name", "model", "model_name")
        assert {name: one.facts.get(name, "") for name in facts} == {name: old[name] for name in facts}
        assert one.enrolled == old["enrolled"]
        assert one.awaiting_configuration == old["awaiting_configuration"]
        assert one.dep_profile_status == old["dep_profile_status"]
        assert one.unlock_token.hex() == old["unlock_token"]
        assert one.bootstrap_token == base64.b64decode(old["bootstrap_token_b64"])
        seen = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=old["last_seen"] // 1_000_000)
        assert one.last_seen_at is not None
        assert abs(one.last_seen_at - seen) < timedelta(milliseconds=2)


def test_certificates_stay_bound_and_accepted(moved: Store) -> None:
    for udid, pin in PINS.items():
        assert moved.enrollment(udid).fingerprint.hex() == pin
        assert moved.is_issued(bytes.fromhex(pin))
    issued = [
        one for key, one in BUCKETS["scep_certificates"].items() if isinstance(one, dict) and "serial" in one
    ]
    for one in issued:
        assert moved.is_issued(bytes.fromhex(one["sha256"])) or one["serial"] == "1"
    kept = [one for one in moved.content() if isinstance(one, MovedCertificate)]
    assert {(str(one.serial), one.common_name) for one in kept} == {
        (one["serial"], one["subject_cn"]) for one in issued if one["serial"] != "1"
    }


def test_the_authority_and_its_serial_numbers_go_on(moved: Store) -> None:
    authority = moved.authority()
    assert authority is not None
    assert authority[0] == base64.b64decode(BUCKETS["scep_certificates"]["ca_certificate"]["der_b64"])
    taken: list[int] = []

    def make(serial: int) -> bytes:
        taken.append(serial)
        return b"certificate"

    moved.issue(make, "new", at=NOW)
    assert taken == [int(BUCKETS["scep_certificates"]["serial"])]


def test_push_data_and_certificate(moved: Store) -> None:
    for name, old in BUCKETS["mdm.PushInfo"].items():
        target = moved.push_target(name)
        assert (target.token_hex, target.push_magic, target.topic) == (
            old["token"],
            old["push_magic"],
            old["mdm_topic"],
        )
    assert (
        moved.push_certificate().certificate.decode()
        == BUCKETS["mdm.ServerConfig"]["config"]["push_certificate"]
    )


def test_users_and_kinds(moved: Store) -> None:
    for user in BUCKETS["mdm.Users"].values():
        if user["user_id"]:
            found = moved.enrollment(user["user_id"])
            assert found.enrollment_id == f"{user['udid']}:{user['user_id']}"
            assert found.user_short_name == user["user_shortname"]
            assert found.user_long_name == user["user_longname"]
    for name, one in delivery().items():
        kind = {"user-enrollment": EnrollmentKind.USER_ENROLLMENT, "user": EnrollmentKind.USER}.get(
            one["channel"]
        )
        if one["result"] != "simulated device is not enrolled":
            assert moved.enrollment(name).kind is (kind or EnrollmentKind.DEVICE)


def test_queues_keep_their_order_and_their_bytes(moved: Store) -> None:
    for name, queue in QUEUES.items():
        want = [
            (c["uuid"], base64.b64decode(c["payload_b64"])) for c in (*queue["commands"], *queue["not_now"])
        ]
        assert [(one.command_uuid, one.payload) for one in moved.waiting(name)] == want


def test_profiles_are_kept_byte_for_byte(moved: Store) -> None:
    assert {name: base64.b64encode(body).decode() for name, body in moved.documents("profile")} == {
        name: one["mobileconfig_b64"] for name, one in BUCKETS["mdm.Profile"].items()
    }


def test_blueprints_and_users_are_what_they_were(moved: Store) -> None:
    found = {name: decode_blueprint(body) for name, body in moved.documents("blueprint")}
    assert found.keys() == BUCKETS["mdm.Blueprint"].keys()
    for name, old in BUCKETS["mdm.Blueprint"].items():
        assert {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(found[name]).items()
        } == {
            **{key: value for key, value in old.items() if key not in ("manifest_urls", "user_uuid")},
            "install_application_manifest_urls": old["manifest_urls"],
            "user_uuids": old["user_uuid"],
        }
    users = {name: decode_user(name, body) for name, body in moved.documents("user")}
    assert users.keys() == BUCKETS["mdm.Users"].keys()
    for name, old in BUCKETS["mdm.Users"].items():
        hashed = base64.b64encode(users[name].password_hash).decode()
        assert {**asdict(users[name]), "password_hash_b64": hashed} == {
            **old,
            "password_hash": users[name].password_hash,
        }


def test_a_user_is_still_the_same_after_the_next_token_update(moved: Store) -> None:
    channels = [one for one in BUCKETS["mdm.Users"].values() if one["user_id"]]
    before = {name: decode_user(name, body) for name, body in moved.documents("user")}
    service = Users(moved, make_uuid=lambda: "new", hash_password=str.encode)
    for old in channels:
        ref = user_channel(old["udid"], old["user_id"], old["user_shortname"], old["user_longname"])
        service.seen(ref, bytes.fromhex(old["auth_token"]))
    assert channels
    assert {name: decode_user(name, body) for name, body in moved.documents("user")} == before


def test_automated_enrollment_is_kept(moved: Store) -> None:
    (token,) = moved.documents("dep-token")
    want = next(one for key, one in BUCKETS["mdm.DEPToken"].items() if key.startswith("CK_"))
    assert StoredToken.of(token[1]).fields() == want
    ((name, pair),) = moved.documents("dep-key")
    assert name == BUCKETS["mdm.DEPToken"]["certificate"]["sha256"]
    assert base64.b64encode(read_key(pair)[0]).decode() == BUCKETS["mdm.DEPToken"]["certificate"]["der_b64"]
    assert (
        Rule.of(moved.document("dep-autoassigner", "default")).profile_uuid
        == BUCKETS["mdm.DEPAutoAssign"]["*"]
    )
    known = {name: KnownDevice.of(body) for name, body in moved.documents("dep-device")}
    told = [one for one in BUCKETS["mdm.Devices"].values() if not one["udid"] or one["dep_profile_status"]]
    assert known.keys() == {one["serial_number"] for one in told}
    for one in told:
        found = known[one["serial_number"]]
        assert (found.profile_status, found.facts.get("color", "")) == (
            one["dep_profile_status"],
            one["color"],
        )
        assert found.facts.get("profile_uuid", "") == one["dep_profile_uuid"]


def test_history_is_kept(moved: Store) -> None:
    found = {
        one.record.enrollment_id: one.commands for one in moved.content() if isinstance(one, MovedEnrollment)
    }
    for name, queue in QUEUES.items():
        commands = found[moved.enrollment(name).enrollment_id]
        done = [one for one in commands if one.state is CommandState.ACKNOWLEDGED]
        failed = [one for one in commands if one.state is CommandState.ERROR]
        assert [one.entry.command_uuid for one in done] == [c["uuid"] for c in queue["completed"]]
        assert [one.entry.command_uuid for one in failed] == [c["uuid"] for c in queue["failed"]]
        assert all(one.received_at is None for one in failed)
        for one, old in zip(done, queue["completed"], strict=True):
            assert old["acknowledged"] != NEVER
            assert one.received_at is not None
            assert int(one.received_at.timestamp()) == old["acknowledged"] // 1_000_000_000


def ref_of(name: str, one: Any) -> EnrollmentRef:
    if one["channel"] == "user":
        return resolve({"UDID": one["device"], "UserID": name})
    return resolve({"EnrollmentID" if one["channel"] == "user-enrollment" else "UDID": name})


@pytest.mark.parametrize("name", delivery())
def test_everybody_is_delivered_what_the_original_delivered(moved: Store, name: str) -> None:
    one = delivery()[name]
    holder = one.get("signed_with_identity_of") or one.get("device") or name
    if holder not in PINS:
        return  # the device that never enrolled
    device = Device(moved, ref_of(name, one), Identity(bytes.fromhex(PINS[holder]), BindingRule()))
    if one["result"].startswith("HTTP 401"):
        with pytest.raises(Unenroll):
            device.says("Idle")
        return
    want = [answer["command_uuid"] for answer in one["delivered"]]
    assert device.run(*(answer["status"] for answer in one["delivered"])) == [*want, ""]


def test_an_import_is_the_same_every_time() -> None:
    assert pieces()[0] == pieces()[0]


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(written({b"widgets": {b"a": b"1"}}))
    with pytest.raises(BadDatabase, match="not MicroMDM's"):
        pieces(path)


def test_the_sample_is_untouched() -> None:
    pieces()
    assert hashlib.sha256(SAMPLE.read_bytes()).hexdigest() == expected()["source"]["sha256"]
