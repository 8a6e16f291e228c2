"""What mdmctl prints: tables as MicroMDM's mdmctl, or JSON with ``-o json``."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from micromdm_py.cli.go_flags import go_option
from micromdm_py.errors import StartupError

__all__ = ["go_time", "output_option", "read_input", "show", "table", "write_json", "write_output"]

F = TypeVar("F", bound=Callable[..., Any])  # any function: what click decorates

GAP = 2


def output_option(function: F) -> F:
    """Add ``-o``; the function takes it as `o`."""
    return go_option("o", "table", "how to print: table or json")(function)


def show(o: str, document: object, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a document as JSON, or rows under a header. Raises: StartupError for another format."""
    if o == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif o == "table":
        table(header, rows)
    else:
        raise StartupError("-o must be table or json")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a header, each column as wide as its widest cell."""
    lines = [[_cell(one) for one in row] for row in ([*header], *rows)]
    widths = [max(map(len, column)) + GAP for column in zip(*lines, strict=True)]
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        click.echo("".join(padded) + line[-1])


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "".join(c if c.isprintable() else "?" for c in str("" if value is None else value))


def go_time(text: object) -> str:
    """A time of the API as Go prints it: ``2026-11-23 08:00:00 +0000 UTC``."""
    try:
        at = datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return str(text)
    fraction = f".{at.microsecond:06}".rstrip("0") if at.microsecond else ""
    return f"{at.year:04}-{at:%m-%d %H:%M:%S}{fraction} +0000 UTC"


def read_input(path: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``. Raises: StartupError."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as fault:
        raise StartupError(f"open {path}: {(fault.strerror or str(fault)).lower()}") from fault


def write_output(path: str, data: bytes, *, secret: bool = False) -> None:
    """Write to a file (0600 when it is a secret), or to standard output for ``-``. Raises: StartupError."""
    try:
        if path == "-":
            sys.stdout.buffer.write(data)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600 if secret else 0o644)
        file.write_bytes(data)
    except OSError as fault:
        raise StartupError(f"write {path}: {(fault.strerror or str(fault)).lower()}") from fault


def write_json(path: str, document: object, *, secret: bool = False) -> None:
    """Write a document as JSON."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_output(path, text.encode(), secret=secret)
