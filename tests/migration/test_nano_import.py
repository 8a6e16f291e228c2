"""A filekv storage that NanoMDM itself has written: devices, a user, a user enrollment, their queues."""

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from micromdm_py.errors import BadDatabase, IdentityMismatch
from micromdm_py.migration.keys import authority
from micromdm_py.migration.messages import OldServerConfig, decode
from micromdm_py.migration.nano_files import NanoFiles, NanoFolder
from micromdm_py.migration.nano_import import nano_content
from micromdm_py.migration.report import Report
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule, Identity
from micromdm_py.storage.transfer import MovedAuthority
from tests.builders import NOW, Device, device, identity, user, user_enrollment
from tests.fakes.archive import unpack
from tests.migration.samples import FOLDER, expected, sample

BUSY = "DCCBBCAA-ADCC-49DA-9A76-B50ECE37EC16"
"""Had six commands: acknowledged, failed, put off with NotNow, one handed out, two untouched."""
QUIET, GONE = "DD59209E-AB89-4C13-8679-0139C8EA7C5C", "38E33F96-0EFC-4DAA-9747-8A0C657EBAE7"
USER = "11111111-AAAA-4BBB-8CCC-000000000001"
PINS = expected()["buckets"]["mdm.UDIDCertAuth"]
TOPIC = expected()["buckets"]["mdm.PushInfo"][BUSY]["mdm_topic"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    unpack(FOLDER / "nanomdm.tar.gz", tmp_path)
    return tmp_path / "db"


def moved(folder: Path, scep: MovedAuthority | None = None) -> tuple[MemoryStore, Report]:
    store, report = MemoryStore(), Report("")
    store.load(nano_content(NanoFolder(NanoFiles(folder), report), report, NOW, scep), at=NOW)
    return store, report


def holder(udid: str) -> Identity:
    return Identity(bytes.fromhex(PINS[udid]), BindingRule())


def test_enrollments_are_what_they_were(folder: Path) -> None:
    store, report = moved(folder)
    quiet = store.enrollment(QUIET)
    assert (quiet.kind, quiet.enrolled, quiet.listed) == (EnrollmentKind.DEVICE, True, True)
    assert quiet.facts == {"serial_number": "SERIAL1", "os_version": "15.1", "model": "Mac14,2"}
    assert quiet.unlock_token == b"unlock me"
    assert quiet.last_seen_at is not None
    assert quiet.last_seen_at > datetime(2026, 11, 23, tzinfo=UTC)
    assert store.enrollment(BUSY).bootstrap_token == b"bootstrap me"
    assert not store.enrollment(GONE).enrolled
    found = store.enrollment(f"{BUSY}:{USER}")
    assert (found.kind, found.user_short_name, found.user_long_name) == (
        EnrollmentKind.USER,
        "user1",
        "User One",
    )
    assert store.enrollment("E-1").kind is EnrollmentKind.USER_ENROLLMENT
    assert report.lossless


def test_push_data_and_certificate(folder: Path) -> None:
    store, _ = moved(folder)
    assert store.push_target(QUIET).token_hex == "01" * 32
    assert store.push_target(QUIET).push_magic == "magic 1"
    assert store.push_target(USER).token_hex == b"u".hex() * 32
    config = decode(OldServerConfig, sample()[b"mdm.ServerConfig"][b"config"])
    assert store.push_certificate(TOPIC).certificate == config.push_certificate


def test_queues_go_on_where_they_were(folder: Path) -> None:
    store, _ = moved(folder)
    busy = Device(store, device(BUSY), holder(BUSY))
    assert busy.run(*["Acknowledged"] * 4) == ["command-4", "command-5", "command-6", "command-3", ""]
    assert Device(store, device(QUIET), holder(QUIET)).run("Acknowledged") == ["shared-command", ""]
    assert Device(store, user(BUSY, USER), holder(BUSY)).run("Acknowledged") == ["user-command", ""]
    pinned = store.enrollment("E-1").fingerprint
    byod = Device(store, user_enrollment("E-1"), Identity(pinned, BindingRule()))
    assert byod.run("Acknowledged") == ["byod.command.with.dots", ""]
    assert [one.command_uuid for one in store.waiting("NEVER-ENROLLED")] == ["orphan"]


def test_history_is_kept_with_its_reports(folder: Path) -> None:
    store, _ = moved(folder)
    done, failed = store.command(BUSY, "command-1"), store.command(BUSY, "command-2")
    assert (done.state, done.request_type) == (CommandState.ACKNOWLEDGED, "DeviceInformation")
    assert (failed.state, failed.request_type) == (CommandState.ERROR, "ProfileList")
    assert b"command-1" in store.report_of(BUSY, "command-1")
    assert done.received_at is not None
    assert store.command(GONE, "shared-command").state is CommandState.ACKNOWLEDGED


def test_certificates_stay_bound_and_accepted(folder: Path) -> None:
    store, _ = moved(folder)
    for udid in (BUSY, QUIET, GONE):
        assert store.is_issued(bytes.fromhex(PINS[udid]))
    with pytest.raises(IdentityMismatch):
        Device(store, device(BUSY), identity("another")).says("Idle")


def test_an_authority_goes_on_with_room_for_unknown_certificates(folder: Path) -> None:
    depot = sample()[b"scep_certificates"]
    store, _ = moved(folder, authority(depot[b"ca_certificate"], depot[b"ca_key"], 0))
    serials: list[int] = []

    def make(serial: int) -> bytes:
        serials.append(serial)
        return b"new"

    store.issue(make, "new", at=NOW)
    assert serials == [10 + 10_000]


def test_what_cannot_be_read_is_lost_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "devices/DC/CB" / f"{BUSY}.auth").write_bytes(b"nonsense")
    (folder / "devices/DD/59" / f"{QUIET}.cert").write_bytes(b"nonsense")
    (folder / "cert_auth/DD/59" / f"{QUIET}.cert_hash").write_bytes(b"nonsense")
    (folder / "queue/us/er/user-command.raw").unlink()
    next((folder / "push_cert").rglob("*.key")).write_bytes(b"nonsense")
    _, report = moved(folder)
    assert {name: [key for key, _ in one.lost] for name, one in report.buckets.items() if one.lost} == {
        "push_cert": [f"{TOPIC}.pem"],
        "devices": [BUSY, f"{QUIET} certificate"],
        "cert_auth": [QUIET],
        "queue": [f"{BUSY}:{USER} user-command"],
    }


def test_a_queue_that_leads_back_to_itself_ends(folder: Path) -> None:
    (folder / "queue/DC/CB" / f"{BUSY}.command-6.queueitem.next").write_bytes(b"command-3")
    store, report = moved(folder)
    assert len(store.waiting(BUSY)) == 4
    assert any("leads back" in line for line in report.warnings)


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    path = folder / "queue/us/er/user-command.raw"
    path.unlink()
    path.symlink_to(secret)
    store, _ = moved(folder)
    assert store.waiting(USER) == []


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDatabase, match="not a filekv storage"):
        NanoFiles(tmp_path)
    with pytest.raises(BadDatabase, match="not a filekv storage"):
        NanoFiles(tmp_path / "nowhere")


def test_a_value_of_absurd_size_is_refused(folder: Path) -> None:
    with (folder / "devices/DC/CB" / f"{BUSY}.auth").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadDatabase, match="larger than 64 MiB"):
        moved(folder)


def test_the_sample_is_small() -> None:
    with tarfile.open(fileobj=io.BytesIO((FOLDER / "nanomdm.tar.gz").read_bytes())) as packed:
        assert all(one.isdir() or one.size < 10_000 for one in packed.getmembers())
