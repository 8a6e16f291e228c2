"""``micromdm restore``: a backup in the place of the store."""

from datetime import UTC, datetime
from pathlib import Path

import click

from micromdm_py.backup import restore as put_back
from micromdm_py.cli.go_flags import GoCommand
from micromdm_py.cli.store_options import config_path_option

__all__ = ["restore"]


@click.command(cls=GoCommand)
@config_path_option
@click.argument("file", type=click.Path(path_type=Path))
def restore(config_path: Path, file: Path) -> int:
    """Check a backup and put it in the place of the store, whose server must be stopped."""
    aside = put_back(config_path, file, datetime.now(UTC))
    click.echo(f"{config_path}: restored from {file}")
    if aside:
        click.echo(f"the store that was there is {aside} now; delete it when it is not needed any more")
    return 0
