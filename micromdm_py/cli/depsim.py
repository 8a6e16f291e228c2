"""``micromdm depsim``: a stand-in for Apple's device assignment service."""

from datetime import UTC, datetime

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.errors import StartupError
from micromdm_py.simulator.depserver import DepServer

__all__ = ["depsim"]


@click.command(cls=GoCommand)
@go_option("http-addr", "127.0.0.1:9001", "address to listen on")
@go_option("devices", 10, "how many devices are assigned to the server")
def depsim(http_addr: str, devices: int) -> int:
    """Play Apple's device assignment service, for serve -depsim; until Ctrl-C."""
    host, colon, port = http_addr.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise StartupError("-http-addr must be host:port")
    if not 0 <= devices <= 1_000_000:
        raise StartupError("-devices must be from 0 to 1000000")
    try:
        server = DepServer((host, int(port)), devices, now=lambda: datetime.now(UTC), log=click.echo)
    except OSError as fault:
        raise StartupError(f"-http-addr: {http_addr}: {fault.strerror or fault}") from fault
    click.echo(f"{devices} devices; start the server with: micromdm serve -depsim {server.url}")
    try:
        server.serve()
    except KeyboardInterrupt:
        click.echo("stopped")
    return 0
