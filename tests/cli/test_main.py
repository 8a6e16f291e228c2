"""``micromdm`` without and with a command."""

import os
import subprocess
import sys

import pytest

from micromdm_py import __version__
from micromdm_py.cli.main import COMMANDS, main, usage
from tests.cli.program import ROOT, micromdm


@pytest.mark.parametrize("words", [[], ["nope"], ["-nope"], [""]])
def test_no_or_unknown_command_prints_usage_and_ends_with_1(words: list[str]) -> None:
    done = micromdm(*words)
    told = f"no such command: {words[0]}\n" if words and words[0] else ""
    assert (done.returncode, done.stdout, done.stderr) == (1, usage() + "\n", told)


@pytest.mark.parametrize("word", ["help", "-h", "--help"])
def test_help_that_was_asked_for_ends_with_0(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == usage() + "\n"


@pytest.mark.parametrize(
    "words", [["version"], ["-version"], ["--version"], ["VERSION"], ["version", "-full"]]
)
def test_version_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr() == (f"micromdm version {__version__}\n", "")


def test_usage_names_every_command() -> None:
    assert all(f"    {name} " in usage() for name in COMMANDS)


@pytest.mark.parametrize("word", ["--help", "version"])
def test_help_and_version_import_nothing_heavy(word: str) -> None:
    script = (
        "import sys; from micromdm_py.cli.main import main\n"
        f"main([{word!r}]); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert not loaded & {
        "click",
        "falcon",
        "gunicorn",
        "httpx",
        "cryptography",
        "lmdb",
        "asyncio",
        "logging",
        "ssl",
    }


def test_serve_help_imports_no_server() -> None:
    script = (
        "import sys; from micromdm_py.cli.main import load_command\n"
        "load_command('serve').main(['-h'], standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stderr.split()) & {"falcon", "gunicorn", "httpx", "cryptography", "lmdb"}
