"""``micromdm backup``: a copy of the store in one file."""

from pathlib import Path

import click

from micromdm_py.backup import write_backup
from micromdm_py.cli.go_flags import GoCommand
from micromdm_py.cli.store_options import config_path_option

__all__ = ["backup"]


@click.command(cls=GoCommand)
@config_path_option
@click.argument("file", type=click.Path(path_type=Path))
def backup(config_path: Path, file: Path) -> int:
    """Write a consistent copy of the whole store into a file; also while the server runs."""
    size = write_backup(config_path, file)
    click.echo(f"{file}: {size} bytes")
    return 0
