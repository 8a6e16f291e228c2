"""MicroMDM's database, bucket by bucket, with a count of what was read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.bolt import BoltFile, Bucket
from micromdm_py.migration.messages import decode
from micromdm_py.migration.report import BucketReport, Report

__all__ = ["ARCHIVES", "DERIVED", "KNOWN", "OldDatabase"]

M = TypeVar("M")

DERIVED = ("mdm.DeviceIdx", "mdm.UserIdx", "mdm.BlueprintIdx")
ARCHIVES = ("mdm.Checkin.ARCHIVE", "mdm.Command.ARCHIVE")
"""Buckets of messages that older releases wrote and nothing has ever read."""
SECRET_KEYS = ("scep_challenges", "mdm.DEPToken")
KNOWN = frozenset(
    {
        *DERIVED,
        *ARCHIVES,
        *SECRET_KEYS,
        "mdm.Blueprint",
        "mdm.DEPAutoAssign",
        "mdm.DEPConfig",
        "mdm.DeviceCommands",
        "mdm.Devices",
        "mdm.Profile",
        "mdm.PushInfo",
        "mdm.RemoveDevice",
        "mdm.ServerConfig",
        "mdm.UDIDCertAuth",
        "mdm.Users",
        "scep_certificates",
    }
)


class OldDatabase:
    """An open database; each bucket can be read once."""

    def __init__(self, path: Path, report: Report) -> None:
        """Open it and look at the names of its buckets; what is read is counted in `report`.

        Raises: BadDatabase; also when no bucket is one of MicroMDM's.
        """
        self._report = report
        self._file = BoltFile(path)
        self._read: set[str] = set()
        try:
            self._buckets = dict(self._named())
            if not KNOWN & self._buckets.keys():
                raise BadDatabase(f"{path} is a bbolt database, but not MicroMDM's")
            for name in self._buckets:
                self.about(name)
        except BaseException:
            self._file.close()
            raise
        if self._file.note:
            report.warnings.append(f"{path}: {self._file.note}")

    def __enter__(self) -> "OldDatabase":
        """The database itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def _named(self) -> Iterator[tuple[str, Bucket]]:
        for name, bucket in self._file.buckets():
            yield name.decode("utf-8", "backslashreplace"), bucket

    def has(self, name: str) -> bool:
        """Whether there is a bucket of that name."""
        return name in self._buckets

    @property
    def unread(self) -> list[str]:
        """Names of buckets that nobody has asked for."""
        return [name for name in self._buckets if name not in self._read]

    @property
    def pages(self) -> tuple[int, int]:
        """How many pages have been read, and how many there are."""
        return self._file.pages

    def about(self, name: str) -> BucketReport:
        """The report of a bucket."""
        return self._report.bucket(name, secret=name in SECRET_KEYS)

    def rows(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket; nothing when it is missing. Raises: BadDatabase."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return
        about = self.about(name)
        self._read.add(name)
        for key, value in self._file.rows(bucket):
            about.read += 1
            if isinstance(value, Bucket):
                about.lose(key, "is a bucket inside the bucket, which MicroMDM does not make")
            else:
                yield key, value

    def messages(self, name: str, message: type[M]) -> Iterator[tuple[str, M]]:
        """Keys and messages of a bucket; one that cannot be read is lost, and the rest goes on."""
        about = self.about(name)
        for key, value in self.rows(name):
            try:
                yield key.decode(), decode(message, value, self._report.unknown_fields)
            except (BadDatabase, UnicodeDecodeError) as fault:
                about.lose(key, _reason(fault))

    @contextlib.contextmanager
    def counted(self, name: str, key: str) -> Iterator[None]:
        """Count a row that is dealt with inside as imported, or as lost when ValueError is raised there."""
        about = self.about(name)
        try:
            yield
        except ValueError as fault:
            about.lose(key, str(fault))
        else:
            about.imported += 1


def _reason(fault: Exception) -> str:
    return "the key is not valid UTF-8" if isinstance(fault, UnicodeDecodeError) else str(fault)
