"""``micromdm command``."""

import plistlib
import re

from micromdm_py.protocol.commands.schema import request_types
from tests.cli.program import micromdm


def test_a_command_is_written_to_stdout() -> None:
    done = micromdm("command", "ProfileList", "managed_only=true", LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, "")
    plist = plistlib.loads(done.stdout.encode())
    assert plist["Command"] == {"RequestType": "ProfileList", "ManagedOnly": True}
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", plist["CommandUUID"]
    )


def test_the_uuid_can_be_given() -> None:
    done = micromdm("command", "-uuid", "one", "ProfileList")
    assert plistlib.loads(done.stdout.encode())["CommandUUID"] == "one"


def test_without_a_type_all_are_listed() -> None:
    done = micromdm("command")
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, sorted(request_types()), "")


def test_each_wrong_key_has_its_line() -> None:
    done = micromdm("command", "ProfileList", "foo=1", "managed_only=x", "bar")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["foo", "managed_only", "bar"]


def test_an_unknown_type_is_one_line() -> None:
    done = micromdm("command", "profilelist")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "request_type: unknown RequestType: profilelist (did you mean ProfileList?)\n"


def test_without_a_required_key_nothing_is_written() -> None:
    done = micromdm("command", "InstallProfile")
    assert done.returncode == 1
    assert done.stderr == "payload: required by Apple, and missing\n"
    assert done.stdout == ""


def test_help_shows_the_form_of_the_words() -> None:
    done = micromdm("command", "-h")
    assert done.returncode == 0
    assert "REQUEST_TYPE [KEY=VALUE ...]" in done.stderr
    assert "-uuid" in done.stdout
