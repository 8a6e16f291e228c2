"""``mdmctl`` beyond MicroMDM's: commands and their fate, devices, queues, pushes."""

import json
from typing import Any

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import connect, segment
from micromdm_py.cli.mdmctl.apply import read_json
from micromdm_py.cli.mdmctl.get import words
from micromdm_py.cli.mdmctl.output import go_time, output_option, read_input, show
from micromdm_py.errors import StartupError
from micromdm_py.protocol.commands.schema import command_keys, request_types
from micromdm_py.protocol.lifecycle import OPEN_STATES

__all__ = ["commands", "devices", "push", "queue"]

LONGEST_WAIT_S = 60


@click.group()
def commands() -> None:
    """Queue commands, and see what became of them."""


def _needed(**given: str) -> None:
    missing = " and ".join(f"-{name}" for name, value in given.items() if not value)
    if missing:
        raise StartupError(f"bad input: must provide {missing}")


@commands.command("send", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@go_option("raw", "", "file of a raw command (property list), - for standard input")
@go_option("f", "", "JSON file of a command, - for standard input")
@go_option("wait", 0, "seconds to wait for the answer, at most 60; exit status 1 when there is none")
@output_option
@click.argument("request", nargs=-1, metavar="[REQUEST_TYPE [KEY=VALUE ...]]")
def send(udid: str, raw: str, f: str, wait: int, o: str, request: tuple[str, ...]) -> int:
    """Queue a command: a raw one, a JSON one from a file, or one named here (values are JSON or text)."""
    _needed(udid=udid)
    if [bool(raw), bool(f), bool(request)].count(True) != 1:
        raise StartupError("bad input: must provide -raw, -f, or a request type")
    query = {"wait": min(wait, LONGEST_WAIT_S)} if wait > 0 else None
    with connect() as api:
        if raw:
            path = f"/v1/commands/{segment(udid)}"
            answer = api.call("POST", path, content=read_input(raw), query=query)
        else:
            document = read_json(f) if f else _command(request)
            answer = api.call("POST", "/v1/commands", {**document, "udid": udid}, query=query)
    record = answer.get("record")
    if record:
        _show_one(record, o)
    else:
        show(o, answer, ("CommandUUID",), [[answer["payload"]["command_uuid"]]])
    return int(bool(record) and record["status"] in OPEN_STATES)


def _command(request: tuple[str, ...]) -> dict[str, object]:
    request_type, *fields = request
    document: dict[str, object] = {"request_type": request_type}
    texts = _text_keys(request_type)
    for field in fields:
        name, equals, text = field.partition("=")
        if not equals:
            raise StartupError(f"bad input: {field} is not KEY=VALUE")
        document[name] = text if name in texts else _value(text)
    return document


def _text_keys(request_type: str) -> set[str]:
    """Spellings of the keys of a command whose values are texts, even those that look like numbers: a PIN."""
    if request_type not in request_types():
        return set()
    return {name for key in command_keys(request_type).all if key.type == "string" for name in key.names}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


@commands.command("list", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@go_option("status", "", "only these, separated by commas: Pending, Awaiting, Tried, Acknowledged, Error, …")
@go_option("request-type", "", "only of these types, separated by commas")
@go_option("limit", 100, "how many at most, newest first")
@output_option
def list_commands(udid: str, status: str, request_type: str, limit: int, o: str) -> int:
    """List the commands of a device, newest first."""
    _needed(udid=udid)
    found: list[Any] = []
    query: dict[str, str | int] = {"status": status, "request_type": request_type}
    query = {name: value for name, value in query.items() if value}
    with connect() as api:
        while len(found) < limit:
            query["limit"] = min(1000, limit - len(found))
            page = api.call("GET", f"/v1/devices/{segment(udid)}/commands", query=query)
            found += page["items"]
            if "next" not in page:
                break
            query["cursor"] = page["next"]
    header = ("Id", "CommandUUID", "RequestType", "Status", "Tries", "Created")
    names = ("id", "uuid", "request_type", "status", "num_tries")
    rows = [[*(one.get(name) for name in names), go_time(one["created_at"])] for one in found]
    show(o, found, header, rows)
    return 0


@commands.command("show", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@go_option("id", "", "id or CommandUUID of the command (required)")
@output_option
def show_command(udid: str, id: str, o: str) -> int:
    """Show a command with its timeline and the answer."""
    _needed(udid=udid, id=id)
    with connect() as api:
        _show_one(api.call("GET", _path(udid, id))["record"], o)
    return 0


@commands.command("wait", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@go_option("id", "", "id or CommandUUID of the command (required)")
@go_option("timeout", 300, "seconds to wait at most")
@output_option
def wait_for(udid: str, id: str, timeout: int, o: str) -> int:
    """Wait until a command is answered or withdrawn; exit status 1 when the time is over."""
    _needed(udid=udid, id=id)
    with connect() as api:
        while True:
            step = min(timeout, LONGEST_WAIT_S)
            record = api.call("GET", _path(udid, id), query={"wait": step} if step else None)["record"]
            timeout -= step
            if record["status"] not in OPEN_STATES or timeout <= 0:
                break
    _show_one(record, o)
    return int(record["status"] in OPEN_STATES)


@commands.command("cancel", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@go_option("id", "", "id or CommandUUID of the command (required)")
def cancel(udid: str, id: str) -> int:
    """Withdraw a command that is not answered yet."""
    _needed(udid=udid, id=id)
    with connect() as api:
        api.call("DELETE", _path(udid, id))
    click.echo(f"cancelled {id}")
    return 0


def _path(udid: str, command: str) -> str:
    return f"/v1/commands/{segment(udid)}/{segment(command)}"


def _show_one(record: dict[str, Any], o: str) -> None:
    if o == "json":
        show(o, record, (), ())
        return
    names = ("id", "uuid", "request_type", "status", "outcome", "from", "group_name", "num_tries")
    show(o, record, ("Field", "Value"), [(name, record[name]) for name in names if record.get(name)])
    steps = record.get("timeline") or []
    if steps:
        click.echo()
        rows = [(go_time(one["at"]), one["step"], one.get("detail", "")) for one in steps]
        show(o, steps, ("When", "What", "Detail"), rows)
    if record.get("data"):
        click.echo(f"\n{json.dumps(record['data'], indent=2, ensure_ascii=False)}")


@click.group()
def devices() -> None:
    """Look at devices."""


@devices.command("search", cls=GoCommand)
@go_option("serial", "", "beginning of the serial number")
@go_option("name", "", "beginning of the device's name")
@go_option("model", "", "beginning of the model")
@go_option("os", "", "beginning of the OS version")
@go_option("state", "", "enrolled, unenrolled or blocked")
@go_option("seen-before", "", "not seen since this time, such as 2026-11-23T08:00:00Z")
@go_option("seen-after", "", "seen after this time")
@go_option("limit", 100, "how many at most")
@output_option
def search(**given: Any) -> int:  # Any: what the flags gave
    """Search devices."""
    fields = {"serial": "serial_number", "name": "device_name", "model": "model", "os": "os_version"}
    others = ("state", "seen_before", "seen_after")
    query = {fields.get(name, name): given[name] for name in (*fields, *others) if given[name]}
    found: list[Any] = []
    with connect() as api:
        while len(found) < given["limit"]:
            query["limit"] = min(1000, given["limit"] - len(found))
            page = api.call("GET", "/v1/devices/search", query=query)
            found += page["devices"]
            if "next" not in page:
                break
            query["cursor"] = page["next"]
    names = ("enrollment_id", "serial_number", "device_name", "os_version", "enrolled")
    header = ("Enrollment", "SerialNumber", "Name", "OS", "Enrolled", "LastSeen")
    rows = [
        [*(one.get(name, "") for name in names), go_time(one.get("last_seen_at", "never"))] for one in found
    ]
    show(given["o"], found, header, rows)
    return 0


@devices.command("show", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@go_option("inventory", False, "show the last answers of the device instead")
def show_device(udid: str, inventory: bool) -> int:
    """Show what is known of a device, as JSON."""
    _needed(udid=udid)
    with connect() as api:
        found = api.call("GET", f"/v1/devices/{segment(udid)}{'/inventory' if inventory else ''}")
    click.echo(json.dumps(found["inventory" if inventory else "device"], indent=2, ensure_ascii=False))
    return 0


@devices.command("why", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@output_option
def why(udid: str, o: str) -> int:
    """Say why nothing happens on a device."""
    _needed(udid=udid)
    with connect() as api:
        found = api.call("GET", f"/v1/devices/{segment(udid)}/why")
    if o == "json":
        show(o, found, (), ())
        return 0
    click.echo(found["summary"])
    for advice in found["advice"]:
        click.echo(f"- {advice}")
    return 0


@click.command("push", cls=GoCommand)
@go_option("udid", "", "UDIDs of the devices, separated by commas (required)")
def push(udid: str) -> int:
    """Wake devices now."""
    _needed(udid=udid)
    with connect() as api:
        for one in words(udid) or []:
            answer = api.call("POST", f"/v1/push/{segment(one)}")
            click.echo(f"{one} {answer['push_notification_id']}")
    return 0


@click.group()
def queue() -> None:
    """Look at queues and clear them."""


@queue.command("inspect", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
@output_option
def inspect(udid: str, o: str) -> int:
    """Show what waits for a device, in order."""
    _needed(udid=udid)
    with connect() as api:
        found = api.call("GET", f"/v1/commands/{segment(udid)}").get("commands") or []
    show(o, found, ("CommandUUID",), [[one["uuid"]] for one in found])
    return 0


@queue.command("clear", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
def clear(udid: str) -> int:
    """Withdraw everything that waits for a device."""
    _needed(udid=udid)
    with connect() as api:
        api.call("DELETE", f"/v1/commands/{segment(udid)}")
    click.echo(f"cleared the queue of {udid}")
    return 0
