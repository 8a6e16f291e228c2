"""Dumps of the databases of a real NanoMDM: devices, a user, a user enrollment, their queues.

PostgreSQL's with COPY, and with INSERT and binary data in its older form; MySQL's in the newest schema, and
in the first one, which knows no bootstrap tokens, with binary data in hexadecimal digits.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.nano_dump import NanoDump
from micromdm_py.migration.nano_import import nano_content
from micromdm_py.migration.report import Report
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule, Identity
from tests.builders import NOW, Device, device, user
from tests.fakes.archive import unpack
from tests.migration.samples import FOLDER

BUSY = "00CD6DFA-9B3E-4918-98E3-A0CCC0660428"
"""Acknowledged, failed, put off with NotNow, one handed out, two untouched, and one that others have too."""
TOKENS, GONE = "0CBD55A5-EE79-4E3B-ACD7-B0BB0F90FDC2", "1F54E0B2-080B-45AD-8D95-36BC708A642C"
AGAIN = "7FCA062A-E3CB-4653-B19E-D532123C7EA3"
"""Has enrolled again, with one command in its queue; got another one since."""
OWNER, USER = "9FD0461C-78EC-41AF-BF13-ED01E6A2108C", "11111111-AAAA-4BBB-8CCC-000000000001"
ODD = 'it\'s "odd" \\ back\\n slash\ttab\nline `tick` $$ ; -- /* */ \U0001f600 ü'
UNLOCK = bytes(range(256)) + b"'\\\x00\n\r\x1a\"x"
NAMES = ["postgresql", "postgresql-inserts", "mysql", "mysql-first-schema"]


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    unpack(FOLDER / "nanomdm-dumps.tar.gz", folder)
    return folder


@pytest.fixture(params=NAMES)
def dump(request: pytest.FixtureRequest, dumps: Path) -> Path:
    return dumps / f"{request.param}.sql"


def moved(path: Path) -> tuple[MemoryStore, Report]:
    store, report = MemoryStore(), Report("")
    with NanoDump(path, report) as storage:
        store.load(nano_content(storage, report, NOW), at=NOW)
    return store, report


def changed(dump: Path, target: Path, old: str, new: str) -> Path:
    """A copy with one thing changed."""
    data = dump.read_bytes()
    assert old.encode() in data
    target.write_bytes(data.replace(old.encode(), new.encode()))
    return target


def test_enrollments_are_what_they_were(dump: Path) -> None:
    store, report = moved(dump)
    assert report.lossless
    assert report.enrollments == {"device": 6, "user enrollment": 1, "user": 1}
    busy, again = store.enrollment(BUSY), store.enrollment(AGAIN)
    assert (busy.kind, busy.enrolled, busy.listed) == (EnrollmentKind.DEVICE, True, True)
    assert (again.facts["serial_number"], again.facts["device_name"]) == ("SERIAL3", ODD)
    assert not store.enrollment(GONE).enrolled
    found = store.enrollment(f"{OWNER}:{USER}")
    assert (found.kind, found.user_short_name) == (EnrollmentKind.USER, "us'er1")
    assert found.user_long_name == "Üser \\One"
    assert store.enrollment("E-1").kind is EnrollmentKind.USER_ENROLLMENT


def test_tokens_and_push_data(dump: Path) -> None:
    store, _ = moved(dump)
    found, push = store.enrollment(TOKENS), store.push_target(TOKENS)
    first = dump.name.startswith("mysql-first")
    assert found.unlock_token == UNLOCK
    assert found.bootstrap_token == (b"" if first else b"bootstrap me")
    assert (push.token_hex, push.push_magic) == ("01" * 32, "ma'gic\\1")
    assert b"CERTIFICATE" in store.push_certificate(push.topic).certificate
    assert (found.last_seen_at is None) == first
    assert found.token_update_at is not None
    assert found.token_update_at.replace(second=0, microsecond=0) == datetime(2026, 11, 23, 14, 6, tzinfo=UTC)


def test_queues_go_on_where_they_were(dump: Path) -> None:
    store, report = moved(dump)
    busy = Device(store, device(BUSY), Identity(store.enrollment(BUSY).fingerprint, BindingRule()))
    rest = ["command-4", "command-5", "command-6", "shared-command", "command-3", ""]
    assert busy.run(*["Acknowledged"] * 5) == rest
    holder = Identity(store.enrollment(OWNER).fingerprint, BindingRule())
    assert Device(store, user(OWNER, USER), holder).run("Acknowledged") == ["user-command", ""]
    assert [one.command_uuid for one in store.waiting("E-1")] == ["byod.command"]
    assert [one.command_uuid for one in store.waiting(AGAIN)] == ["after"]
    assert (report.buckets["queue"].read, report.buckets["queue"].left) == (15, 1)


def test_history_is_kept_with_its_reports(dump: Path) -> None:
    store, _ = moved(dump)
    done, failed = store.command(BUSY, "command-1"), store.command(BUSY, "command-2")
    assert (done.state, done.request_type) == (CommandState.ACKNOWLEDGED, "DeviceInformation")
    assert failed.state is CommandState.ERROR
    assert b"command-1" in store.report_of(BUSY, "command-1")
    assert done.received_at is not None
    assert store.command(BUSY, "command-3").state is CommandState.TRIED


def test_certificates_stay_accepted(dump: Path) -> None:
    store, _ = moved(dump)
    for name in (BUSY, TOKENS, GONE, AGAIN, OWNER):
        assert store.is_issued(store.enrollment(name).fingerprint)


def test_the_certificate_that_was_shown_last_counts(dumps: Path, tmp_path: Path) -> None:
    begin = "COPY public.cert_auth_associations (id, sha256, created_at, updated_at) FROM stdin;\n"
    rows = "".join(
        f"{BUSY}\t{digit * 64}\t2026-01-01 00:00:00\t{year}-01-01 00:00:00\n"
        for digit, year in (("a", 2026), ("b", 2027), ("c", 2025))
    )
    store, _ = moved(changed(dumps / "postgresql.sql", tmp_path / "x.sql", begin, begin + rows))
    assert store.enrollment(BUSY).fingerprint.hex() == "b" * 64


def test_what_cannot_be_read_is_lost_and_the_rest_goes_on(dumps: Path, tmp_path: Path) -> None:
    path = changed(dumps / "mysql.sql", tmp_path / "x.sql", "'Acknowledged'", "'Odd'")
    path = changed(path, path, "'0101", "'x101")
    path = changed(path, path, f"'{BUSY}','-----BEGIN CERTIFICATE-----", f"'{BUSY}','-----nonsense")
    _, report = moved(path)
    assert {name: [key for key, _ in one.lost] for name, one in report.buckets.items() if one.lost} == {
        "devices": [f"{BUSY} certificate"],
        "queue": [f"{BUSY} command-1"],
        "enrollments": [TOKENS],
    }


def test_an_unlock_token_that_cannot_be_read_is_lost(dumps: Path, tmp_path: Path) -> None:
    path = changed(dumps / "postgresql.sql", tmp_path / "x.sql", "\\\\x0001", "\\\\x000Z")
    store, report = moved(path)
    assert report.buckets["enrollments"].lost == [(TOKENS, "the unlock token cannot be read")]
    assert store.enrollment(TOKENS).unlock_token == b""


@pytest.mark.parametrize("name", ["", "x" * 300, "line\\nbreak"])
def test_the_queue_of_what_can_be_no_id_is_lost(dumps: Path, tmp_path: Path, name: str) -> None:
    begin = "COPY public.enrollment_queue (id, command_uuid) FROM stdin;\n"
    row = f"{begin}{name}\tcommand-1\n\\.\n"
    old = "COPY public.enrollment_queue ("
    _, report = moved(changed(dumps / "postgresql.sql", tmp_path / "x.sql", old, row + old))
    assert len(report.buckets["queue"].lost) == 1


def test_a_row_that_comes_twice_is_refused(dumps: Path, tmp_path: Path) -> None:
    statement = "COPY public.users ("
    row = f"COPY public.users (id) FROM stdin;\n{OWNER}:{USER}\n\\.\n"
    path = changed(dumps / "postgresql.sql", tmp_path / "x.sql", statement, row + statement)
    with pytest.raises(BadDatabase, match="two rows of users with one key"):
        NanoDump(path, Report(""))


def test_a_dump_that_is_cut_off_is_refused_wherever_it_ends(dump: Path, tmp_path: Path) -> None:
    data = dump.read_bytes()
    end = data.rindex(b"-- PostgreSQL" if dump.name.startswith("post") else b"-- Dump completed")
    path = tmp_path / "cut.sql"
    for size in (*range(200, end, end // 40), end):
        path.write_bytes(data[:size])
        with pytest.raises(BadDatabase, match="is cut off"):
            NanoDump(path, Report(""))
