"""``micromdm export-nanomdm``: enrollments to a NanoMDM server."""

from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.compose import send_to_nanomdm
from micromdm_py.errors import StartupError
from micromdm_py.migration.nanomdm import checkins
from micromdm_py.migration.report import Report
from micromdm_py.store_place import existing_store

__all__ = ["export_nanomdm"]


@click.command("export-nanomdm", cls=GoCommand)
@config_path_option
@go_option("nano-migrate-to", "", "URL of NanoMDM's migration endpoint, https://…/migration (required)")
@go_option("nano-api-key", "", "NanoMDM's API key (required)", env="NANOMDM_API_KEY", secret=True)
@go_option("ca-file", "", "PEM file of the authority that its certificate comes from")
def export_nanomdm(config_path: Path, nano_migrate_to: str, nano_api_key: str, ca_file: str) -> int:
    """Send the enrollments to a NanoMDM server, which then pushes and serves them under the same URL.

    Queues and history do not move. Exits with 1 when a message was refused.
    """
    if not nano_migrate_to.startswith(("https://", "http://")) or not nano_api_key:
        raise StartupError(
            "must supply -nano-migrate-to, beginning with https:// or http://, and -nano-api-key"
        )
    report, refused = Report(nano_migrate_to), 0
    with existing_store(config_path) as store:
        messages = checkins(store.content(), report)
        for name, status in send_to_nanomdm(nano_migrate_to, nano_api_key, ca_file, messages):
            if status != 200:
                refused += 1
                click.echo(f"refused with {status}: {name}")
    for line in report.warnings:
        click.echo(f"warning: {line}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.enrollments.items()) or "none"
    click.echo(f"enrollments sent: {kinds}; {refused} messages refused")
    return 1 if refused else 0
