"""``micromdm doctor``: where a move from MicroMDM stands, and what to do next."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.import_micromdm import database
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.compose import probe_server
from micromdm_py.errors import BadDatabase, StartupError, UpstreamFailed
from micromdm_py.migration.compare import Summary, differences, summarize
from micromdm_py.migration.micromdm import content
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.store_place import existing_store, has_store

__all__ = ["doctor"]

SHOWN = 20


@click.command(cls=GoCommand)
@config_path_option
@go_option("from", "", "micromdm.db of the old server, or its URL while it runs")
@go_option("api-key", "", "API key of the server at that URL", env="MICROMDM_API_KEY", secret=True)
@go_option("ca-file", "", "PEM file of the authority that TLS certificates of the servers come from")
@go_option("server-url", "", "URL that devices use, to check it as they would", env="MICROMDM_SERVER_URL")
@click.pass_context
def doctor(ctx: click.Context, /, **values: str | Path | bool) -> int:
    """Compare the old server with the new store, look at the URL that devices have, and say what to do next.

    Changes nothing. Exits with 1 when something is not as it should be.
    """
    target, source = values["config_path"], str(values["from"])
    if not isinstance(target, Path):
        raise StartupError("must supply -config-path")
    case = _Case(str(values["ca_file"]))
    old = case.old_server(source, str(values["api_key"])) if source else None
    new = case.new_store(target)
    if old and new:
        case.compare(old, new)
    if new:
        case.who_has_come(new)
    if values["server_url"]:
        case.look(str(values["server_url"]), new or old)
    for number, step in enumerate(case.steps(source, target, new), 1):
        click.echo(f"{number}. {step}")
    return 1 if case.faults else 0


class _Case:
    """What has been found so far."""

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        self.faults = 0
        self._runs = self._answers = False

    def _fault(self, text: str) -> None:
        self.faults += 1
        click.echo(f"fault: {text}")

    def _fine(self, text: str) -> None:
        click.echo(f"ok: {text}")

    def old_server(self, source: str, api_key: str) -> Summary | None:
        """Read the old server's database."""
        report = Report(source)
        try:
            with database(source, api_key, self._ca_file) as path, OldDatabase(path, report) as old:
                found = summarize(content(old, report, datetime.now(UTC)))
        except (BadDatabase, UpstreamFailed) as fault:
            self._runs = "/boltbackup" in str(fault)
            self._fault(f"the old server: {fault}")
            return None
        self._runs = source.startswith("http")
        self._fine(f"the old server: {len(found.enrollments)} enrollments, {found.waiting} commands waiting")
        for name, one in report.buckets.items():
            for key, reason in one.lost[:SHOWN]:
                self._fault(f"would be lost: {name} {key}: {reason}")
        return found

    def new_store(self, target: Path) -> Summary | None:
        """Read the new store."""
        if not has_store(target):
            self._fine(f"the new server: {target} holds no store yet")
            return None
        with existing_store(target) as store:
            found = summarize(store.content())
        self._fine(f"the new server: {len(found.enrollments)} enrollments, {found.waiting} commands waiting")
        return found

    def compare(self, old: Summary, new: Summary) -> None:
        """Say what is different."""
        found = list(differences(old, new))
        for line in found[:SHOWN]:
            self._fault(line)
        if len(found) > SHOWN:
            self._fault(f"and {len(found) - SHOWN} more differences")
        if not found:
            self._fine("all that can be taken over from the old server is in the store")

    def who_has_come(self, new: Summary) -> None:
        """Say which devices have come to the new server."""
        missing = new.awaited
        if not new.seen:
            self._fine("no device has come to the new server yet")
        elif missing:
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            names = ", ".join(missing[:SHOWN]) + more
            self._fine(f"{new.seen} enrollments have come, {len(missing)} not yet: {names}")
        else:
            self._fine(f"all {new.seen} enrollments that can be pushed have come")

    def look(self, url: str, known: Summary | None) -> None:
        """Look at the server that devices find."""
        try:
            version, authority = probe_server(url, self._ca_file)
        except UpstreamFailed as fault:
            self._fault(str(fault))
            return
        self._fine(f"{url} answers with a certificate that is trusted here; version {version or 'unknown'}")
        if known and known.authority and hashlib.sha256(authority).hexdigest() != known.authority:
            self._fault(f"{url} has another SCEP authority: devices could not renew their certificates")
        else:
            self._answers = True

    def steps(self, source: str, target: Path, new: Summary | None) -> Iterator[str]:
        """What to do next, in order."""
        if new and new.enrollments:
            if not new.seen and self._answers:
                yield "wait for the devices: those that have commands waiting are woken"
            elif not new.seen:
                yield "start the new server with the flags of the old one, under the same URL"
            if new.awaited and new.seen:
                yield "push to those that have not come: POST /push/ID, or wait until they are switched on"
            if self.faults:
                yield "read the faults; to repeat the import, move the store away first"
            return
        if self._runs:
            yield f"rehearse: micromdm import-micromdm -dry-run -from {source} -config-path {target}"
            yield "stop the old server"
        file = source if source and not source.startswith("http") else "micromdm.db"
        yield f"import: micromdm import-micromdm -from {file} -config-path {target}"
        yield "ask again: micromdm doctor with the same flags"
        yield "start the new server with the flags of the old one, under the same URL"
