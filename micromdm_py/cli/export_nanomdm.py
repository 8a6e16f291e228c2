"""``micromdm export-nanomdm``: enrollments and queues to a NanoMDM server."""

from collections.abc import Iterable
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.compose import send_to_nanomdm
from micromdm_py.errors import StartupError
from micromdm_py.migration.nanomdm import Message, checkins, holders, queued
from micromdm_py.migration.report import Report
from micromdm_py.store_place import existing_store

__all__ = ["export_nanomdm"]

SCHEMES = ("https://", "http://")


@click.command("export-nanomdm", cls=GoCommand)
@config_path_option
@go_option("nano-migrate-to", "", "URL of NanoMDM's migration endpoint, https://…/migration (required)")
@go_option("nano-enqueue-to", "", "URL of its enqueue endpoint, https://…/v1/enqueue, to move queues as well")
@go_option("nano-api-key", "", "NanoMDM's API key (required)", env="NANOMDM_API_KEY", secret=True)
@go_option("ca-file", "", "PEM file of the authority that its certificate comes from")
def export_nanomdm(
    config_path: Path, nano_migrate_to: str, nano_enqueue_to: str, nano_api_key: str, ca_file: str
) -> int:
    """Send the enrollments to a NanoMDM server, which then pushes and serves them under the same URL.

    History does not move. Exits with 1 when a message was refused.
    """
    if not nano_migrate_to.startswith(SCHEMES) or not nano_api_key:
        raise StartupError(
            "must supply -nano-migrate-to, beginning with https:// or http://, and -nano-api-key"
        )
    if nano_enqueue_to and not nano_enqueue_to.startswith(SCHEMES):
        raise StartupError("-nano-enqueue-to must begin with https:// or http://")
    report = Report(nano_migrate_to)
    with existing_store(config_path) as store:
        messages = checkins(store.content(), report)
        refused = _send(nano_migrate_to, nano_api_key, ca_file, messages)
        found = holders(store.content())
        waiting = sum(map(len, found.values()))
        if nano_enqueue_to:
            messages = queued(store.content(), found)
            refused += _send(nano_enqueue_to.rstrip("/") + "/", nano_api_key, ca_file, messages)
        elif waiting:
            report.warnings.append(
                f"{waiting} commands wait in queues, which do not move: see -nano-enqueue-to"
            )
    for line in report.warnings:
        click.echo(f"warning: {line}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.enrollments.items()) or "none"
    queues = f"; commands sent: {waiting}" if nano_enqueue_to else ""
    click.echo(f"enrollments sent: {kinds}{queues}; {refused} messages refused")
    return 1 if refused else 0


def _send(url: str, api_key: str, ca_file: str, messages: Iterable[Message]) -> int:
    """Send messages and name those that are refused; returns how many."""
    refused = 0
    for name, status in send_to_nanomdm(url, api_key, ca_file, messages):
        if status != 200:
            refused += 1
            click.echo(f"refused with {status}: {name}")
    return refused
