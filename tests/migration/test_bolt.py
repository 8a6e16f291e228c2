"""The bbolt reader: the sample of the original, files of our own writer, and files made to do harm."""

import fcntl
import hashlib
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.bolt import BRANCH, LEAF, PAGE_SIZES, BoltFile, Bucket, fnv1a
from micromdm_py.migration.bolt_writer import BoltWriter
from tests.migration.samples import SAMPLE, damage, expected, read, written


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "micromdm.db"
    path.write_bytes(SAMPLE.read_bytes())
    return path


def test_every_value_of_the_sample_is_read() -> None:
    got = {
        name.decode(): {
            key.decode("utf-8", "surrogateescape"): hashlib.sha256(value).hexdigest()
            for key, value in rows.items()
            if isinstance(value, bytes)
        }
        for name, rows in read(SAMPLE).items()
    }
    assert got == expected()["value_sha256"]


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_written_buckets_are_read_back(tmp_path: Path, page_size: int) -> None:
    many = {b"key %06d" % n: b"%d" % n * (n % 300) for n in range(3000)}
    buckets = {
        b"many": many,
        b"huge": {b"a": b"x" * 300_000, b"b": b"", b"c": b"y" * page_size},
        b"empty": {},
        b"small": {b"\xff\0": b"one"},
        b"long keys": {bytes([n]) * 3000: b"" for n in range(40)},
    }
    path = tmp_path / "new.db"
    path.write_bytes(written(buckets, page_size))
    assert read(path) == buckets
    with BoltFile(path) as opened:
        assert opened.page_size == page_size
        assert opened.note == ""


def test_an_empty_database_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    path.write_bytes(written({}))
    assert read(path) == {}


def test_many_buckets_are_read_back(tmp_path: Path) -> None:
    buckets = {b"bucket %04d" % n: {b"k": b"%d" % n} for n in range(500)}
    path = tmp_path / "new.db"
    path.write_bytes(written(buckets, 512))
    assert read(path) == buckets


def pages(data: bytes, page_size: int) -> list[tuple[int, int, int]]:
    """Flags, number of elements and further pages of each page of a file."""
    found = []
    at = 0
    while at < len(data):
        number, flags, count, more = struct.unpack_from("<QHHI", data, at)
        assert number == at // page_size
        found.append((flags, count, more))
        at += (1 + more) * page_size
    return found


def test_pages_of_a_written_file_are_as_full_as_bbolt_makes_them() -> None:
    small = {b"%05d" % n + b"k" * 200: b"v" * 200 for n in range(2 * 3 * 5 * 7)}
    tight = {b"%04d" % n: b"v" * 104 for n in range(8)}  # 4 fill a page of 512 bytes to the last
    named = {b"bucket %04d" % n: {b"k": b"v" * 20} for n in range(50)}
    found = pages(written({b"small": small, b"tight": tight, **named}, 512), 512)
    assert min(count for flags, count, _ in found if flags == BRANCH) == 2
    assert {more for flags, _, more in found if flags == LEAF} == {0}
    assert [count for flags, count, _ in found if flags == LEAF].count(4) >= 2


@pytest.mark.parametrize(("value_bytes", "leaves"), [(95, 1), (96, 2)])
def test_a_bucket_of_a_quarter_of_a_page_is_inline(value_bytes: int, leaves: int) -> None:
    # A quarter of 512: page header 16, element 16, key 1.
    data = written({b"b": {b"k": b"v" * value_bytes}}, 512)
    assert [flags for flags, _, _ in pages(data, 512)].count(LEAF) == leaves


@pytest.mark.parametrize("rows", [[(b"b", b""), (b"a", b"")], [(b"a", b""), (b"a", b"")], [(b"", b"")]])
def test_rows_out_of_order_are_not_written(rows: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BadDatabase):
        BoltWriter(io.BytesIO()).bucket(b"b", rows)


@pytest.mark.parametrize(("page", "which"), [(0, "first"), (4096, "second")])
def test_a_damaged_meta_page_is_made_up_for_by_the_other(file: Path, page: int, which: str) -> None:
    damage(file, page + 20, b"\xff")
    with BoltFile(file) as opened:
        assert which in opened.note
        assert len(list(opened.buckets())) >= 15


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_the_second_meta_page_is_found_at_any_page_size(tmp_path: Path, page_size: int) -> None:
    path = tmp_path / "new.db"
    path.write_bytes(written({b"a": {b"k": b"v"}}, page_size))
    damage(path, 20, b"\xff")
    assert read(path) == {b"a": {b"k": b"v"}}


@pytest.mark.parametrize(("at", "value"), [(16, b"\xee"), (20, b"\x01"), (24, b"\x01")])
def test_a_meta_page_of_another_format_does_not_count(file: Path, at: int, value: bytes) -> None:
    data = bytearray(file.read_bytes())
    for page in (0, 4096):
        data[page + at : page + at + 1] = value
        struct.pack_into("<Q", data, page + 72, fnv1a(data[page + 16 : page + 72]))
    file.write_bytes(data)
    with pytest.raises(BadDatabase, match="not a bbolt database"):
        BoltFile(file)


def test_two_damaged_meta_pages_are_refused(file: Path) -> None:
    damage(file, 20, b"\xff")
    damage(file, 4096 + 20, b"\xff")
    with pytest.raises(BadDatabase, match="not a bbolt database"):
        BoltFile(file)


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\0" * 9000, b"\0" * 200_000])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "micromdm.db"
    path.write_bytes(content)
    with pytest.raises(BadDatabase, match=r"empty|not a bbolt database"):
        BoltFile(path)


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(BadDatabase, match="no such file"):
        BoltFile(tmp_path / "nowhere.db")
    assert list(tmp_path.iterdir()) == []


def test_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadDatabase, match=r"is not a file|is a directory"):
            BoltFile(path)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.999])
def test_a_file_that_is_cut_off_is_refused(file: Path, part: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(BadDatabase, match="is cut off"):
        read(file)


def test_the_database_of_a_running_server_is_refused(file: Path) -> None:
    holder = (
        "import fcntl,sys; f=open(sys.argv[1],'rb+'); fcntl.flock(f,2); print(1,flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        server.stdout.readline()
        with pytest.raises(BadDatabase, match="/boltbackup"):
            BoltFile(file)
        server.stdin.close()
    assert read(file)


def test_the_lock_is_given_up_on_closing_and_on_refusal(file: Path) -> None:
    read(file)
    damage(file, 4096 + 20, b"\xff")
    damage(file, 20, b"\xff")
    with pytest.raises(BadDatabase):
        BoltFile(file)
    with file.open("rb+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_page_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    path.write_bytes(written({b"b": {b"%06d" % n: b"v" * 100 for n in range(500)}}))
    data = path.read_bytes()
    branch = next(n for n in range(2, len(data) // 4096) if data[n * 4096 + 8] == 1)
    for target in (branch, 0, 1, 2, 1 << 40):
        damage(path, branch * 4096 + 16 + 8, struct.pack("<Q", target))
        with pytest.raises(BadDatabase, match="page"):
            read(path)


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (8, b"\x02\0\xff\xff"),  # more entries than the page has room for
        (12, b"\xff\xff\xff\xff"),  # a page larger than the file
        (16 + 4, b"\xff\xff\xff\x7f"),  # position of the first row
        (16 + 8, b"\xff\xff\xff\xff"),  # its key
        (16 + 12, b"\xff\xff\xff\xff"),  # its value
        (0, b"\x63"),  # another page's number
    ],
)
def test_absurd_sizes_are_refused(tmp_path: Path, offset: int, data: bytes) -> None:
    path = tmp_path / "new.db"
    path.write_bytes(written({b"b": {b"%06d" % n: b"v" * 100 for n in range(500)}}))
    damage(path, 3 * 4096 + offset, data)
    with pytest.raises(BadDatabase, match="is damaged"):
        read(path)


def test_rows_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A small file must not be able to become a large one in memory."""
    path = tmp_path / "new.db"
    path.write_bytes(written({b"b": {b"%06d" % n: b"v" * 3000 for n in range(9)}}))
    count = 200
    element = struct.pack("<IIII", 0, 16, 0, 3000)
    damage(path, 3 * 4096 + 10, struct.pack("<H", count))
    damage(path, 3 * 4096 + 16, element * count)
    with pytest.raises(BadDatabase, match="is damaged"):
        read(path)


def test_keys_out_of_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    path.write_bytes(written({b"b": {b"aaaa": b"1" * 2000, b"bbbb": b"2"}}))
    at = path.read_bytes().index(b"aaaa")
    damage(path, at, b"zzzz")
    with pytest.raises(BadDatabase, match="out of order"):
        read(path)


def test_a_bucket_in_a_bucket_is_told_apart_from_a_value(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    inner = struct.pack("<QQ", 0, 0) + struct.pack("<QHHI", 0, 2, 0, 0)
    path.write_bytes(written({b"b": {b"inner": inner, b"value": b"1"}}))
    at = path.read_bytes().rindex(b"innervalue"[:5]) - 32
    damage(path, at, struct.pack("<I", 1))
    with BoltFile(path) as file:
        rows = dict(file.rows(dict(file.buckets())[b"b"]))
        assert rows[b"value"] == b"1"
        nested = rows[b"inner"]
        assert isinstance(nested, Bucket)
        assert list(file.rows(nested)) == []


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_anywhere_ends_in_one_error_or_in_rows(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes of the sample are replaced where they matter most; nothing but BadDatabase may come of it."""
    content = bytearray(SAMPLE.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        page = data.draw(st.integers(0, len(content) // 4096 - 1)) * 4096
        at = page + data.draw(st.one_of(st.integers(0, 120), st.integers(0, 4088)))
        content[at : at + 8] = data.draw(
            st.one_of(
                st.binary(min_size=8, max_size=8), st.integers(0, 80).map(lambda n: struct.pack("<Q", n))
            )
        )
    if data.draw(st.booleans()):
        for page in (0, 4096):
            content[page + 72 : page + 80] = struct.pack("<Q", fnv1a(bytes(content[page + 16 : page + 72])))
    path = tmp_path_factory.getbasetemp() / "fuzzed.db"
    path.write_bytes(content)
    try:
        total = sum(
            len(value) for rows in read(path).values() for value in rows.values() if isinstance(value, bytes)
        )
    except BadDatabase:
        return
    assert total <= len(content)


def test_the_sample_is_the_one_that_its_description_is_of() -> None:
    assert hashlib.sha256(SAMPLE.read_bytes()).hexdigest() == expected()["source"]["sha256"]
