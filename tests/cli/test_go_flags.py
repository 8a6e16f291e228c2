"""Flags are read as Go reads them."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.errors import NotFound, StartupError

ENV = ("URL", "ON", "COUNT", "TAG", "KEY")


@click.command(cls=GoCommand)
@go_option("url", "none", "a text", env="URL")
@go_option("on", False, "a boolean", env="ON")
@go_option("off", True, "another")
@go_option("count", 7, "a number", env="COUNT")
@go_option("rate", 1.5, "a number with a fraction")
@go_option("folder", Path("/x"), "a path")
@go_option("tag", (), "repeatable", env="TAG", separator=";")
@go_option("key", "", "a secret", env="KEY", secret=True)
def tool(**values: object) -> int:
    """Show what was read."""
    click.echo(repr({name: value for name, value in sorted(values.items()) if value != DEFAULTS[name]}))
    return 0


DEFAULTS = {
    "url": "none",
    "on": False,
    "off": True,
    "count": 7,
    "rate": 1.5,
    "folder": Path("/x"),
    "tag": (),
    "key": "",
}


def run(*words: str, command: click.Command = tool, **env: str) -> Result:
    return CliRunner().invoke(command, list(words), env={name: env.get(name) for name in ENV})


def read(*words: str, **env: str) -> str:
    result = run(*words, command=tool, **env)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["-url", "a"], {"url": "a"}),
        (["--url", "a"], {"url": "a"}),
        (["-url=a=b"], {"url": "a=b"}),
        (["--url="], {"url": ""}),
        (["-url", "-on"], {"url": "-on"}),
        (["-url", "a", "-url", "b"], {"url": "b"}),
        (["-on"], {"on": True}),
        (["--on=t", "-off=F"], {"off": False, "on": True}),
        (["-on", "false", "-count", "3"], {"on": True}),
        (["word", "-on"], {}),
        (["-on", "--", "-nope"], {"on": True}),
        (["-on", "-", "-nope"], {"on": True}),
        (["-on", "", "-nope"], {"on": True}),
        (["-count", "-5"], {"count": -5}),
        (["-count=0x1F"], {"count": 31}),
        (["-count=010"], {"count": 8}),
        (["-count=+9"], {"count": 9}),
        (["-rate", "2e3"], {"rate": 2000.0}),
        (["-folder", "a/b"], {"folder": Path("a/b")}),
        (["-tag", "a b", "-tag=c"], {"tag": ("a b", "c")}),
    ],
)
def test_command_line(words: list[str], expected: dict[str, object]) -> None:
    assert read(*words) == repr(dict(sorted(expected.items())))


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true_words(text: str) -> None:
    assert read(f"-on={text}") == "{'on': True}"


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false_words(text: str) -> None:
    assert read(f"-off={text}") == "{'off': False}"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["--nope=1"], "flag provided but not defined: -nope"),
        (["-on=maybe"], 'invalid boolean value "maybe" for -on: parse error'),
        (["-on="], 'invalid boolean value "" for -on: parse error'),
        (["-on=yes"], 'invalid boolean value "yes" for -on: parse error'),
        (["-count", "x"], 'invalid value "x" for flag -count: parse error'),
        (["-count="], 'invalid value "" for flag -count: parse error'),
        (["-count= 5"], 'invalid value " 5" for flag -count: parse error'),
        (["-count=08"], 'invalid value "08" for flag -count: parse error'),
        (["-count=٣"], 'invalid value "٣" for flag -count: parse error'),
        (
            ["-count=9223372036854775808"],
            'invalid value "9223372036854775808" for flag -count: value out of range',
        ),
        (["-rate=x"], 'invalid value "x" for flag -rate: parse error'),
        (["-rate=inf"], 'invalid value "inf" for flag -rate: value out of range'),
        (["-url"], "flag needs an argument: -url"),
        (["---on"], "bad flag syntax: ---on"),
        (["-=on"], "bad flag syntax: -=on"),
    ],
)
def test_unreadable_flag_is_2_with_usage_on_stderr(words: list[str], line: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[:3] == [line, "USAGE", "  micromdm tool [flags]"]
    assert "-count 7" in result.stderr


@pytest.mark.parametrize("word", ["-h", "--h", "-help", "--help", "-help=1"])
def test_help_has_heading_on_stderr_and_table_on_stdout(word: str) -> None:
    result = run(word)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "USAGE",
        "  micromdm tool [flags]",
        "",
        "Show what was read.",
        "",
        "FLAGS",
    ]
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        f"-{name}" for name in sorted(DEFAULTS)
    ]


def test_help_shows_the_environment_but_no_secret() -> None:
    table = run("-h", URL="from-env", KEY="hidden", COUNT="x").stdout
    assert "-url from-env" in table and "-key ***" in table and "hidden" not in table and "-count 7" in table


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"URL": ""}, {"url": ""}),
        ({"URL": "a"}, {"url": "a"}),
        ({"ON": "YES"}, {"on": True}),
        ({"ON": "true"}, {"on": True}),
        ({"ON": "maybe"}, {}),
        ({"ON": "t"}, {}),
        ({"ON": ""}, {}),
        ({"COUNT": "8"}, {"count": 8}),
        ({"COUNT": ""}, {}),
        ({"TAG": "a b; c;;"}, {"tag": ("a b", "c")}),
    ],
)
def test_environment(env: dict[str, str], expected: dict[str, object]) -> None:
    assert read(**env) == repr(expected)


def test_flag_beats_environment() -> None:
    assert read("-url=f", "-tag=x", "-on=false", URL="e", TAG="y", ON="1") == "{'tag': ('x',), 'url': 'f'}"


def test_unreadable_number_of_the_environment_is_reported() -> None:
    result = run(COUNT="many")
    assert (result.exit_code, result.stderr) == (1, 'invalid value "many" for COUNT: parse error\n')
    assert run("-count=1", COUNT="many").exit_code == 0


@pytest.mark.parametrize(
    ("error", "status"), [(NotFound("gone"), 1), (StartupError("no"), 1), (StartupError("no", 3), 3)]
)
def test_error_on_purpose_is_one_line(error: Exception, status: int) -> None:
    @click.command(cls=GoCommand)
    def failing() -> None:
        raise error

    result = run(command=failing)
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", f"{error}\n")


def test_returned_number_is_the_exit_status() -> None:
    @click.command(cls=GoCommand)
    def half() -> int:
        return 4

    assert run(command=half).exit_code == 4


def test_arguments_take_the_words_after_the_flags() -> None:
    @click.command(cls=GoCommand)
    @go_option("on", False, "a boolean")
    @click.argument("kind")
    @click.argument("pairs", nargs=-1)
    def named(on: bool, kind: str, pairs: tuple[str, ...]) -> None:
        click.echo(f"{on} {kind} {pairs}")

    assert run("-on", "A", "x=1", "-y", command=named).stdout == "True A ('x=1', '-y')\n"
    missing = run("-on", command=named)
    assert missing.exit_code == 2 and "KIND" in missing.stderr
    assert "[flags] KIND" in run("-h", command=named).stderr
