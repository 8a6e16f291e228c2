"""``mdmctl`` beyond MicroMDM's: events, webhooks, tokens, audit log."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import Json, Unreachable, connect, segment
from micromdm_py.cli.mdmctl.output import go_time, output_option, show
from micromdm_py.errors import StartupError

__all__ = ["audit", "events", "follow_feed", "tokens", "webhooks"]

_PAUSE_S = 2.0


@click.group()
def events() -> None:
    """Read the event feed."""


@events.command("tail", cls=GoCommand)
@go_option("after", 0, "cursor to begin behind; 0: from the oldest event that is kept")
@go_option("follow", True, "go on until Ctrl-C; -follow=false stops at the newest event")
@output_option
def tail(after: int, follow: bool, o: str) -> int:
    """Show events as they happen, one line each; -o json shows them whole."""
    if o not in ("table", "json"):
        raise StartupError("-o must be table or json")
    with connect() as api:
        fetch = partial(api.call, "GET", "/v1/events")
        for event in follow_feed(fetch, after, follow, lambda: time.sleep(_PAUSE_S)):
            click.echo(json.dumps(event) if o == "json" else _line(event))
    return 0


def follow_feed(
    fetch: Callable[..., Json], after: str | int, follow: bool, pause: Callable[[], object]
) -> Iterator[dict[str, Any]]:
    """Give the events of the feed; a server that restarts meanwhile is waited for, and nothing is missed.

    Args:
        fetch: asks for a page, with its parameters as `query`.
        after: cursor to begin behind.
        follow: wait for new events; else end at the newest one.
        pause: waits before the server is asked again.
    Raises: StartupError, also when the server cannot be reached at the beginning.
    """
    query: dict[str, str | int] = {"after": after, "limit": 1000, "wait": 30 if follow else 0}
    reached = away = False
    while True:
        try:
            page = fetch(query=query)
        except Unreachable as fault:
            if not (follow and reached):
                raise
            if not away:
                click.echo(f"{fault}; trying again until it answers", err=True)
            away = True
            pause()
            continue
        reached, away = True, False
        yield from page["events"]
        query["after"] = page["next"]
        if not follow and not page["events"]:
            return


def _line(event: dict[str, Any]) -> str:
    told = event.get("acknowledge_event") or event.get("checkin_event") or event.get("server_event") or {}
    parts = (
        go_time(event.get("created_at")),
        event.get("topic", ""),
        told.get("udid") or told.get("enrollment_id") or "-",
        told.get("status", ""),
        told.get("command_uuid", ""),
    )
    return " ".join("".join(c if c.isprintable() else "?" for c in str(part)) for part in parts if part)


@click.group()
def webhooks() -> None:
    """See how webhook receivers stand."""


@webhooks.command("list", cls=GoCommand)
@output_option
def list_webhooks(o: str) -> int:
    """Show every receiver."""
    with connect() as api:
        found = api.call("GET", "/v1/webhooks")["webhooks"]
    names = ("id", "url", "lag", "held", "dead_letters")
    header = ("Id", "URL", "Lag", "Held", "GivenUp", "LastSuccess", "LastError")
    rows = [
        [
            *(one[name] for name in names),
            go_time(one.get("last_success_at", "never")),
            one.get("last_error", ""),
        ]
        for one in found
    ]
    show(o, found, header, rows)
    return 0


@webhooks.command("test", cls=GoCommand)
def test() -> int:
    """Send a test event to every receiver."""
    with connect() as api:
        answer = api.call("POST", "/v1/webhooks/test")
    click.echo(f"sent {answer['event_id']}; mdmctl webhooks list shows whether it arrived")
    return 0


@webhooks.command("replay", cls=GoCommand)
@go_option("id", "", "id of the receiver (required)")
@go_option("after", 0, "cursor: everything after it is sent again")
def replay(id: str, after: int) -> int:
    """Send events again to one receiver."""
    if not id:
        raise StartupError("bad input: must provide -id")
    with connect() as api:
        answer = api.call("POST", f"/v1/webhooks/{segment(id)}/replay", query={"after": after})
    click.echo(f"sending {answer['events']} events again")
    return 0


@click.group()
def tokens() -> None:
    """Make, list and revoke tokens."""


@tokens.command("list", cls=GoCommand)
@output_option
def list_tokens(o: str) -> int:
    """Show every token, without secrets."""
    with connect() as api:
        found = api.call("GET", "/v1/tokens")["tokens"]
    rows = [
        (
            one["name"],
            " ".join(one["permissions"]),
            go_time(one.get("expires_at", "never")),
            go_time(one.get("revoked_at", "")),
        )
        for one in found
    ]
    show(o, found, ("Name", "Permissions", "Expires", "Revoked"), rows)
    return 0


@tokens.command("create", cls=GoCommand)
@go_option("name", "", "who is going to use the token (required)")
@go_option("permission", (), "what it allows; repeatable (required)")
@go_option("expires-days", 0, "days until it is refused; 0: never")
def create(name: str, permission: tuple[str, ...], expires_days: int) -> int:
    """Make a token and print its secret, which is shown only now."""
    document: dict[str, object] = {"name": name, "permissions": list(permission)}
    if expires_days:
        document["expires_days"] = expires_days
    with connect() as api:
        click.echo(api.call("POST", "/v1/tokens", document)["token"])
    return 0


@tokens.command("revoke", cls=GoCommand)
@go_option("name", "", "which one (required)")
def revoke(name: str) -> int:
    """Refuse a token from now on."""
    if not name:
        raise StartupError("bad input: must provide -name")
    with connect() as api:
        api.call("DELETE", f"/v1/tokens/{segment(name)}")
    click.echo(f"revoked {name}")
    return 0


@click.command("audit", cls=GoCommand)
@go_option("who", "", "only those of this token, or of api-key")
@go_option("limit", 100, "how many at most, newest first")
@output_option
def audit(who: str, limit: int, o: str) -> int:
    """Show what callers of the API have changed."""
    query: dict[str, str | int] = {"who": who} if who else {}
    found: list[Any] = []
    with connect() as api:
        while len(found) < limit:
            query["limit"] = min(limit - len(found), 1000)
            page = api.call("GET", "/v1/audit", query=query)
            found += page["entries"]
            if "next" not in page:
                break
            query["cursor"] = page["next"]
    names = ("who", "action", "target", "detail", "request")
    header = ("When", "Who", "Action", "Target", "Detail", "Request")
    rows = [[go_time(one["at"]), *(one.get(name, "") for name in names)] for one in found]
    show(o, found, header, rows)
    return 0
