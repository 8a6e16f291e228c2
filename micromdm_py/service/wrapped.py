"""Request fields that MicroMDM wants inside `Opts` on some routes and beside it on others: taken in both."""

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.jsonbody import Json, field, read_object

__all__ = ["MAX_PAGE", "number", "options"]

MAX_PAGE = 2**31 - 1


def options(body: bytes) -> dict[str, Json]:
    """The fields of a request. Raises: MalformedField."""
    found = read_object(body, trailing="ignore")
    return {**found, **(field(found, "opts", dict) or {})}


def number(found: dict[str, Json], name: str) -> int:
    """A page or its size, 0 when absent. Raises: MalformedField."""
    value = field(found, name, int) or 0
    if not 0 <= value <= MAX_PAGE:
        raise MalformedField(name, f"must be from 0 to {MAX_PAGE}")
    return value
