"""The sample database: written by MicroMDM 1.13.1, with what its own library reads from it."""

import functools
import json
from pathlib import Path
from typing import Any

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
