"""NanoMDM's `filekv` storage: folders of small files, one for each key.

A bucket is a folder; below it, two folders named by the first characters of the key, and the file, which has
the key's name. Source: NanoMDM's storage/diskv and nanolib's kvdiskv.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.nano_records import NanoCommand, NanoEnrollment, NanoPushCertificate
from micromdm_py.migration.report import Report

__all__ = ["NanoFiles", "NanoFolder"]

BUCKETS = ("cert_auth", "devices", "enrollments", "push_cert", "queue", "users")
MAX_BYTES = 64 << 20
"""Largest value that is read; a command with a package's worth of payload is smaller."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FINAL = ("Acknowledged", "Error", "CommandFormatError")
_FIRST = ".queuekey.queue.first"


class NanoFiles:
    """All keys of such a storage; values are read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """List the keys. Raises: BadDatabase when the folder is not such a storage or cannot be read."""
        if not (folder / "enrollments").is_dir() or not (folder / "devices").is_dir():
            raise BadDatabase(
                f"{folder} is not a filekv storage of NanoMDM: it has no folders enrollments and devices"
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


class NanoFolder:
    """Such a storage as a `NanoStorage`."""

    def __init__(self, files: NanoFiles, report: Report) -> None:
        """Tell `report` what is wrong with queues."""
        self._files, self._report = files, report

    def push_certificates(self) -> Iterator[NanoPushCertificate]:
        """See `NanoStorage`."""
        get = self._files.get
        for key in self._files.keys("push_cert"):
            if key.endswith(".pem"):
                yield NanoPushCertificate(
                    key, get("push_cert", key), get("push_cert", f"{key.removesuffix('.pem')}.key")
                )

    def devices(self) -> Iterator[NanoEnrollment]:
        """See `NanoStorage`."""
        yield from self._enrollments("devices", ".auth")

    def users(self) -> Iterator[NanoEnrollment]:
        """See `NanoStorage`."""
        yield from self._enrollments("users", ".tok_upd")

    def queues(self) -> Iterator[str]:
        """See `NanoStorage`."""
        return (key.removesuffix(_FIRST) for key in self._files.keys("queue") if key.endswith(_FIRST))

    def commands(self, name: str) -> Iterator[NanoCommand]:
        """Those that are done by the time of their answer, then the linked list, refused ones last."""
        waiting = list(self._linked(name))
        for uuid in sorted(self._done(name, set(waiting)), key=lambda one: self._answered(name, one)):
            yield self._command(name, uuid, self._status(name, uuid))
        refused = [uuid for uuid in waiting if self._status(name, uuid) == "NotNow"]
        for uuid in waiting:
            if uuid not in refused:
                yield self._command(name, uuid, "")
        for uuid in refused:
            yield self._command(name, uuid, "NotNow")

    # --- enrollments ---

    def _enrollments(self, bucket: str, suffix: str) -> Iterator[NanoEnrollment]:
        for key in self._files.keys(bucket):
            if key.endswith(suffix):
                yield self._enrollment(bucket, key.removesuffix(suffix), self._files.get(bucket, key))

    def _enrollment(self, bucket: str, name: str, message: bytes) -> NanoEnrollment:
        def value(key: str) -> bytes:
            return self._files.get("enrollments", f"{name}.{key}")

        def text(key: str) -> str:
            return self._files.text("enrollments", f"{name}.{key}")

        return NanoEnrollment(
            name,
            message,
            self._files.get(bucket, f"{name}.cert"),
            self._files.text("cert_auth", f"{name}.cert_hash"),
            value("unl_tok"),
            self._files.get(bucket, f"{name}.bstoken"),
            value("token"),
            text("push_magic"),
            text("topic"),
            not value("disabled"),
            _time(text("last_seen_at")),
            _time(text("enrolled_at")),
        )

    # --- queues ---

    def _linked(self, name: str) -> Iterator[str]:
        seen: set[str] = set()
        uuid = self._files.text("queue", f"{name}{_FIRST}")
        while uuid and uuid not in seen:
            seen.add(uuid)
            yield uuid
            uuid = self._files.text("queue", f"{name}.{uuid}.queueitem.next")
        if uuid:
            self._report.warnings.append(f"{name}: the queue leads back to {uuid}, and ends there")

    def _done(self, name: str, waiting: set[str]) -> Iterator[str]:
        suffix = ".queueitem.status"
        for key in self._files.keys("queue", f"{name}."):
            uuid = key.removesuffix(suffix)[len(name) + 1 :]
            if key.endswith(suffix) and uuid not in waiting and self._status(name, uuid) in _FINAL:
                yield uuid

    def _status(self, name: str, uuid: str) -> str:
        return self._files.text("queue", f"{name}.{uuid}.queueitem.status")

    def _answered(self, name: str, uuid: str) -> datetime:
        return self._files.written_at("queue", f"{name}.{uuid}.queueitem.status") or _EPOCH

    def _command(self, name: str, uuid: str, status: str) -> NanoCommand:
        files = self._files
        return NanoCommand(
            uuid,
            files.text("queue", f"{uuid}.req_type"),
            files.get("queue", f"{uuid}.raw"),
            status,
            files.get("queue", f"{name}.{uuid}.queueitem.report") if status in _FINAL else b"",
            files.written_at("queue", f"{uuid}.raw"),
            files.written_at("queue", f"{name}.{uuid}.queueitem.status") if status else None,
        )


def _time(text: str) -> datetime | None:
    """A time from microseconds since 1970."""
    microseconds = int(text) if text.isdigit() and len(text) < 18 else 0
    return _EPOCH + timedelta(microseconds=microseconds) if microseconds else None
