"""/v1/apps: uploads in any order, whole or not at all, and the list."""

import base64
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from micromdm_py.protocol import plist
from micromdm_py.storage.filerepo import FileRepository
from tests.fakes.packages import package
from tests.http.bench import Answer, Bench

MANIFEST = plist.dumps_indented({"items": [{"assets": [{"kind": "software-package"}]}]})
FORM = "multipart/form-data; boundary=B"
Part = tuple[str, bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder


@pytest.fixture
def bench(folder: Path) -> Bench:
    return Bench(files=FileRepository(folder, [folder / "micromdm.lmdb"]))


def form(*parts: Part, end: bytes = b"--B--\r\n") -> bytes:
    found = b""
    for name, content in parts:
        file = b'; filename="ignored"\r\nContent-Type: application/octet-stream' if "data" in name else b""
        disposition = b'--B\r\nContent-Disposition: form-data; name="%s"' % name.encode()
        found += disposition + file + b"\r\n\r\n" + content + b"\r\n"
    return found + end


def put(bench: Bench, *parts: Part, query: str = "", chunked: bool = False) -> Answer:
    return bench.ask("PUT", f"/v1/apps{query}", form(*parts), content_type=FORM, chunked=chunked)


def listed(bench: Bench, body: bytes = b"{}") -> list[str]:
    answer = bench.ask("POST", "/v1/apps", body)
    assert answer.status == 200
    return [app["name"] for app in answer.json().get("apps", [])]


NAMES = (("app_manifest_filename", b"a.plist"), ("pkg_name", b"a.pkg"))
FILES = (("app_manifest_filedata", MANIFEST), ("pkg_filedata", b"PKG\r\n--A\r\n--\r" * 40_000))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("parts", [NAMES + FILES, FILES + NAMES, (FILES[0], NAMES[0], FILES[1], NAMES[1])])
def test_fields_come_in_any_order(bench: Bench, folder: Path, parts: tuple[Part, ...], chunked: bool) -> None:
    answer = put(bench, *parts, ("other", b"x"), chunked=chunked)
    assert (answer.status, answer.body) == (200, b"{}\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.plist": FILES[0][1],
        "a.pkg": FILES[1][1],
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
    assert bench.ask("GET", "/repo/a.pkg", key=None).body == FILES[1][1]


def test_each_pair_is_optional_and_replaces(bench: Bench, folder: Path) -> None:
    assert put(bench, NAMES[1], FILES[1]).status == 200
    assert put(bench, NAMES[1], ("pkg_filedata", b"new")).status == 200
    assert put(bench, NAMES[0], FILES[0]).status == 200
    assert put(bench).status == 200
    assert put(bench, ("pkg_name", b"")).status == 200
    assert (folder / "a.pkg").read_bytes() == b"new"


def test_of_a_repeated_field_the_first_counts(bench: Bench, folder: Path) -> None:
    put(bench, NAMES[1], FILES[1], ("pkg_name", b"b.pkg"), ("pkg_filedata", b"second"))
    assert [path.name for path in folder.iterdir()] == ["a.pkg"]
    assert (folder / "a.pkg").read_bytes() == FILES[1][1]


@pytest.mark.parametrize(
    "name",
    ["../evil.pkg", "/etc/evil", "sub/a.pkg", "..", ".", ".hidden", "a\0b", "a\nb", "x" * 241, "\udcff.pkg"],
)
@pytest.mark.parametrize("field", ["pkg_name", "app_manifest_filename"])
def test_names_that_leave_the_folder_are_refused(bench: Bench, folder: Path, field: str, name: str) -> None:
    data = dict(zip(("pkg_name", "app_manifest_filename"), reversed(FILES), strict=True))[field]
    answer = put(bench, data, (field, name.encode("utf-8", "surrogateescape")))
    assert answer.status == 400 and answer.error.startswith(f"{field}: ")
    assert not list(folder.iterdir()) and len(list(folder.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ((NAMES[1],), "pkg_filedata"),
        ((FILES[1],), "pkg_name"),
        ((NAMES[0],), "app_manifest_filedata"),
        ((FILES[0], NAMES[1], FILES[1]), "app_manifest_filename"),
        ((*FILES, ("pkg_name", b"a"), ("app_manifest_filename", b"a")), "app_manifest_filename"),
    ],
)
def test_a_file_without_name_or_a_name_without_file_is_refused(
    bench: Bench, folder: Path, parts: tuple[Part, ...], field: str
) -> None:
    answer = put(bench, *parts)
    assert answer.status == 400 and answer.error.startswith(f"{field}: ")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b"{}"),
        ("application/json", b"{}"),
        ("multipart/form-data", form(*NAMES, *FILES)),
        (FORM, b""),
        (FORM, b"no form"),
        (FORM, form(*NAMES, *FILES, end=b"")),
        (FORM, form(*NAMES, *FILES)[:-20]),
        (FORM, form(*NAMES, *FILES)[:200_000]),
        (FORM, b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--B--\r\n'),
        (FORM, b"--B\r\n" + b"x" * 100_000),
        (FORM, form(*[(f"f{number}", b"") for number in range(100)])),
    ],
)
def test_what_is_no_sound_form_is_refused_and_leaves_nothing(
    bench: Bench, folder: Path, content_type: str, body: bytes
) -> None:
    answer = bench.ask("PUT", "/v1/apps", body, content_type=content_type)
    assert answer.status == 400 and answer.error
    assert not list(folder.iterdir())


class Breaking:
    """A body that breaks off."""

    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    def read(self, size: int) -> bytes:
        if not (data := self._body.read(size)):
            raise ConnectionResetError
        return data


def test_an_upload_that_breaks_off_leaves_nothing(bench: Bench, folder: Path) -> None:
    body = form(*NAMES, *FILES)
    for length in (0, 300, 200_000, len(body) - 1, len(body)):
        answer = bench.ask("PUT", "/v1/apps", source=Breaking(body[:length]), chunked=True, content_type=FORM)
        assert answer.status == 400 and not list(folder.iterdir())


def test_a_name_that_something_else_has_is_refused(bench: Bench, folder: Path) -> None:
    (folder / "sub").mkdir()
    for name in (b"sub", b"micromdm.lmdb"):
        assert put(bench, *NAMES[:1], FILES[0], FILES[1], ("pkg_name", name)).status == 409
    assert [path.name for path in folder.iterdir()] == ["sub"]


def test_the_manifest_of_a_signed_package_is_made(bench: Bench, folder: Path) -> None:
    answer = put(bench, ("pkg_filedata", package()), ("pkg_name", "Größe 1.pkg".encode()), query="?manifest")
    assert answer.json() == {"manifest_url": "https://mdm.example.com/repo/Gr%C3%B6%C3%9Fe%201.plist"}
    manifest = plist.loads((folder / "Größe 1.plist").read_bytes())
    assert "https://mdm.example.com/repo/Gr%C3%B6%C3%9Fe%201.pkg" in str(manifest)
    assert "sha256s" in str(manifest)
    assert listed(bench) == ["Größe 1.plist"]
    named = put(
        bench, ("pkg_filedata", package()), NAMES[1], ("app_manifest_filename", b"b.plist"), query="?manifest"
    )
    assert named.json() == {"manifest_url": "https://mdm.example.com/repo/b.plist"}


@pytest.mark.parametrize(
    "parts",
    [
        (("pkg_filedata", package(signed=False)), NAMES[1]),
        (("pkg_filedata", package()[:-1000] + bytes(1000)), NAMES[1]),
        (("pkg_filedata", package(name="PackageInfo")), NAMES[1]),
        (FILES[1], NAMES[1]),
        (("pkg_filedata", package()), NAMES[1], *FILES[:1], *NAMES[:1]),
        (FILES[0], NAMES[0]),
    ],
    ids=["unsigned", "broken", "component", "none", "manifest too", "no package"],
)
def test_a_manifest_is_made_of_sound_signed_packages_only(
    bench: Bench, folder: Path, parts: tuple[Part, ...]
) -> None:
    answer = put(bench, *parts, query="?manifest=true")
    assert answer.status == 400 and answer.error
    assert not list(folder.iterdir())


def test_the_list_is_sorted_and_leaves_out_what_is_no_manifest(bench: Bench, folder: Path) -> None:
    for name in ("b.plist", "a.plist", ".hidden.plist", "c.pkg"):
        (folder / name).write_bytes(MANIFEST)
    (folder / "bad.plist").write_bytes(b"not a plist")
    (folder / "other.plist").write_bytes(plist.dumps_compact({"Label": "x"}))
    (folder / "folder.plist").mkdir()
    os.mkfifo(folder / "pipe.plist")
    assert listed(bench) == ["a.plist", "b.plist"]
    (app, _) = bench.ask("POST", "/v1/apps", b"{}").json()["apps"]
    assert base64.b64decode(app["payload"]) == MANIFEST


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"filter_name": ["b.plist"]}', ["b.plist"]),
        (b'{"Opts": {"filter_name": ["b.plist"]}}', ["b.plist"]),
        (b'{"opts": {"Filter_Name": ["b.plist", "a.plist"]}}', ["a.plist", "b.plist"]),
        (b'{"filter_name": [""]}', ["a.plist", "b.plist"]),
        (b'{"filter_name": null}', ["a.plist", "b.plist"]),
        (b"null", ["a.plist", "b.plist"]),
    ],
)
def test_both_forms_of_the_filter_count(bench: Bench, folder: Path, body: bytes, names: list[str]) -> None:
    for name in ("b.plist", "a.plist"):
        (folder / name).write_bytes(MANIFEST)
    assert listed(bench, body) == names


@pytest.mark.parametrize("name", ["nope.plist", "../x.plist", "a.pkg"])
def test_an_unknown_name_is_404(bench: Bench, name: str) -> None:
    answer = bench.ask("POST", "/v1/apps", b'{"filter_name": ["%s"]}' % name.encode())
    assert (answer.status, answer.error) == (404, f"not found: App name {name}")


def test_without_a_repository_there_are_no_apps() -> None:
    assert Bench().ask("POST", "/v1/apps", b"{}").status == 503
    assert put(Bench(), *NAMES, *FILES).status == 503


def test_an_upload_is_in_the_audit_log(bench: Bench) -> None:
    put(bench, *NAMES, *FILES)
    (entry,) = bench.store.audit_entries().entries
    assert (entry.action, entry.target) == ("mdm.apple.app.set", "a.pkg a.plist")


def pieces(count: int) -> Iterator[bytes]:
    yield form(NAMES[1])[:-7] + b'--B\r\nContent-Disposition: form-data; name="pkg_filedata"\r\n\r\n'
    for _ in range(count):
        yield bytes(1 << 16)
    yield b"\r\n--B--\r\n"


class Flowing:
    """A large body, of which only a piece is there at a time."""

    def __init__(self, count: int) -> None:
        self._pieces, self._rest = pieces(count), b""

    def read(self, size: int) -> bytes:
        piece = self._rest or next(self._pieces, b"")
        self._rest = piece[size:]
        return piece[:size]


def test_uploads_are_larger_than_bodies_may_be(bench: Bench, folder: Path) -> None:
    answer = bench.ask("PUT", "/v1/apps", source=Flowing(400), chunked=True, content_type=FORM)
    assert answer.status == 200
    assert (folder / "a.pkg").stat().st_size == 400 << 16
