"""The file repository of the old server: it stays where it is, and has to have what blueprints name."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from micromdm_py.errors import MalformedRequest
from micromdm_py.migration.report import Report
from micromdm_py.protocol.plist import loads

__all__ = ["check_repository"]

PREFIX = "/repo/"
MAX_MANIFEST_BYTES = 1 << 20


def check_repository(urls: Iterable[str], folder: Path | None, report: Report) -> None:
    """Warn of manifests that blueprints name and nobody could fetch.

    Args:
        urls: manifests that blueprints name.
        folder: the file repository, None when it was not given.
        report: takes the warnings.
    """
    names = dict.fromkeys(name for url in urls if (name := _name(url)))
    if names and folder is None:
        report.warnings.append(
            f"blueprints name {len(names)} manifests in the file repository: start the server with the old "
            "server's -filerepo"
        )
    if folder is None:
        return
    for manifest in names:
        for name in (manifest, *_packages(folder / manifest)):
            if not (folder / name).is_file():
                report.warnings.append(f"{folder} has no {name}, which a blueprint needs")


def _name(url: str) -> str:
    """Path of a file below the repository, "" when the URL leads elsewhere."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return ""
    name = PurePosixPath(path.removeprefix(PREFIX))
    inside = path.startswith(PREFIX) and not name.is_absolute() and ".." not in name.parts
    return str(name) if inside and name.parts and "\0" not in path else ""


def _packages(manifest: Path) -> Iterator[str]:
    """The packages that a manifest names, as far as they are in the repository."""
    try:
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            return
        items = loads(manifest.read_bytes()).get("items")
    except (OSError, MalformedRequest):
        return
    for item in items if isinstance(items, list) else ():
        assets = item.get("assets") if isinstance(item, dict) else None
        for asset in assets if isinstance(assets, list) else ():
            url = asset.get("url") if isinstance(asset, dict) else None
            if isinstance(url, str) and (name := _name(url)):
                yield name
