"""``micromdm tokens``: make, list and revoke tokens for callers of the admin API."""

from datetime import timedelta
from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.compose import token_service
from micromdm_py.errors import MdmError, StartupError
from micromdm_py.protocol.jsonreply import rfc3339
from micromdm_py.service.tokens import Token
from micromdm_py.store_place import existing_store

__all__ = ["tokens"]


@click.group(context_settings={"help_option_names": ["-h", "-help", "--help"]})
def tokens() -> None:
    """Make, list and revoke tokens for callers of the admin API; also while the server runs."""


@tokens.command(cls=GoCommand)
@config_path_option
@go_option("name", "", "who is going to use the token (required)")
@go_option("permission", (), "what it allows, mdm.apple.command.create for instance; repeatable (required)")
@go_option("expires-days", 0, "days until it is refused; 0: never")
def create(config_path: Path, name: str, permission: tuple[str, ...], expires_days: int) -> int:
    """Make a token and print its secret, which is shown only now."""
    if not name or not permission:
        raise StartupError("must supply -name and -permission")
    if expires_days < 0:
        raise StartupError("-expires-days must not be negative")
    lifetime = timedelta(days=expires_days) if expires_days else None
    with existing_store(config_path) as store, _one_line():
        click.echo(token_service(store).create(name, permission, lifetime))
    return 0


@tokens.command("list", cls=GoCommand)
@config_path_option
def list_tokens(config_path: Path) -> int:
    """List every token, without secrets."""
    with existing_store(config_path) as store:
        found = token_service(store).list()
    for token in found:
        click.echo(f"{token.name}\t{_state(token)}\t{' '.join(map(str, token.grants))}")
    return 0


@tokens.command(cls=GoCommand)
@config_path_option
@go_option("name", "", "which one (required)")
def revoke(config_path: Path, name: str) -> int:
    """Refuse a token from now on."""
    with existing_store(config_path) as store, _one_line():
        token_service(store).revoke(name)
    return 0


class _one_line:
    """Shows an expected error as one line."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, fault: BaseException | None, _trace: object) -> None:
        if isinstance(fault, MdmError) and not isinstance(fault, StartupError):
            raise StartupError(str(fault)) from fault


def _state(token: Token) -> str:
    if token.revoked_at:
        return f"revoked {rfc3339(token.revoked_at)}"
    return f"expires {rfc3339(token.expires_at)}" if token.expires_at else "never expires"
