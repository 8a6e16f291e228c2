"""``micromdm command``: a command as a property list, for the raw command API."""

import uuid as uuids
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.protocol.commands.generate import WrongKeys, generate
from micromdm_py.protocol.commands.schema import request_types

__all__ = ["command"]


@click.command(cls=GoCommand)
@go_option("uuid", "", "CommandUUID; a random one when not given")
@click.argument("words", nargs=-1, metavar="[REQUEST_TYPE [KEY=VALUE ...]]")
def command(uuid: str, words: tuple[str, ...]) -> int:
    """Write a command as an XML property list to standard output.

    Without a request type, lists them all. Keys are named as in the JSON API or as in the property list;
    dots lead into dictionaries (return_to_service.enabled=true), numbers into lists of them
    (settings.0.item=DeviceName); repeat the key of a list (queries=UDID queries=OSVersion). Data is base64
    or @FILE; a free dictionary (configuration, manifest) is JSON, @FILE, or given key by key.
    """
    if not words:
        click.echo("\n".join(sorted(request_types())))
        return 0
    request_type, *fields = words
    try:
        payload, missing = generate(request_type, fields, uuid or str(uuids.uuid4()), _read)
    except WrongKeys as fault:
        for line in fault.faults:
            click.echo(line, err=True)
        return 1
    for name in missing:
        click.echo(f"{name}: required by Apple, and missing", err=True)
    if missing:
        return 1
    click.echo(payload, nl=False)
    return 0


def _read(name: str) -> bytes:
    return Path(name).read_bytes()
