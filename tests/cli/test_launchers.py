"""``bin/micromdm`` on a machine that has nothing but Python, in a copy of the checkout that pins nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from micromdm_py import __version__
from tests.cli.program import ROOT

VERSION = f"micromdm version {__version__}\n"
NO_PYTHON = (
    "micromdm: needs Python 3.11 or later: install it (Debian: python3 python3-venv),"
    " or set MICROMDM_PYTHON\n"
)
NO_VENV = (
    "micromdm: python3 cannot make virtual environments: install its venv module (Debian: python3-venv)\n"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check out")
    for name in ("bin", "micromdm_py"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "requirements.lock").write_text("# nothing\n")
    return folder


def start(program: Path, path: str | None = None, cwd: Path | str = "/") -> "subprocess.Popen[str]":
    here = Path(sys.executable).resolve().parent
    return subprocess.Popen(
        [str(program), "version"],
        cwd=cwd,
        env={"PATH": path or f"{here}{os.pathsep}/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.close(0),
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_two_first_starts_at_once_set_up_once(checkout: Path) -> None:
    ended = [end(process) for process in [start(checkout / "bin/micromdm") for _ in range(2)]]
    assert [(status, out) for status, out, _ in ended] == [(0, VERSION)] * 2
    assert "".join(err for _, _, err in ended).count("setting up") == 1


def test_next_start_sets_nothing_up(checkout: Path) -> None:
    end(start(checkout / "bin/micromdm"))
    assert end(start(checkout / "bin/micromdm")) == (0, VERSION, "")


def test_starts_through_a_symlink_from_a_folder_with_modules_of_the_same_names(
    checkout: Path, tmp_path: Path
) -> None:
    end(start(checkout / "bin/micromdm"))
    (tmp_path / "micromdm").symlink_to(checkout / "bin/micromdm")
    for module in ("logging.py", "micromdm_py.py", "importlib.py"):
        (tmp_path / module).write_text("raise SystemExit('wrong module')")
    assert end(start(tmp_path / "micromdm", cwd=tmp_path)) == (0, VERSION, "")


def test_changed_lock_file_or_moved_checkout_sets_up_again(checkout: Path, tmp_path: Path) -> None:
    end(start(checkout / "bin/micromdm"))
    (checkout / "requirements.lock").write_text("# still nothing\n")
    status, out, err = end(start(checkout / "bin/micromdm"))
    assert (status, out, err.count("setting up")) == (0, VERSION, 1)
    moved = tmp_path / "moved"
    shutil.copytree(checkout, moved, symlinks=True)
    status, out, err = end(start(moved / "bin/micromdm"))
    assert (status, out, err.count("setting up")) == (0, VERSION, 1)


def test_failed_installation_is_said_and_tried_again(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, symlinks=True)
    (copy / "requirements.lock").write_text("no-hash==1\n")
    for _ in range(2):
        status, out, err = end(start(copy / "bin/micromdm"))
        assert (status, out) == (1, "")
        assert err.endswith("micromdm: could not install requirements.lock: see pip's message above\n")


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (None, NO_PYTHON),
        ("exit 1", NO_PYTHON),  # as a Python that is too old answers
        ('case "$2" in *ensurepip*) exit 1;; esac', NO_VENV),
    ],
)
def test_missing_python_or_module_is_named(
    checkout: Path, tmp_path: Path, script: str | None, line: str
) -> None:
    copy, tools = tmp_path / "copy", tmp_path / "tools"
    shutil.copytree(checkout, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    tools.mkdir()
    for name in ("sh", "cat", "readlink"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    if script:
        (tools / "python3").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "python3").chmod(0o755)
    assert end(start(copy / "bin/micromdm", path=str(tools))) == (1, "", line)


@pytest.mark.parametrize("name", ["micromdm", "test"])
def test_launchers_are_short(name: str) -> None:
    assert len((ROOT / "bin" / name).read_text().splitlines()) <= 10
