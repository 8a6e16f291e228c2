"""``micromdm simulate``: simulated devices against a server."""

import asyncio
import ssl
import sys

import click
import httpx

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.errors import StartupError
from micromdm_py.simulator.answers import BEHAVIOURS
from micromdm_py.simulator.enrol import Enroller
from micromdm_py.simulator.fleet import Fleet, Plan, Summary

__all__ = ["simulate"]

TIMEOUT_S = 30.0


@click.command(cls=GoCommand)
@go_option("server-url", "", "URL of the server (required)")
@go_option("devices", 1, "how many devices")
@go_option("behaviour", "acknowledge", f"what they answer: {', '.join(BEHAVIOURS)}")
@go_option("connect-rate", 0, "connects per second of the whole fleet; 0: each device once")
@go_option("duration", 0, "seconds to go on connecting at that rate")
@go_option("ca-file", "", "PEM file of the authority that the server's certificate comes from")
@go_option("form", "apple", "form of the signatures: apple (as devices send it) or der")
@go_option("seed", 0, "seed of all random choices; the same seed makes the same devices")
def simulate(
    server_url: str,
    devices: int,
    behaviour: str,
    connect_rate: int,
    duration: int,
    ca_file: str,
    form: str,
    seed: int,
) -> int:
    """Enroll simulated devices with a server and let them connect; exits with 1 when anything failed."""
    if not server_url.startswith(("https://", "http://")):
        raise StartupError("must supply -server-url, beginning with https:// or http://")
    if behaviour not in BEHAVIOURS:
        raise StartupError(f"-behaviour must be one of {', '.join(BEHAVIOURS)}")
    if form not in ("apple", "der"):
        raise StartupError("-form must be apple or der")
    if devices < 1 or connect_rate < 0 or duration < 0:
        raise StartupError("-devices must be at least 1, -connect-rate and -duration not negative")
    plan = Plan(devices, behaviour, connect_rate, duration, seed)
    summary = asyncio.run(_run(plan, server_url, ca_file, form))
    for line in summary.lines():
        click.echo(line)
    return 0 if summary.ok else 1


async def _run(plan: Plan, server_url: str, ca_file: str, form: str) -> Summary:
    async with httpx.AsyncClient(verify=_context(ca_file), timeout=TIMEOUT_S) as http:
        enroller = Enroller(http, server_url, form=form)  # type: ignore[arg-type]  # checked by the caller
        with click.progressbar(
            length=Fleet.steps_of(plan), file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            return await Fleet(http, enroller, plan, progress=lambda: bar.update(1)).run()


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as fault:
        raise StartupError(f"-ca-file: {ca_file}: {fault.strerror or fault}") from fault
