"""Who calls the admin API and what that caller may do.

A permission is a dotted name (`mdm.apple.command.create`). A grant is a permission, or the beginning of
several with `*` at the end (`mdm.apple.device.*`, `*`). It may be narrowed to details:
`mdm.apple.command.create:SecurityInfo,DeviceInformation` lets a caller queue these request types and no
others.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from micromdm_py.errors import Forbidden, MalformedField

__all__ = ["ADMINISTRATOR", "CREATE", "Caller", "Grant", "parse_grant"]

CREATE = "mdm.apple.command.create"
"""The permission to queue a command; its details are request types."""

_NAME = re.compile(r"(?:[a-z][a-z0-9-]*\.)*(?:[a-z][a-z0-9-]*|\*)")
_DETAIL = re.compile(r"[A-Za-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class Grant:
    """Something a caller may do.

    Attributes:
        name: a permission, or the beginning of several with `*` at the end.
        details: what it is narrowed to; empty if it is not.
    """

    name: str
    details: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """The grant as `parse_grant` reads it."""
        return f"{self.name}:{','.join(sorted(self.details))}" if self.details else self.name

    def covers(self, permission: str) -> bool:
        """Whether it grants a permission, or all that another grant's name stands for, apart from details."""
        if self.name.endswith("*"):
            return permission.startswith(self.name[:-1])
        return permission == self.name

    def includes(self, other: "Grant") -> bool:
        """Whether it allows everything that `other` allows."""
        return self.covers(other.name) and (
            not self.details or (bool(other.details) and other.details <= self.details)
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose credentials were accepted.

    Attributes:
        name: name of the token, or `api-key`.
        grants: what the caller may do.
    """

    name: str
    grants: tuple[Grant, ...]

    def may(self, permission: str, detail: str | None = None) -> bool:
        """Whether a permission was granted.

        Without a detail a narrowed grant counts, too: ask again as soon as the detail is known.
        """
        return any(
            grant.covers(permission) and (detail is None or not grant.details or detail in grant.details)
            for grant in self.grants
        )

    def require(self, permission: str, detail: str | None = None) -> None:
        """Raise Forbidden unless `may` allows it."""
        if not self.may(permission, detail):
            raise Forbidden("Permission denied")

    def require_all(self, grants: Iterable[Grant]) -> None:
        """Raise Forbidden unless the caller may do everything that `grants` would allow."""
        for wanted in grants:
            if not any(grant.includes(wanted) for grant in self.grants):
                raise Forbidden(f"permission {wanted} is not yours to give")


ADMINISTRATOR = Caller("api-key", (Grant("*"),))
"""The caller that has the API key."""


def parse_grant(text: str) -> Grant:
    """Read a grant. Raises: MalformedField."""
    name, colon, details = text.partition(":")
    if not _NAME.fullmatch(name):
        raise MalformedField("permission", f"{text!r} is not a dotted name")
    if not colon:
        return Grant(name)
    found = details.split(",")
    if not Grant(name).covers(CREATE):
        raise MalformedField("permission", f"only {CREATE} can be narrowed")
    if not all(map(_DETAIL.fullmatch, found)):
        raise MalformedField("permission", f"{text!r} does not name request types")
    return Grant(name, frozenset(found))
