"""/repo/: files, ranges, conditions."""

import os
from email.utils import formatdate
from pathlib import Path

import pytest

from micromdm_py.http.partial import part_for
from micromdm_py.storage.filerepo import FileRepository
from tests.http.bench import Answer, Bench

CONTENT = bytes(range(256)) * 4
CHANGED_NS = 1_700_000_000_500_000_000
TAG = f'"{CHANGED_NS:x}-{len(CONTENT):x}"'
DATE, BEFORE, AFTER = (formatdate(1_700_000_000 + more, usegmt=True) for more in (0, -1, 1))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    for name in ("a.pkg", "empty", "m.PLIST", "x.tar.gz", "sub/b.dmg"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"" if name == "empty" else CONTENT)
        os.utime(file, ns=(CHANGED_NS, CHANGED_NS))
    return Bench(files=FileRepository(tmp_path))


def get(bench: Bench, name: str, method: str = "GET", **headers: str) -> Answer:
    return bench.ask(method, f"/repo/{name}", key=None, **headers)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pkg", "application/x-xar"),
        ("m.PLIST", "text/xml; charset=utf-8"),
        ("x.tar.gz", "application/octet-stream"),
        ("sub/b.dmg", "application/x-apple-diskimage"),
        ("empty", "application/octet-stream"),
    ],
)
def test_a_file_comes_with_its_type_and_validators(bench: Bench, name: str, kind: str) -> None:
    got, head = get(bench, name), get(bench, name, "HEAD")
    assert (got.status, got.headers["content-type"]) == (200, kind)
    assert got.body == (b"" if name == "empty" else CONTENT)
    assert got.headers["content-length"] == str(len(got.body))
    assert got.headers["accept-ranges"] == "bytes" and got.headers["last-modified"] == DATE
    assert head.body == b"" and head.headers.items() - got.headers.items() <= {("x-request-id", "request-2")}


@pytest.mark.parametrize(
    "name", ["", "nope", "sub", "sub/", ".", "..%2F..%2Fetc%2Fpasswd", "a.pkg%00", "%FF"]
)
def test_what_is_no_file_is_not_found_and_nothing_is_listed(bench: Bench, name: str) -> None:
    answer = get(bench, name)
    assert answer.status in (301, 404) and b"a.pkg" not in answer.body
    if answer.status == 301:
        assert not answer.headers["location"].startswith("//")


def test_only_reading_is_allowed(bench: Bench) -> None:
    for method in ("PUT", "POST", "DELETE", "OPTIONS"):
        answer = get(bench, "a.pkg", method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_without_a_repository_there_is_no_route() -> None:
    assert get(Bench(), "a.pkg").status == 404


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=1000-", (1000, 1024)),
        ("bytes=1000-9999999", (1000, 1024)),
        ("bytes=-24", (1000, 1024)),
        ("bytes=-5000", (0, 1024)),
        ("Bytes= 5-6 ", (5, 7)),
    ],
)
def test_a_range_is_that_part_of_the_file(bench: Bench, header: str, wanted: tuple[int, int]) -> None:
    start, end = wanted
    answer = get(bench, "a.pkg", range=header)
    assert (answer.status, answer.body) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1024"
    assert answer.headers["content-length"] == str(end - start)
    assert get(bench, "a.pkg", "HEAD", range=header).status == 200


@pytest.mark.parametrize("header", ["bytes=1024-", "bytes=99999-99999", "bytes=-0"])
def test_a_range_beyond_the_end_is_416(bench: Bench, header: str) -> None:
    answer = get(bench, "a.pkg", range=header)
    assert (answer.status, answer.body, answer.headers["content-range"]) == (416, b"", "bytes */1024")


@pytest.mark.parametrize(
    "header",
    [
        "bytes=5-4",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes=+1-2",
        "bytes=\u0661-2",
        "x",
    ],
)
def test_a_range_that_means_nothing_gets_the_whole_file(header: str) -> None:
    part = part_for({"HTTP_RANGE": header}, 1024, CHANGED_NS)
    assert (part.status, part.length) == (200, 1024)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (304, {"if_none_match": TAG}),
        (304, {"if_none_match": f'"x", W/{TAG}'}),
        (304, {"if_none_match": "*"}),
        (200, {"if_none_match": '"x"', "if_modified_since": AFTER}),
        (304, {"if_modified_since": DATE}),
        (304, {"if_modified_since": AFTER}),
        (200, {"if_modified_since": BEFORE}),
        (200, {"if_modified_since": "yesterday"}),
        (200, {"if_modified_since": "Mon, 99 Foo 2023 99:99:99 GMT"}),
        (200, {"if_match": TAG, "if_unmodified_since": BEFORE}),
        (200, {"if_match": "*"}),
        (412, {"if_match": f"W/{TAG}"}),
        (412, {"if_match": '"x"'}),
        (412, {"if_unmodified_since": BEFORE}),
        (200, {"if_unmodified_since": DATE}),
        (206, {"range": "bytes=0-1", "if_range": TAG}),
        (206, {"range": "bytes=0-1", "if_range": DATE}),
        (200, {"range": "bytes=0-1", "if_range": f"W/{TAG}"}),
        (200, {"range": "bytes=0-1", "if_range": AFTER}),
        (304, {"range": "bytes=0-1", "if_none_match": TAG}),
    ],
)
def test_conditions(bench: Bench, status: int, headers: dict[str, str]) -> None:
    answer = get(bench, "a.pkg", **headers)
    assert answer.status == status
    assert answer.headers["etag"] == TAG
    assert len(answer.body) == {200: 1024, 206: 2}.get(status, 0)
