"""``mdmctl``: finds the command named by the first words."""

import sys

import click

from micromdm_py.cli.mdmctl import apply_app, apply_dep  # noqa: F401 - they add their commands to `apply`
from micromdm_py.cli.mdmctl.apply import apply
from micromdm_py.cli.mdmctl.config import config
from micromdm_py.cli.mdmctl.download import download
from micromdm_py.cli.mdmctl.get import get
from micromdm_py.cli.mdmctl.manage import commands, devices, push, queue
from micromdm_py.cli.mdmctl.mdmcert import mdmcert
from micromdm_py.cli.mdmctl.remove import remove
from micromdm_py.cli.mdmctl.watch import audit, events, tokens, webhooks
from micromdm_py.version import VERSION

__all__ = ["mdmctl", "run"]

ALIASES = {"dev": "devices", "device": "devices"}
"""Other words for what `get` shows."""


@click.group(context_settings={"help_option_names": ["-h", "-help", "--help"]})
def mdmctl() -> None:
    """Administer an MDM server."""


for member in (
    get,
    apply,
    config,
    remove,
    mdmcert,
    download,
    commands,
    devices,
    push,
    queue,
    events,
    webhooks,
    tokens,
    audit,
):
    mdmctl.add_command(member)


@mdmctl.command("version")
def version() -> None:
    """Print the version."""
    click.echo(f"mdmctl version {VERSION}")


def run() -> None:
    """Entry point of the ``mdmctl`` program."""
    words = sys.argv[1:]
    if words[:1] == ["-version"]:
        words[0] = "version"
    if words[:1] == ["get"] and len(words) > 1:
        words[1] = ALIASES.get(words[1].lower(), words[1].lower())
    mdmctl(args=words, prog_name="mdmctl")
