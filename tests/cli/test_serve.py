"""``micromdm serve`` until the server takes over: lines and exit statuses of MicroMDM's table."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from micromdm_py import __version__
from micromdm_py.cli.config_options import config_from
from micromdm_py.cli.go_flags import GoCommand
from micromdm_py.cli.serve import serve
from micromdm_py.config import Config, settings
from micromdm_py.errors import StartupError
from tests.cli.program import micromdm

URL = "-server-url=https://mdm.example.com"
DEFAULTS = {setting.name: setting.default for setting in settings()}

# words after "serve", exit status, the line on stderr
STARTS = [
    ([], 1, "must supply -server-url"),
    (["-server-url="], 1, "must supply -server-url"),
    (["word", URL], 1, "must supply -server-url"),
    (["-server-url", "http://mdm.example.com", "-tls=false"], 1, "-server-url must begin with https://"),
    ([URL, "-tls=false", "-tls-cert", "x"], 1, "cannot set -tls=false and supply -tls-cert or -tls-key"),
    ([URL, "-tls=false", "-tls-key", "x"], 1, "cannot set -tls=false and supply -tls-cert or -tls-key"),
    ([URL, "-tls=false", "-queue", "nope"], 1, "invalid command queue type: nope"),
    ([URL, "-tls=false", "-queue="], 1, "empty command queue type"),
    ([URL, "-tls=false", "-filerepo", "/nowhere"], 1, "stat /nowhere: no such file or directory"),
    (
        [URL, "-tls-cert", "/nowhere", "-tls-key", "/nowhere"],
        1,
        "setting up enrollment service: open /nowhere: no such file or directory",
    ),
    (
        [URL, "-tls=false", "-scep-client-validity=-1"],
        1,
        "-scep-client-validity must be from 0 to 36500 days, not -1",
    ),
    (["-config-path", ""], 2, 'invalid value "" for flag -config-path: must not be empty'),
    (["-nope"], 2, "flag provided but not defined: -nope"),
    (["-tls=maybe"], 2, 'invalid boolean value "maybe" for -tls: parse error'),
    (["-scep-client-validity", "x"], 2, 'invalid value "x" for flag -scep-client-validity: parse error'),
]


@pytest.mark.parametrize(("words", "status", "line"), STARTS)
def test_start_that_cannot_be_says_why(words: list[str], status: int, line: str) -> None:
    done = micromdm("serve", *words)
    assert (done.returncode, done.stdout) == (status, "")
    lines = done.stderr.splitlines()
    assert lines[0] == line
    assert len(lines) == 1 if status == 1 else lines[1:3] == ["USAGE", "  micromdm serve [flags]"]


def test_number_of_the_environment_that_is_none_is_reported() -> None:
    done = micromdm("serve", URL, MICROMDM_SCEP_CLIENT_VALIDITY="many")
    assert done.returncode == 1
    assert done.stderr == 'invalid value "many" for MICROMDM_SCEP_CLIENT_VALIDITY: parse error\n'


def test_settings_come_from_the_environment() -> None:
    done = micromdm(
        "serve", MICROMDM_SERVER_URL="https://mdm.example.com", MICROMDM_TLS="NO", MICROMDM_QUEUE="x"
    )
    assert (done.returncode, done.stderr) == (1, "invalid command queue type: x\n")


def test_help_has_its_heading_on_stderr_and_a_line_for_each_flag_on_stdout() -> None:
    done = micromdm("serve", "-h")
    assert done.returncode == 0
    assert done.stderr.startswith("USAGE\n  micromdm serve [flags]\n") and done.stderr.endswith("FLAGS\n")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [setting.flag for setting in settings()]


def invoke(*words: str, **env: str) -> Result:
    return CliRunner().invoke(serve, list(words), env=env)


def test_examples_are_printed() -> None:
    result = invoke("-examples")
    assert result.exit_code == 0 and "micromdm serve -server-url=" in result.stdout


def test_print_flags_shows_values_but_no_secret() -> None:
    result = invoke(
        "-print-flags", "-api-key=hidden", "-webhook-header=A: hidden", MICROMDM_WEBHOOK_HMAC_KEY="hidden"
    )
    assert (result.exit_code, result.stderr) == (1, "must supply -server-url\n")
    lines = result.stdout.splitlines()
    assert {"-tls: true", "-api-key: ***", "-webhook-hmac-key: ***", "-server-url:"} <= set(lines)
    assert len(lines) == len(settings()) and "hidden" not in result.output


def test_no_start_message_holds_a_secret() -> None:
    for word in ("-nope", "-h", "-queue=x", "-command-webhook-url=https://u:hidden@h:x/?hidden"):
        result = invoke(URL, "-tls=false", "-api-key=hidden", word, MICROMDM_SCEP_CHALLENGE="hidden")
        assert "hidden" not in result.output


def config(*given: str, **values: str) -> Config:
    return config_from({**DEFAULTS, **values}, given)


def test_slash_at_the_end_of_the_server_url_is_dropped() -> None:
    assert config(server_url="https://h.example.com//").server_url == "https://h.example.com"


def test_defaults_of_the_flags_are_those_of_the_config() -> None:
    assert config() == Config()


@pytest.mark.parametrize("name", ["api_key", "webhook_hmac_key"])
def test_secret_is_read_from_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "key").write_text("a: b \n")
    made = config(**{f"{name}_file": str(tmp_path / "key")})
    assert getattr(made, name) == "a: b "


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "-api-key-file: open {}: no such file or directory"),
        (b"", "-api-key-file: {} must hold one line of text"),
        (b"\n", "-api-key-file: {} must hold one line of text"),
        (b"a\nb\n", "-api-key-file: {} must hold one line of text"),
        (b"\xff", "-api-key-file: {} is not UTF-8 text"),
        (b"a" * 70_000, "-api-key-file: {} must hold one line of text"),
    ],
)
def test_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes | None, line: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartupError) as caught:
        config(api_key_file=str(path))
    assert str(caught.value) == line.format(path)


def test_secret_and_file_at_once_are_refused_unless_one_is_a_flag(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("from-file")
    both = {"api_key": "direct", "api_key_file": str(path)}
    assert config("api-key", **both).api_key == "direct"
    assert config("api-key-file", **both).api_key == "from-file"
    for given in ((), ("api-key", "api-key-file")):
        with pytest.raises(StartupError, match="cannot set both -api-key and -api-key-file"):
            config(*given, **both)


def test_every_flag_of_serve_is_a_setting() -> None:
    assert isinstance(serve, GoCommand)
    assert [f"-{flag}" for flag in serve.options] == [setting.flag for setting in settings()]
    assert isinstance(serve, click.Command)


def test_what_was_set_without_effect_is_said_before_the_server_starts(tmp_path: Path) -> None:
    done = micromdm(
        *["serve", URL, "-tls=false", "-config-path", str(tmp_path), "-http-addr", "no-port"],
        *["-queue", "inmem"],
        MICROMDM_HTTP_DEBUG="perhaps",
    )
    assert done.returncode == 1
    *log, last = done.stderr.splitlines()
    assert [line.removeprefix("level=").replace(" component=main", "") for line in log] == [
        f"info msg=started version={__version__}",
        'warn msg="no boolean in the environment, default used" variable=MICROMDM_HTTP_DEBUG',
        'info msg="-queue inmem is accepted; commands are kept on disk all the same"',
        'info msg="no api key specified"',
    ]
    assert last.startswith('calling ListenAndServe: httputil: couldn\'t parse address "no-port"')
