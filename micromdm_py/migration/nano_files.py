"""NanoMDM's `filekv` storage: folders of small files, one for each key.

A bucket is a folder; below it, two folders named by the first characters of the key, and the file, which has
the key's name. Source: NanoMDM's storage/diskv and nanolib's kvdiskv.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from micromdm_py.errors import BadDatabase

__all__ = ["NanoFiles"]

BUCKETS = ("cert_auth", "devices", "enrollments", "push_cert", "queue", "users")
MAX_BYTES = 64 << 20
"""Largest value that is read; a command with a package's worth of payload is smaller."""


class NanoFiles:
    """All keys of such a storage; values are read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """List the keys. Raises: BadDatabase when the folder is not such a storage or cannot be read."""
        if not (folder / "enrollments").is_dir() or not (folder / "devices").is_dir():
            raise BadDatabase(
                f"{folder} is no filekv storage of NanoMDM: it has no folders enrollments and devices"
            )
        self._paths = {name: dict(_files(folder / name)) for name in BUCKETS}
        self._sorted = {name: sorted(found) for name, found in self._paths.items()}

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Keys that begin with `prefix`, sorted."""
        found = self._sorted[bucket]
        start = bisect_left(found, prefix)
        end = bisect_left(found, prefix + "\U0010ffff")
        return found[start:end]

    def get(self, bucket: str, key: str) -> bytes:
        """The value of a key, b"" when there is none. Raises: BadDatabase."""
        path = self._paths[bucket].get(key)
        if path is None:
            return b""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise BadDatabase(f"{path} is larger than {MAX_BYTES >> 20} MiB")
            return path.read_bytes()
        except OSError as fault:
            raise BadDatabase(f"{path}: {fault.strerror}") from fault

    def text(self, bucket: str, key: str) -> str:
        """The value of a key as text, "" when there is none or it is none."""
        return self.get(bucket, key).decode("utf-8", "replace")

    def written_at(self, bucket: str, key: str) -> datetime | None:
        """When a value was written, None when there is none."""
        path = self._paths[bucket].get(key)
        try:
            return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path else None
        except OSError:
            return None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Key and path of each file of a bucket."""
    try:
        for first in _folders(folder):
            for second in _folders(first):
                with os.scandir(second) as found:
                    yield from (
                        (one.name, Path(one.path)) for one in found if one.is_file(follow_symlinks=False)
                    )
    except OSError as fault:
        raise BadDatabase(f"{folder}: {fault.strerror}") from fault


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return [Path(one.path) for one in found if one.is_dir(follow_symlinks=False)]
