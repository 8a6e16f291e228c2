"""The file repository: which names lead to a file."""

import os
from pathlib import Path

import pytest

from micromdm_py.errors import NotFound, StorageUnavailable
from micromdm_py.storage.filerepo import FileRepository
from tests.fakes.full_disk import full_disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.pkg", "sub/b.pkg", ".hidden", "Größe 1.pkg"):
        (folder / name).write_bytes(name.encode())
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def content(folder: Path, name: str, *private: Path) -> bytes:
    stored = FileRepository(folder, private).open(name)
    with stored.file:
        assert stored.size == os.fstat(stored.file.fileno()).st_size
        return stored.file.read()


@pytest.mark.parametrize("name", ["a.pkg", "sub/b.pkg", "Größe 1.pkg"])
def test_a_file_is_opened_by_its_name(folder: Path, name: str) -> None:
    assert content(folder, name) == name.encode()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secret",
        "sub/../../secret",
        "sub/../a.pkg",
        "/etc/passwd",
        "sub",
        "sub/",
        "a.pkg/",
        "a.pkg/x",
        "nope",
        ".hidden",
        "sub/.hidden",
        "a.pkg\0",
        "x" * 300,
        "\ud800",
    ],
)
def test_other_names_lead_nowhere(folder: Path, name: str) -> None:
    with pytest.raises(NotFound):
        content(folder, name)


def test_only_regular_files_are_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(NotFound):
        content(folder, "pipe")


def test_links_are_followed_but_not_to_the_state_of_the_server(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "circle").symlink_to(folder / "circle")
    assert content(folder, "link") == b"secret"
    for name, private in (("link", tmp_path / "sec"), ("circle", tmp_path / "none")):
        with pytest.raises(NotFound):
            content(folder, name, private)


def test_the_state_of_the_server_stays_inside_when_it_lies_in_the_folder(folder: Path) -> None:
    store = folder / "micromdm.lmdb"
    for path in (store, folder / "micromdm.lmdb.old"):
        path.mkdir()
        (path / "data.mdb").write_bytes(b"secret")
        with pytest.raises(NotFound):
            content(folder, f"{path.name}/data.mdb", store)
    assert content(folder, "a.pkg", store)


def test_a_draft_is_gone_unless_it_is_kept(folder: Path) -> None:
    files = FileRepository(folder)
    before = set(folder.iterdir())
    with files.draft() as draft:
        draft.write(b"x")
        assert len(set(folder.iterdir())) == len(before) + 1
        assert files.names("") == sorted(["a.pkg", "Größe 1.pkg"])
    assert set(folder.iterdir()) == before


def test_what_a_killed_process_left_is_swept_away_but_nothing_else(folder: Path) -> None:
    files = FileRepository(folder)
    (folder / ".upload-left").write_bytes(b"x")
    with files.draft() as draft:
        draft.write(b"new")
        files.sweep()
        assert not (folder / ".upload-left").exists()
        files.keep([("new.pkg", draft)])
    assert content(folder, "new.pkg") == b"new"
    assert content(folder, "a.pkg")


def test_a_disk_that_refuses_is_said_so(folder: Path) -> None:
    gone = FileRepository(folder / "gone")
    with pytest.raises(StorageUnavailable), gone.draft():
        pass
    with pytest.raises(StorageUnavailable):
        gone.names("")


def test_a_full_disk_leaves_nothing(folder: Path) -> None:
    files = FileRepository(folder)
    before = set(folder.iterdir())
    with full_disk(1 << 16), pytest.raises(StorageUnavailable), files.draft() as draft:
        for _ in range(3):
            draft.write(bytes(1 << 15) + b"x")
    assert set(folder.iterdir()) == before
