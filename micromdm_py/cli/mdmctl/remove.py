"""``mdmctl remove``: take something off the server."""

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import connect, segment
from micromdm_py.cli.mdmctl.get import words
from micromdm_py.errors import StartupError

__all__ = ["remove"]


@click.group()
def remove() -> None:
    """Remove resources."""


@remove.command("devices", cls=GoCommand)
@go_option("udid", "", "UDIDs, separated by commas")
@go_option("serials", "", "serial numbers, separated by commas")
def devices(udid: str, serials: str) -> int:
    """Remove device records; queue, push data and block stay."""
    udids, numbers = words(udid), words(serials)
    if not udids and not numbers:
        raise StartupError("bad input: device UDID or Serial must be provided")
    with connect() as api:
        api.call("DELETE", "/v1/devices", {"Opts": {"udids": udids, "serials": numbers}})
    click.echo(f"removed devices(s): {', '.join([*(udids or []), *(numbers or [])])}")
    return 0


@remove.command("profiles", cls=GoCommand)
@go_option("id", "", "identifiers, separated by commas (required)")
def profiles(id: str) -> int:
    """Remove profiles: all or none."""
    return _remove("/v1/profiles", "ids", id, "bad input: must provide profile id", "profile(s)")


@remove.command("blueprints", cls=GoCommand)
@go_option("name", "", "names, separated by commas (required)")
def blueprints(name: str) -> int:
    """Remove blueprints: all or none."""
    return _remove("/v1/blueprints", "names", name, "bad input: must provide blueprint name", "blueprint(s)")


@remove.command("users", cls=GoCommand)
@go_option("uuid", "", "uuids, separated by commas (required)")
def users(uuid: str) -> int:
    """Remove users: all or none."""
    return _remove("/v1/users", "uuids", uuid, "bad input: must provide user uuid", "user(s)")


def _remove(path: str, field: str, given: str, missing: str, what: str) -> int:
    names = words(given)
    if names is None:
        raise StartupError(missing)
    with connect() as api:
        api.call("DELETE", path, {field: names})
    click.echo(f"removed {what}: {', '.join(names)}")
    return 0


@remove.command("block", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
def block(udid: str) -> int:
    """Lift the block of a device."""
    if not udid:
        raise StartupError("bad input: must provide a device UDID to unblock.")
    with connect() as api:
        api.call("POST", f"/v1/devices/{segment(udid)}/unblock")
    click.echo("success")
    return 0


@remove.command("dep-autoassigner", cls=GoCommand)
@go_option("filter", "*", "filter of the rule")
def dep_autoassigner(filter: str) -> int:
    """Remove the rule that assigns a profile to devices."""
    with connect() as api:
        api.call("DELETE", "/v1/dep/autoassigners", {"filter": filter})
    click.echo(f"removed DEP profile associated with filter '{filter}'")
    return 0
