"""Which server mdmctl talks to: ``~/.micromdm/servers.json``, shared with MicroMDM's own mdmctl."""

import json
import os
import pwd
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.errors import StartupError
from micromdm_py.receivers import url_fault

__all__ = ["ServerConfig", "active_server", "config"]

OLD = "default.json"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server: its URL, the API key or a token, and whether its certificate is not looked at."""

    api_token: str = field(repr=False)
    server_url: str
    skip_verify: bool = False


@dataclass(slots=True)
class ClientConfig:
    """All servers by name, and which one is in use."""

    active: str = ""
    servers: dict[str, ServerConfig] = field(default_factory=dict)


def folder() -> Path:
    """The folder of the configuration.

    The home folder is that of the account and not of `$HOME`, as in MicroMDM; `MDMCTL_CONFIG_PATH` names
    another folder.
    """
    given = os.environ.get("MDMCTL_CONFIG_PATH")
    return Path(given) if given else Path(pwd.getpwuid(os.getuid()).pw_dir) / ".micromdm"


def load() -> ClientConfig:
    """Read the configuration. Raises: StartupError."""
    path = folder() / "servers.json"
    try:
        found = json.loads(path.read_bytes())
        servers = {name: ServerConfig(**fields) for name, fields in (found.get("servers") or {}).items()}
        return ClientConfig(str(found.get("active", "")), servers)
    except FileNotFoundError:
        raise StartupError(f"no configuration in {path}: run mdmctl config set -h") from None
    except OSError as fault:
        raise StartupError(f"open {path}: {fault.strerror}") from fault
    except (ValueError, TypeError, AttributeError) as fault:
        raise StartupError(f"failed to unmarshal {path}: {fault}") from fault


def save(found: ClientConfig) -> None:
    """Write the configuration, readable for its owner alone. Raises: StartupError."""
    path = folder() / "servers.json"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(asdict(found), indent=2) + "\n")
        fresh.replace(path)
    except OSError as fault:
        raise StartupError(f"write {path}: {fault.strerror}") from fault


def active_server() -> ServerConfig:
    """The server in use. Raises: StartupError."""
    found = load()
    server = found.servers.get(found.active)
    if server is None or not server.server_url:
        raise StartupError("no server is in use: run mdmctl config set -h, or mdmctl config switch -h")
    return server


@click.group()
def config() -> None:
    """Say which server to talk to."""


@config.command("set", cls=GoCommand)
@go_option("name", "", "name of the server (required)")
@go_option("api-token", "", "API key or token (required)", secret=True)
@go_option("server-url", "", "URL of the server (required)")
@go_option("skip-verify", False, "do not verify the certificate of the server (insecure)")
def set_server(name: str, api_token: str, server_url: str, skip_verify: bool) -> int:
    """Keep a server under a name and use it from now on."""
    if not api_token:
        raise StartupError("bad input: api-token must be provided.")
    if not server_url:
        raise StartupError("bad input: server-url must be provided.")
    if not name:
        raise StartupError("bad input: name can't be empty.")
    if not server_url.startswith(("http://", "https://")):
        server_url = f"https://{server_url}"
    if reason := url_fault(server_url):
        raise StartupError(f"bad input: server-url {server_url}: {reason}")
    found = load() if (folder() / "servers.json").exists() else ClientConfig()
    found.servers[name] = ServerConfig(api_token, server_url, skip_verify)
    found.active = name
    save(found)
    return 0


@config.command("switch", cls=GoCommand)
@go_option("name", "", "name of the server (required)")
def switch(name: str) -> int:
    """Use another server from now on."""
    found = load()
    if not name:
        raise StartupError("bad input: name can't be empty.")
    if name not in found.servers:
        raise StartupError(f'no server named "{name}" found')
    found.active = name
    save(found)
    return 0


@config.command("print", cls=GoCommand)
def print_config() -> int:
    """Print the configuration, tokens included."""
    load()
    click.echo((folder() / "servers.json").read_text())
    return 0


@config.command("migrate", cls=GoCommand)
@go_option("name", "", "name of the server (required)")
def migrate(name: str) -> int:
    """Take over the configuration of a very old mdmctl."""
    path = folder() / OLD
    if not name:
        raise StartupError("bad input: name can't be empty.")
    try:
        server = ServerConfig(**json.loads(path.read_bytes()))
    except OSError as fault:
        raise StartupError(f"open {path}: {fault.strerror}") from fault
    except (ValueError, TypeError) as fault:
        raise StartupError(f"failed to unmarshal {path}: {fault}") from fault
    found = load() if (folder() / "servers.json").exists() else ClientConfig()
    found.servers[name], found.active = server, name
    save(found)
    path.unlink()
    click.echo("Successfully migrated old config.")
    return 0
