"""``micromdm serve``."""

import logging

import click

from micromdm_py import logs
from micromdm_py.cli.config_options import config_from, config_options, misread_environment, print_flags
from micromdm_py.cli.go_flags import GoCommand, Value
from micromdm_py.config import Config
from micromdm_py.config_rules import validate
from micromdm_py.version import VERSION

__all__ = ["serve"]

_log = logging.getLogger("micromdm_py.main")  # MicroMDM's name for what concerns the whole program

_EXAMPLE = """
    Quick start:
    micromdm serve -server-url=https://mdm.example.com -tls-cert tls.crt -tls-key tls.key
"""


@click.command(cls=GoCommand)
@config_options
@click.pass_context
def serve(ctx: click.Context, /, **values: Value) -> int:
    """Run the MDM server until it is told to stop."""
    if values["print_flags"]:
        print_flags(ctx.command, values)
    if values["examples"]:
        click.echo(_EXAMPLE)
        return 0
    config = config_from(values, ctx.meta["given"])
    validate(config)
    logs.setup(config)
    _tell(config, misread_environment(ctx.command))

    from micromdm_py import server  # only here: loads the whole server

    return server.run(config)


def _tell(config: Config, misread: tuple[str, ...]) -> None:
    logs.log_event(_log, logging.INFO, "started", version=VERSION)
    for name in misread:
        logs.log_event(_log, logging.WARNING, "no boolean in the environment, default used", variable=name)
    if config.queue == "inmem":
        logs.log_event(_log, logging.INFO, "-queue inmem is accepted; commands are kept on disk all the same")
    if not config.api_key:
        logs.log_event(_log, logging.INFO, "no api key specified")
