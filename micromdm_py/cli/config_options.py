"""``config_options``: a flag for each setting of ``Config``; ``config_from`` builds the ``Config`` again."""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from micromdm_py.cli.go_flags import GoCommand, GoOption, Value, go_option
from micromdm_py.config import Config, settings
from micromdm_py.errors import StartupError

__all__ = ["config_from", "config_options", "misread_environment", "print_flags"]

F = TypeVar("F", bound=Callable[..., Any])  # any function: what click decorates

_FROM_FILES = ("api_key", "webhook_hmac_key")
_SECRET_FILE_BYTES = 1 << 16


def config_options(function: F) -> F:
    """Add every setting of ``Config`` as a flag; the function takes them as ``**values``."""
    for setting in settings():
        function = go_option(
            setting.flag.removeprefix("-"),
            setting.default,
            f"{setting.help} ({setting.unit})" if setting.unit else setting.help,
            env=setting.env,
            secret=setting.secret,
            separator=setting.separator,
        )(function)
    return function


def config_from(values: Mapping[str, Value], given: Collection[str]) -> Config:
    """Make the ``Config``: trim the server URL and read the secrets that stand in files.

    Args:
        values: by field name, as the command's function gets them.
        given: flag names that stood on the command line, ``ctx.meta["given"]``.
    Raises: StartupError for a secret given twice, or a file that cannot be read.
    """
    changed = dict(values)
    changed["server_url"] = str(values["server_url"]).rstrip("/")
    for name in _FROM_FILES:
        changed[name] = _secret(values, name, given)
    return Config(**changed)  # type: ignore[arg-type]  # the flags have the types of the fields


def _secret(values: Mapping[str, Value], name: str, given: Collection[str]) -> str:
    value, path = str(values[name]), str(values[f"{name}_file"])
    flag = name.replace("_", "-")
    if not value or not path:
        return _read_secret(path, flag) if path else value
    if (flag in given) == (f"{flag}-file" in given):
        raise StartupError(f"cannot set both -{flag} and -{flag}-file")
    return value if flag in given else _read_secret(path, flag)  # the flag beats the environment


def _read_secret(path: str, flag: str) -> str:
    try:
        with Path(path).open("rb") as file:
            text = file.read(_SECRET_FILE_BYTES + 1).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise StartupError(f"-{flag}-file: {path} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StartupError(f"-{flag}-file: open {path}: {reason.lower()}") from error
    if not text or len(text) > _SECRET_FILE_BYTES or not text.isprintable():
        raise StartupError(f"-{flag}-file: {path} must hold one line of text")
    return text


def print_flags(command: click.Command, values: Mapping[str, Value]) -> None:
    """Print each flag of the command with its value; secrets as ``***``."""
    for option in _options(command):
        click.echo(f"-{option.flag}: {option.shown(values[str(option.name)])}".rstrip())


def misread_environment(command: click.Command) -> tuple[str, ...]:
    """Name the environment variables that hold no boolean where one is meant, and so count for nothing."""
    return tuple(option.env for option in _options(command) if option.misread(os.environ))


def _options(command: click.Command) -> list[GoOption]:
    return list(command.options.values()) if isinstance(command, GoCommand) else []
