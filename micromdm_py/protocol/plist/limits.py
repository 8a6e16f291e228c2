"""How large a property list may be, apart from its size in bytes."""

from typing import Any

__all__ = ["DISTINCT_LEVELS", "HIGHEST_INTEGER", "LOWEST_INTEGER", "MAX_DEPTH", "MAX_NODES", "Value"]

MAX_DEPTH = 64
"""Deepest nesting of arrays and dictionaries; a profile has about ten levels."""

MAX_NODES = 1_000_000
"""Most values in one document; a list of a thousand apps has about 20 000."""

DISTINCT_LEVELS = 2
"""The levels, from the root down, on which repeated keys can be refused."""

LOWEST_INTEGER, HIGHEST_INTEGER = -(1 << 63), (1 << 64) - 1
"""Integers have 64 bits, signed or unsigned."""

Value = Any  # a tree of str, int, float, bool, bytes, datetime, list and dict
