"""``micromdm import-micromdm``: from MicroMDM's database to a store of ours."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.moving import check_form, fill_store, tell
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.compose import fetch_database
from micromdm_py.errors import BadDatabase, StartupError
from micromdm_py.migration.micromdm import content
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.storage.transfer import Moved

__all__ = ["database", "import_micromdm"]


@click.command("import-micromdm", cls=GoCommand)
@config_path_option
@go_option("from", "", "micromdm.db of a server that is stopped, or URL of one that runs (required)")
@go_option("api-key", "", "API key of the server at that URL", env="MICROMDM_API_KEY", secret=True)
@go_option("ca-file", "", "PEM file of the authority that its certificate comes from")
@go_option("filerepo", "", "the old server's folder of packages and manifests, to look whether all is there")
@go_option("dry-run", False, "only read, check and report")
@go_option("report", "text", "form of the report: text or json")
@click.pass_context
def import_micromdm(ctx: click.Context, /, **values: str | Path | bool) -> int:
    """Take over the database of a MicroMDM server: enrollments, queues, keys, and what administrators made.

    The store has to be empty; it is filled as a whole or not at all. Exits with 1 when anything was lost.
    """
    source, target = str(values["from"]), values["config_path"]
    if not source or not isinstance(target, Path):
        raise StartupError("must supply -from")
    check_form(str(values["report"]))
    folder = Path(str(values["filerepo"])) if values["filerepo"] else None
    if folder and not folder.is_dir():
        raise StartupError(f"-filerepo: {folder} is not a folder")
    report = Report(source)
    with database(source, str(values["api_key"]), str(values["ca_file"])) as path:
        if source != str(path):
            report.warnings.append(
                "the old server may go on: import once more from its file when it is stopped, or commands "
                "answered meanwhile are delivered twice"
            )
        with OldDatabase(path, report) as old:
            now = datetime.now(UTC)
            pieces = _shown(old, content(old, report, now, folder))
            fill_store(target, pieces, report, now, dry=bool(values["dry_run"]))
    return tell(report, str(values["report"]))


@contextlib.contextmanager
def database(source: str, api_key: str, ca_file: str) -> Iterator[Path]:
    """The database as a file; one that is fetched from a URL is there for the block only.

    Raises: StartupError without an API key; UpstreamFailed; BadDatabase of the block, with the URL.
    """
    if not source.startswith(("https://", "http://")):
        yield Path(source)
        return
    if not api_key:
        raise StartupError("-from with a URL needs -api-key")
    with tempfile.TemporaryDirectory(prefix="micromdm-import-") as folder:
        path = Path(folder, "micromdm.db")
        fetch_database(source, api_key, ca_file, path)
        try:
            yield path
        except BadDatabase as fault:  # about a file that nobody can look at any more
            raise BadDatabase(str(fault).replace(str(path), source)) from fault


def _shown(old: OldDatabase, pieces: Iterator[Moved]) -> Iterator[Moved]:
    """The pieces, with a progress bar on a terminal: pages of the file that have been read."""
    shown, total = old.pages
    with click.progressbar(
        length=total, label="importing", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        for piece in pieces:
            yield piece
            done = old.pages[0]
            if done - shown > total // 200:
                bar.update(done - shown)
                shown = done
        bar.update(total - shown)
