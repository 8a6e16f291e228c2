"""The version of the product, and what ``GET /version`` answers."""

import platform

from micromdm_py import __version__

__all__ = ["VERSION", "build_info"]

VERSION = __version__


def build_info() -> dict[str, str]:
    """The fields of ``GET /version``; ``go_version`` names the interpreter, for clients that show it."""
    return {
        "version": VERSION,
        "branch": "unknown",
        "revision": "unknown",
        "go_version": f"{platform.python_implementation()} {platform.python_version()}",
        "build_date": "unknown",
        "build_user": "unknown",
    }
