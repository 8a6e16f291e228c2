"""What services that take requests share: fields inside `Opts` or beside it, and telling what it is about."""

from collections.abc import Callable

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.jsonbody import Json, field, read_object

__all__ = ["MAX_PAGE", "Tell", "number", "options", "tell_nobody"]

Tell = Callable[[str], None]
"""Called with the names of what a request is about, before it is changed: for the audit log."""

MAX_PAGE = 2**31 - 1


def tell_nobody(_names: str) -> None:
    """The `Tell` of callers whose requests are not written down."""


def options(body: bytes) -> dict[str, Json]:
    """The fields of a request, which MicroMDM wants inside `Opts` on some routes and beside it on others.

    Raises: MalformedField.
    """
    found = read_object(body, trailing="ignore")
    return {**found, **(field(found, "opts", dict) or {})}


def number(found: dict[str, Json], name: str) -> int:
    """A page or its size, 0 when absent.

    MicroMDM takes any number and ignores it: one below 0 counts as 0, a larger one than `MAX_PAGE` as that.

    Raises: MalformedField for what is no number of 64 bits.
    """
    value = field(found, name, int) or 0
    if not -(1 << 63) <= value < 1 << 63:
        raise MalformedField(name, "is beyond 64 bits")
    return min(max(value, 0), MAX_PAGE)
