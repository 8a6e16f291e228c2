"""``micromdm tokens`` and ``micromdm audit`` on the store of a server."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from micromdm_py.cli.main import load_command
from micromdm_py.compose import prepare, token_service
from micromdm_py.config import Config
from micromdm_py.storage.records import AuditEntry
from micromdm_py.store_place import existing_store
from tests.builders import NOW

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare(Config(server_url="https://mdm.example.com", config_path=tmp_path, tls=False))
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def run(*words: str) -> Result:
        name, *rest = words
        command = [*rest, "-config-path", str(folder)]
        return CliRunner().invoke(load_command(name), command)

    return run


def test_token_is_made_listed_and_revoked(run: Run, folder: Path) -> None:
    made = run(
        "tokens", "create", "-name", "ci", *("-permission", "mdm.event.get"), *("-permission", "mdm.apple.*")
    )
    assert made.exit_code == 0
    secret = made.output.strip()
    with existing_store(folder) as store:
        assert token_service(store).caller(secret).name == "ci"
    listed = run("tokens", "list").output
    assert listed == "ci\tnever expires\tmdm.event.get mdm.apple.*\n"
    assert run("tokens", "revoke", "-name", "ci").exit_code == 0
    assert "ci\trevoked 20" in run("tokens", "list").output
    assert not (folder / "micromdm.lmdb" / "micromdm.lmdb").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["create"], "must supply -name and -permission"),
        (["create", "-name", "ci"], "must supply -name and -permission"),
        (["create", "-name", "ci", "-permission", "No"], "permission: 'No' is not a dotted name"),
        (
            ["create", "-name", "ci", "-permission", "a", "-expires-days", "-1"],
            "-expires-days must not be negative",
        ),
        (["revoke", "-name", "nobody"], "not found: token nobody"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, words: list[str], error: str) -> None:
    result = run("tokens", *words)
    assert result.exit_code == 1
    assert result.output == f"{error}\n"


def test_folder_without_store_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(load_command("tokens"), ["list", "-config-path", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output == f"{tmp_path} holds no store: has the server been started there?\n"
    assert list(tmp_path.iterdir()) == []


def test_audit_log_is_printed(run: Run, folder: Path) -> None:

    with existing_store(folder) as store:
        for who in ("ci", "api-key"):
            entry = AuditEntry(0, NOW, who, "mdm.apple.device.block", "UDID\n1", "", "POST /x", "r-1")
            with store.audited(lambda entry=entry: entry):  # type: ignore[misc]  # a default, bound now
                store.block("UDID-1", at=NOW)
    assert [line.split("\t")[1] for line in run("audit").output.splitlines()] == ["api-key", "ci"]
    line = run("audit", "-who", "ci").output
    assert line.split("\t")[1:] == ["ci", "mdm.apple.device.block", "UDID?1", "-", "POST /x", "r-1\n"]
    assert len(run("audit", "-limit", "1").output.splitlines()) == 1
    assert run("audit", "-limit", "0").exit_code == 1
