"""``micromdm audit``: what callers of the admin API have changed."""

from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.store_options import config_path_option
from micromdm_py.errors import StartupError
from micromdm_py.protocol.jsonreply import rfc3339
from micromdm_py.store_place import existing_store

__all__ = ["audit"]


@click.command(cls=GoCommand)
@config_path_option
@go_option("limit", 100, "how many entries at most, newest first")
@go_option("who", "", "only those of this token, or of api-key")
def audit(config_path: Path, limit: int, who: str) -> int:
    """Show the audit log: time, caller, permission used, target, detail, request, request id."""
    if limit < 1:
        raise StartupError("-limit must be at least 1")
    with existing_store(config_path) as store:
        page = store.audit_entries(limit=limit, who=who or None)
        entries = page.entries
        while page.next and len(entries) < limit:
            page = store.audit_entries(before=page.next, limit=limit - len(entries), who=who or None)
            entries = [*entries, *page.entries]
    for entry in entries:
        told = (entry.who, entry.action, entry.target, entry.detail, entry.request, entry.request_id)
        click.echo("\t".join((rfc3339(entry.at), *map(_printable, told))))
    return 0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text) or "-"
