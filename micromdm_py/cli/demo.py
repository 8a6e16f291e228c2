"""``micromdm demo``: the server at work with simulated devices, on this machine alone."""

import asyncio
import signal
import sys
import tempfile
import threading
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.simulator.demo import API_KEY, Demo, DemoFailed, DemoServer, running_server
from micromdm_py.simulator.hook import HookReceiver

__all__ = ["demo"]


@click.command(cls=GoCommand)
@go_option("once", False, "end after the steps; the exit status is 0 only if every one of them was verified")
def demo(once: bool) -> int:
    """Show the server at work: devices enroll, are commanded and answer; then serve until Ctrl-C."""
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            end, signal.default_int_handler
        )  # as Ctrl-C, so that server and folder do not stay behind
    hook = HookReceiver()
    try:
        with tempfile.TemporaryDirectory(prefix="micromdm-demo-") as name:
            return _play(Path(name), hook, once)
    except KeyboardInterrupt:
        click.echo("stopped")
        return 0
    finally:
        hook.close()


def _play(folder: Path, hook: HookReceiver, once: bool) -> int:
    click.echo("Starting a server on loopback, with a throw-away TLS authority and a webhook receiver …")
    with running_server(folder, hook.url) as server:
        play = Demo(server, hook, _say)
        try:
            asyncio.run(play.run())
        except DemoFailed as fault:
            click.secho(f"failed: {fault}", fg="red", err=True)
            return 1
        click.secho(f"All {play.steps} steps were verified.", fg="green", bold=True)
        if once:
            return 0
        _invite(server, play)
        threading.Event().wait()
    return 0


def _say(text: str, holds: bool) -> None:
    mark, colour = ("✓", "green") if holds else ("✗", "red")
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        mark = "ok" if holds else "failed"
    click.echo(f"{click.style(mark, fg=colour)} {text}")
    sys.stdout.flush()


def _invite(server: DemoServer, play: Demo) -> None:
    """What can be tried while the server goes on."""
    curl, udid = f"curl --cacert {server.ca_file} -u micromdm:{API_KEY}", play.udids[0]
    command = f'{{"udid": "{udid}", "request_type": "SecurityInfo"}}'
    click.echo(
        "\n".join(
            [
                "",
                "The server goes on until Ctrl-C. Try in another terminal:",
                "",
                f"  {curl} -X POST {server.url}/v1/devices -d '{{}}'",
                f"  {curl} -X POST {server.url}/v1/commands -d '{command}'",
                f"  {curl} {server.url}/v1/commands/{udid}",
                "",
                f"In a browser: {server.url}/admin (the API key is {API_KEY}) and {server.url}/docs",
                f"Its log is in {server.log_file}",
            ]
        )
    )
    sys.stdout.flush()
