"""``micromdm export-micromdm``: from a store of ours back to MicroMDM's database."""

import contextlib
import os
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.moving import check_form, tell
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.errors import StartupError
from micromdm_py.migration.export import export
from micromdm_py.migration.report import Report
from micromdm_py.store_place import existing_store

__all__ = ["export_micromdm"]


@click.command("export-micromdm", cls=GoCommand)
@config_path_option
@go_option("to", "", "file to write; it must not exist (required)")
@go_option("report", "text", "form of the report: text or json")
def export_micromdm(config_path: Path, to: str, report: str) -> int:
    """Write the store as a database that MicroMDM 1.13.1 opens and serves.

    Stop the server first: what it takes afterwards is not in the file. Exits with 1 when anything is lost.
    """
    if not to:
        raise StartupError("must supply -to")
    check_form(report)
    found = Report(to)
    target = Path(to)
    with existing_store(config_path) as store:
        try:
            handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise StartupError(f"open {target}: {(fault.strerror or '').lower()}") from fault
        try:
            with os.fdopen(handle, "w+b") as file:
                export(store.content(), file, found)
                os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink()
            raise
    found.done = "written"
    return tell(found, report)
