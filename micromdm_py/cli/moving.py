"""What the commands that move between servers share: filling a new store, and telling about it."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import click

from micromdm_py.errors import StartupError
from micromdm_py.migration.report import Report
from micromdm_py.storage.transfer import Moved
from micromdm_py.store_place import check_replaceable, new_store

__all__ = ["check_form", "fill_store", "tell"]


def check_form(form: str) -> None:
    """Check the value of ``-report``. Raises: StartupError."""
    if form not in ("text", "json"):
        raise StartupError("-report must be text or json")


def fill_store(target: Path, content: Iterable[Moved], report: Report, now: datetime, *, dry: bool) -> None:
    """Fill the store of a folder, as a whole or not at all.

    Args:
        target: folder of the server.
        content: of the other server; is read to its end in any case.
        report: is told when the store is filled.
        now: time of the move.
        dry: only read.
    Raises: StartupError when the store is not empty, and whatever reading raises.
    """
    if dry:
        check_replaceable(target)
        for _ in content:
            pass
        return
    with new_store(target) as store:
        store.load(content, at=now)
    report.done = "imported"


def tell(report: Report, form: str) -> int:
    """Print a report as ``text`` or ``json``; returns the exit status, 1 when something was lost."""
    click.echo(report.as_json() if form == "json" else report.as_text())
    return 0 if report.lossless else 1
