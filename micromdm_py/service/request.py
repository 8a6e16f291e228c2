"""What the services behind MicroMDM's routes share: reading fields, and telling what a request is about."""

from collections.abc import Callable

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.jsonbody import Json, field, read_object

__all__ = ["MAX_PAGE", "Tell", "page_number", "read_fields", "tell_nobody"]

Tell = Callable[[str], None]
"""Called for the audit log with the names of what a request is about, before anything is changed."""

MAX_PAGE = 2**31 - 1


def tell_nobody(_names: str) -> None:
    """The `Tell` of requests that are not in the audit log."""


def read_fields(body: bytes) -> dict[str, Json]:
    """The fields of a request; MicroMDM has them inside `Opts` on some routes and at the top on others.

    Raises: MalformedField.
    """
    found = read_object(body, trailing="ignore")
    return {**found, **(field(found, "opts", dict) or {})}


def page_number(found: dict[str, Json], name: str) -> int:
    """The number of a page or its size, 0 when absent.

    MicroMDM refuses no number, so one below 0 counts as 0 and one above `MAX_PAGE` as `MAX_PAGE`.

    Raises: MalformedField for anything but a whole number of 64 bits.
    """
    value = field(found, name, int) or 0
    if not -(1 << 63) <= value < 1 << 63:
        raise MalformedField(name, "is beyond 64 bits")
    return min(max(value, 0), MAX_PAGE)
