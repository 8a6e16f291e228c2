"""The manual names everything there is, and its pages can be read."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import click
import pytest

from micromdm_py.cli.go_flags import GoCommand
from micromdm_py.cli.main import COMMANDS, load_command
from micromdm_py.cli.mdmctl.main import mdmctl
from micromdm_py.config import Setting, settings
from micromdm_py.protocol import checkin
from micromdm_py.protocol.webhook import CONNECT_TOPIC, TEST_TOPIC
from micromdm_py.service.checkin import REBOUND
from micromdm_py.service.connect import QUARANTINED

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.rst"))
PAGES = [ROOT / "README.rst", ROOT / "CHANGELOG.rst", *DOCS]
_UNDERLINE = re.compile(r"([=~-])\1+")


def headings(path: Path) -> list[str]:
    """Text of each heading, without backticks."""
    lines = path.read_text().splitlines()
    pairs = zip(["", *lines], lines, lines[1:], strict=False)
    return [
        text.replace("``", "") for before, text, under in pairs if not before and _is_heading(text, under)
    ]


def _is_heading(text: str, under: str) -> bool:
    return bool(text) and text[0] not in " =" and bool(_UNDERLINE.fullmatch(under))


def sections(path: Path) -> dict[str, str]:
    """Text below each heading, up to the next."""
    found: dict[str, str] = {}
    lines = path.read_text().splitlines()
    name = ""
    for before, text, under in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if not before and _is_heading(text, under):
            name = text.replace("``", "")
        found[name] = f"{found.get(name, '')}{text}\n"
    return found


def default_of(setting: Setting) -> str:
    """The default of a setting as the manual shows it."""
    if isinstance(setting.default, bool):
        return f"``{str(setting.default).lower()}``"
    if setting.default in ("", ()):
        return "none"
    return f"``{setting.default}`` {setting.unit}".rstrip()


@pytest.mark.parametrize("setting", settings(), ids=lambda setting: setting.flag)
def test_every_flag_has_a_heading_with_variable_and_default(setting: Setting) -> None:
    text = " ".join(sections(ROOT / "docs/flags.rst")[setting.flag].split())
    env = f"``{setting.env}``" if setting.env else "none"
    assert f"Environment: {env}. Default: {default_of(setting)}." in text
    if (setting.low, setting.high) != (0, 2**31 - 1):
        assert f"From {setting.low} to {setting.high}." in text


def test_no_heading_for_a_flag_that_does_not_exist() -> None:
    found = headings(ROOT / "docs/flags.rst")[1:]
    assert found == [setting.flag for setting in settings()]


def routes() -> list[str]:
    """The paths that the application is made of, without converters."""
    modules = set((ROOT / "micromdm_py/http").rglob("*.py")) - {ROOT / "micromdm_py/http/routes.py"}
    trees = [ast.parse(path.read_text()) for path in sorted(modules)]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    added = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr.startswith("add_")]
    paths = [c.args[0] for c in added if isinstance(c.func, ast.Attribute) and c.func.attr == "add_route"]
    assert all(isinstance(path, ast.Constant) for path in paths)
    return [re.sub(r":\w+}", "}", str(path.value)) for path in paths if isinstance(path, ast.Constant)]


def test_every_route_has_a_heading() -> None:
    assert len(routes()) > 10
    assert {name for name in headings(ROOT / "docs/routes.rst") if name.startswith("/")} == set(routes())


def test_every_event_topic_has_a_heading() -> None:
    answered_without = {"UserAuthenticate", "DeclarativeManagement"}
    messages = {kind.__name__ for kind in checkin.CheckIn.__subclasses__()}
    topics = {f"mdm.{name}" for name in messages - answered_without}
    topics |= {CONNECT_TOPIC, QUARANTINED, REBOUND, TEST_TOPIC}
    assert "mdm.TokenUpdate" in topics
    assert {name for name in headings(ROOT / "docs/events.rst") if name.startswith("mdm.")} == topics


def flags(name: str) -> set[str]:
    """The flags of a command, or of all commands of a group."""
    return flags_of(load_command(name))


def flags_of(command: click.Command) -> set[str]:
    if isinstance(command, click.Group):
        return {flag for member in command.commands.values() for flag in flags_of(member)}
    return set(command.options) if isinstance(command, GoCommand) else set()


def test_every_command_has_a_heading_and_its_flags_are_named() -> None:
    found = sections(ROOT / "docs/cli.rst")
    assert set(headings(ROOT / "docs/cli.rst")[1:]) == set(COMMANDS)
    for name in set(COMMANDS) - {"serve", "version"}:
        for flag in flags(name):
            assert f"``-{flag}``" in found[name]


def test_every_flag_that_a_page_names_exists() -> None:
    known = {setting.flag for setting in settings()} | {"-h", "-x", "-d"}
    known |= {f"-{flag}" for name in set(COMMANDS) - {"serve", "version"} for flag in flags(name)}
    known |= {f"-{flag}" for flag in flags_of(mdmctl)}
    for page in PAGES:
        named = set(re.findall(r"``(-[a-z][a-z-]*)[`= ]", page.read_text()))
        assert named <= known, page.name


def test_quick_start_begins_with_the_demonstration_and_the_tests() -> None:
    shown = re.findall(r"(?m)^ +\$ (.*)$", (ROOT / "README.rst").read_text())
    assert shown[:2] == ["bin/micromdm demo", "bin/test"]


def test_readme_names_every_dependency_and_links_the_manual() -> None:
    readme = (ROOT / "README.rst").read_text()
    required = re.search(r"install_requires =\n((?:    .*\n)+)", (ROOT / "setup.cfg").read_text())
    assert required
    for line in required[1].split():
        name = re.split(r"[<>=]", line)[0]
        assert re.search(rf"(?m)^{re.escape(name)}  ", readme), name
    assert "docs/index.rst" in readme


def test_index_links_every_page() -> None:
    linked = set(re.findall(r"<([a-z-]+\.rst)>`_", (ROOT / "docs/index.rst").read_text()))
    assert linked == {page.name for page in DOCS} - {"index.rst"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"<([^<>\s:]+)>`_", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_well_formed(page: Path) -> None:
    lines = page.read_text().splitlines()
    for number, (text, under) in enumerate(pairwise(lines), 1):
        where = f"{page.name}:{number}"
        assert len(text) <= 120 and text == text.rstrip() and "\t" not in text, where
        if _is_heading(text, under):
            assert len(under) >= len(text), where
            assert not lines[number + 1 : number + 2] or lines[number + 1] == "", where
    for block in page.read_text().split("\n\n"):
        _check_block(block, page.name)


def _check_block(block: str, where: str) -> None:
    """Literals are closed, tables keep their columns, no line of a Markdown page."""
    if block.startswith("    "):
        return
    assert block.count("``") % 2 == 0, (where, block)
    assert not re.search(r"(?m)^```|^#+ |\]\(", block), (where, block)
    lines = block.splitlines()
    borders = [line for line in lines if re.fullmatch(r"=+( +=+)+", line)]
    if borders:
        assert lines[0] == lines[-1] and len(borders) in (2, 3) and len(set(borders)) == 1, (where, block)
        gaps = [match.span() for match in re.finditer(" +", borders[0])]
        for line in lines:
            assert all(not line[start:end].strip() for start, end in gaps), (where, line)
            assert len(line) <= len(borders[0]), (where, line)
