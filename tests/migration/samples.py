"""The sample database: written by MicroMDM 1.13.1, with what its own library reads from it."""

import functools
import io
import json
from pathlib import Path
from typing import Any

from micromdm_py.migration.bolt import BoltFile, Bucket
from micromdm_py.migration.bolt_writer import BoltWriter

FOLDER = Path(__file__).parent.parent / "data" / "migration"
SAMPLE = FOLDER / "micromdm.db"


@functools.cache
def expected() -> Any:
    """Every record of every bucket (`buckets`) and the hash of every value (`value_sha256`)."""
    return json.loads((FOLDER / "expected.json").read_text())


@functools.cache
def delivery() -> Any:
    """What the original delivered from this database, by enrollment."""
    return json.loads((FOLDER / "delivery.json").read_text())


def read(path: Path) -> dict[bytes, dict[bytes, bytes | Bucket]]:
    """Every row of every bucket."""
    with BoltFile(path) as file:
        return {name: dict(file.rows(bucket)) for name, bucket in file.buckets()}


def written(buckets: dict[bytes, dict[bytes, bytes]], page_size: int = 4096) -> bytes:
    """A database with these buckets."""
    out = io.BytesIO()
    writer = BoltWriter(out, page_size)
    for name, rows in buckets.items():
        writer.bucket(name, sorted(rows.items()))
    writer.finish()
    return out.getvalue()


def sample() -> dict[bytes, dict[bytes, bytes]]:
    """The rows of the sample, for changing."""
    return {
        name: {key: value for key, value in rows.items() if isinstance(value, bytes)}
        for name, rows in read(SAMPLE).items()
    }


def damage(path: Path, at: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)
