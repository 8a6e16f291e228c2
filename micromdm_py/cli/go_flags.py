"""Flags as Go programs take them, on click commands.

``-x``, ``--x``, ``-x=v`` and ``-x v``; booleans only ``-x`` or ``-x=v``. Reading stops at the first word
that is no flag, or after ``--``. What follows goes to the command's arguments; a command without arguments
ignores it.

::

    @click.command(cls=GoCommand)
    @go_option("devices", 10, "how many devices")
    @go_option("ca-file", "", "file with the authority to trust")
    def simulate(devices: int, ca_file: str) -> int: ...

The type of a flag is the type of its default: bool, int, float, str, Path, or tuple for one that may be
repeated. The function's result is the exit status; an ``MdmError`` ends the program with one line.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from micromdm_py.cli.go_values import parse_bool, parse_float, parse_int, spoken_bool
from micromdm_py.errors import MdmError, StartupError

__all__ = ["FlagError", "GoCommand", "GoOption", "Value", "go_option"]

Value = bool | int | float | str | Path | tuple[str, ...]
F = TypeVar("F", bound=Callable[..., Any])  # any function: what click decorates


class FlagError(click.ClickException):
    """A flag that cannot be read: shows its text and the usage on stderr, exit status 2."""

    exit_code = 2

    def __init__(self, message: str, ctx: click.Context) -> None:
        """Keep the line to show and the command it was meant for."""
        super().__init__(message)
        self._ctx = ctx

    def show(self, file: IO[Any] | None = None) -> None:  # Any: click's own type
        """Print the line and the usage of the command."""
        click.echo(self.message, err=True)
        if isinstance(self._ctx.command, GoCommand):
            click.echo(self._ctx.command.heading(self._ctx), err=True)
            click.echo(self._ctx.command.table(), err=True)


class _OneLine(click.ClickException):
    def show(self, file: IO[Any] | None = None) -> None:  # Any: click's own type
        click.echo(self.message, err=True)


class _StartupLine(_OneLine):
    def __init__(self, error: StartupError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it from the instance


class GoOption(click.Option):
    """One flag.

    Attributes:
        flag: name without dash.
        fallback: default; its type is the flag's type.
        env: environment variable; empty if there is none.
        secret: the value is never printed.
        separator: divides the values of a repeatable flag in the environment.
    """

    def __init__(
        self,
        flag: str,
        default: Value,
        help: str,
        *,
        env: str = "",
        secret: bool = False,
        separator: str = " ",
    ) -> None:
        """Take what ``go_option`` takes."""
        super().__init__([f"--{flag}", flag.replace("-", "_")], help=help)
        self.flag, self.fallback = flag, default
        self.env, self.secret, self.separator = env, secret, separator

    @property
    def is_bool(self) -> bool:
        """Whether the flag stands alone, without a following word."""
        return isinstance(self.fallback, bool)

    def read(self, text: str) -> Value:
        """Turn the text of one use of the flag into a value. Raises: ValueError with the reason."""
        if isinstance(self.fallback, bool):
            return parse_bool(text)
        if isinstance(self.fallback, int):
            return parse_int(text)
        if isinstance(self.fallback, float):
            return parse_float(text)
        if isinstance(self.fallback, Path):
            if not text:
                raise ValueError("must not be empty")  # Path("") is the current folder
            return Path(text)
        return text

    def without_flag(self, environ: Mapping[str, str]) -> Value:
        """The value from the environment, or the default.

        A boolean that is none counts as not set (``misread`` tells), and so does an empty number.

        Raises: StartupError for a number that is none.
        """
        text = environ.get(self.env) if self.env else None
        if text is None:
            return self.fallback
        if isinstance(self.fallback, tuple):
            return tuple(part.strip() for part in text.split(self.separator) if part.strip())
        if isinstance(self.fallback, bool):
            spoken = spoken_bool(text)
            return self.fallback if spoken is None else spoken
        if isinstance(self.fallback, int | float) and not text.strip():
            return self.fallback
        try:
            return self.read(text)
        except ValueError as error:
            raise StartupError(f'invalid value "{text}" for {self.env}: {error}') from None

    def misread(self, environ: Mapping[str, str]) -> bool:
        """Whether the environment has a word here that is no boolean, and so counts for nothing."""
        text = environ.get(self.env, "") if self.env and self.is_bool else ""
        return bool(text) and spoken_bool(text) is None

    def shown(self, value: Value) -> str:
        """Write a value for a person; a secret one as ``***``."""
        if isinstance(value, bool):
            return str(value).lower()
        if self.secret and value != self.fallback:
            return "***"
        text = self.separator.join(value) if isinstance(value, tuple) else str(value)
        return text.encode("utf-8", "backslashreplace").decode()


def go_option(
    flag: str, default: Value, help: str, *, env: str = "", secret: bool = False, separator: str = " "
) -> Callable[[F], F]:
    """Add a flag to a command.

    Args:
        flag: name without dash; the function's argument has ``_`` for ``-``.
        default: value when not given; its type is the flag's type.
        help: one line for ``-h``.
        env: environment variable that gives the value when the flag is missing.
        secret: print ``***`` for its value.
        separator: divides several values in the environment variable (tuples only).
    """

    def add(function: F) -> F:
        params: list[click.Parameter] = function.__dict__.setdefault("__click_params__", [])
        params.append(GoOption(flag, default, help, env=env, secret=secret, separator=separator))
        return function

    return add


class GoCommand(click.Command):
    """A command with Go's flags; ``ctx.meta["given"]`` holds the names of those on the command line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: handed to click as they are
        """Take what ``click.Command`` takes; ``-h`` is our own."""
        super().__init__(*args, **{**kwargs, "add_help_option": False})

    @property
    def options(self) -> dict[str, GoOption]:
        """The flags by name, sorted."""
        found = [param for param in self.params if isinstance(param, GoOption)]
        return {option.flag: option for option in sorted(found, key=lambda option: option.flag)}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Fill the parameters from the command line, else the environment, else the defaults."""
        given, words = self._read_flags(ctx, args)
        ctx.meta["given"] = frozenset(given)
        for name, option in self.options.items():
            try:
                value = given[name] if name in given else option.without_flag(os.environ)
            except StartupError as error:
                raise _StartupLine(error) from error
            ctx.params[str(option.name)] = value
        if any(isinstance(param, click.Argument) for param in self.params):
            self._read_arguments(ctx, words)
            words = []
        ctx.args = words
        return words

    def _read_arguments(self, ctx: click.Context, words: list[str]) -> None:
        values, left, order = self.make_parser(ctx).parse_args(["--", *words])
        for param in order:
            if isinstance(param, click.Argument):
                _, left = param.handle_parse_result(ctx, values, left)
        if left:
            raise FlagError(f"unexpected argument: {left[0]}", ctx)

    def _read_flags(self, ctx: click.Context, args: list[str]) -> tuple[dict[str, Value], list[str]]:
        given: dict[str, Value] = {}
        words = list(args)
        while words and len(words[0]) > 1 and words[0].startswith("-"):
            word = words.pop(0)
            if word == "--":
                break
            option, text = self._match(ctx, word, words)
            value = self._read_value(ctx, option, text)
            before = given.get(option.flag, ())
            if isinstance(option.fallback, tuple) and isinstance(before, tuple):
                value = (*before, str(value))
            given[option.flag] = value
        return given, words

    def _match(self, ctx: click.Context, word: str, following: list[str]) -> tuple[GoOption, str]:
        name, equals, text = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}", ctx)
        option = self.options.get(name)
        if option is None:
            if name in ("h", "help"):
                self._print_help(ctx)
            raise FlagError(f"flag provided but not defined: -{name}", ctx)
        if equals:
            return option, text
        if option.is_bool:
            return option, "true"
        if not following:
            raise FlagError(f"flag needs an argument: -{name}", ctx)
        return option, following.pop(0)

    def _read_value(self, ctx: click.Context, option: GoOption, text: str) -> Value:
        try:
            return option.read(text)
        except ValueError as error:
            if option.is_bool:
                raise FlagError(f'invalid boolean value "{text}" for -{option.flag}: {error}', ctx) from None
            raise FlagError(f'invalid value "{text}" for flag -{option.flag}: {error}', ctx) from None

    def heading(self, ctx: click.Context) -> str:
        """What stands above the table of flags."""
        about = f"\n\n{self.help.strip()}" if self.help else ""
        words = [param.make_metavar(ctx) for param in self.params if isinstance(param, click.Argument)]
        # Alone the path is the name; a member of a group has those of its parents in front.
        path = ctx.command_path if " " in ctx.command_path else f"micromdm {self.name}"
        return f"USAGE\n  {' '.join([path, '[flags]', *words])}{about}\n\nFLAGS"

    def table(self) -> str:
        """The flags with their defaults (those of the environment counted in), one a line."""
        rows = []
        for name, option in self.options.items():
            try:
                default = option.without_flag(os.environ)
            except StartupError:
                default = option.fallback
            rows.append((f"-{name} {option.shown(default)}".rstrip(), option.help or ""))
        width = max((len(left) for left, _ in rows), default=0)
        return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows)

    def _print_help(self, ctx: click.Context) -> None:
        click.echo(self.heading(ctx), err=True)
        click.echo(self.table())
        ctx.exit(0)

    def invoke(self, ctx: click.Context) -> Any:  # Any: click's own type
        """Run the function; its number is the exit status, an error raised on purpose one line."""
        try:
            status = super().invoke(ctx)
        except StartupError as error:
            raise _StartupLine(error) from error
        except MdmError as error:
            raise _OneLine(str(error)) from error
        if isinstance(status, int) and status:
            ctx.exit(int(status))
        return status
