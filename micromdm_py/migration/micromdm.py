"""Everything in MicroMDM's database, as the content of a store."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from micromdm_py.migration.dep import dep_documents
from micromdm_py.migration.documents import blueprints, profiles, users
from micromdm_py.migration.enrollments import Enrollments
from micromdm_py.migration.inventory import PINS, Inventory
from micromdm_py.migration.keys import Certificates, push_certificate
from micromdm_py.migration.report import Report
from micromdm_py.migration.repository import check_repository
from micromdm_py.migration.source import ARCHIVES, DERIVED, OldDatabase
from micromdm_py.storage.transfer import Moved

__all__ = ["content"]

NAMED = 5
"""How many of many a warning names."""


def content(
    old: OldDatabase, report: Report, now: datetime, repository: Path | None = None
) -> Iterator[Moved]:
    """Read the whole database.

    Args:
        old: the database, opened with `report`.
        report: is complete when the last piece has been taken.
        now: time of whatever has none, aware UTC.
        repository: the old server's folder of packages and manifests, which stays where it is.
    Raises: BadDatabase when what is read is not to be trusted, or makes no sense together.
    """
    certificates = Certificates(old, report)
    yield from certificates.moved()
    inventory = Inventory(old)
    push = push_certificate(old, report, now)
    if push is not None:
        yield push
    _check(certificates, inventory, push.topic if push else "", report)
    named = {user.uuid for user in inventory.users}
    for document in profiles(old):
        named.add(document.name)
        yield document
    yield from users(inventory.users)
    urls: list[str] = []
    yield from blueprints(old, report, named, urls)
    check_repository(urls, repository, report)
    yield from dep_documents(old, inventory, now)
    yield from Enrollments(old, inventory, report, now).moved()
    if not old.has("mdm.DeviceCommands"):
        report.warnings.append(
            "there are no queues: the server ran with -queue inmem, or never had a command"
        )
    _leave(old)


def _check(certificates: Certificates, inventory: Inventory, topic: str, report: Report) -> None:
    """Look for what does not fit together and yet can be served."""
    strange = [udid for udid, pin in inventory.pins.items() if pin not in certificates.issued]
    if strange:
        report.warnings.append(
            f"{PINS}: {len(strange)} devices have certificates that were not issued here and need "
            f"-validate-scep-issuer: {_some(strange)}"
        )
    if not topic and inventory.pushes:
        report.warnings.append("there is no push certificate: upload one before devices are to be pushed")
    others = {name: count for name, count in inventory.topics.items() if topic and name != topic}
    for name, count in others.items():
        report.warnings.append(f"{count} enrollments have the push topic {name or '(none)'}, not {topic}")


def _leave(old: OldDatabase) -> None:
    """Count what is not taken over, and why."""
    for name in DERIVED:
        if old.has(name):
            about = old.about(name)
            if not about.read:
                _ = sum(1 for _ in old.rows(name))  # counts them
            about.derived = about.read
    for name in ARCHIVES:
        if old.has(name):
            about = old.about(name)
            about.left = sum(1 for _ in old.rows(name))
            about.why = "an archive of an older release, which nothing reads"
    for name in old.unread:
        rows = sum(1 for _ in old.rows(name))
        if rows:
            old.about(name).lose(f"{rows} rows", "this program has no place for the bucket")


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
