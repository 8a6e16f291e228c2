"""``micromdm import-nanomdm``: from NanoMDM's storage to a store of ours."""

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.moving import check_form, fill_store, tell
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.errors import StartupError
from micromdm_py.migration.keys import authority
from micromdm_py.migration.nano_dump import NanoDump
from micromdm_py.migration.nano_files import NanoFiles, NanoFolder
from micromdm_py.migration.nano_import import nano_content
from micromdm_py.migration.nano_records import NanoStorage
from micromdm_py.migration.report import Report

__all__ = ["import_nanomdm"]


@click.command("import-nanomdm", cls=GoCommand)
@config_path_option
@go_option("from", "", "folder of NanoMDM's filekv storage, or SQL dump of its database (required)")
@go_option("ca-cert", "", "PEM file of the SCEP authority that has issued the devices' certificates")
@go_option("ca-key", "", "PEM file of its private key")
@go_option("dry-run", False, "only read, check and report")
@go_option("report", "text", "form of the report: text or json")
@click.pass_context
def import_nanomdm(ctx: click.Context, /, **values: str | Path | bool) -> int:
    """Take over enrollments, queues and push certificates of a NanoMDM server.

    The store has to be empty; it is filled as a whole or not at all. Exits with 1 when anything was lost.
    """
    source, target = str(values["from"]), values["config_path"]
    if not source or not isinstance(target, Path):
        raise StartupError("must supply -from")
    if bool(values["ca_cert"]) != bool(values["ca_key"]):
        raise StartupError("-ca-cert and -ca-key belong together")
    check_form(str(values["report"]))
    scep = None
    if values["ca_cert"]:
        scep = authority(_read(str(values["ca_cert"])), _read(str(values["ca_key"])), 0)
    report, now = Report(source), datetime.now(UTC)
    with _storage(Path(source), report) as storage:
        pieces = nano_content(storage, report, now, scep)
        fill_store(target, pieces, report, now, dry=bool(values["dry_run"]))
    if scep is None:
        report.warnings.append("no SCEP authority was given: a new one will be made, for new devices")
    return tell(report, str(values["report"]))


def _storage(source: Path, report: Report) -> AbstractContextManager[NanoStorage]:
    """The storage that a path leads to: a folder is filekv's, anything else a dump."""
    if source.is_file():
        return NanoDump(source, report)
    return nullcontext(NanoFolder(NanoFiles(source), report))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as fault:
        raise StartupError(f"open {path}: {(fault.strerror or '').lower()}") from fault
