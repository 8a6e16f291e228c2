"""``micromdm version``."""

from micromdm_py.version import VERSION

__all__ = ["print_version"]


def print_version() -> int:
    """Print the line that MicroMDM prints."""
    print(f"micromdm version {VERSION}")
    return 0
