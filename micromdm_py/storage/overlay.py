"""Changes to documents, kept aside until all of them have been made without an error."""

from collections.abc import Callable

from micromdm_py.errors import MalformedField, NotFound

__all__ = ["MAX_NAME_BYTES", "Overlay", "check_name", "missing"]

MAX_NAME_BYTES = 400
"""Longest name of a document, in bytes of UTF-8; backends use it as part of a key."""


def missing(kind: str, name: str) -> NotFound:
    """The error for a document that does not exist."""
    return NotFound(f"not found: {kind.replace('-', ' ')} {name}")


def check_name(name: str) -> str:
    """Return a document's name unchanged if it may be used. Raises: MalformedField."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise MalformedField("name", "is not valid Unicode") from None
    if not size or size > MAX_NAME_BYTES:
        raise MalformedField("name", f"must have 1 to {MAX_NAME_BYTES} bytes")
    return name


class Overlay:
    """Implements `storage.base.Documents`: reads through to the store, and collects what is to be written.

    So a change that raises half-way has written nothing, whatever the backend.
    """

    def __init__(
        self,
        read: Callable[[str, str], bytes | None],
        scan: Callable[[str, str], list[tuple[str, bytes]]],
    ) -> None:
        """Read with `read` and `scan` what was not changed here."""
        self._read, self._scan = read, scan
        self.changes: dict[tuple[str, str], bytes | None] = {}

    def get(self, kind: str, name: str) -> bytes | None:
        """See `storage.base.Documents`."""
        try:
            return self.changes[kind, name]
        except KeyError:
            return self._read(kind, name)

    def scan(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """See `storage.base.Documents`."""
        found: dict[str, bytes | None] = dict(self._scan(kind, prefix))
        changed = {name: body for (its, name), body in self.changes.items() if its == kind}
        found |= {name: body for name, body in changed.items() if name.startswith(prefix)}
        kept = [(name, body) for name, body in found.items() if body is not None]
        return sorted(kept, key=lambda one: one[0].encode())

    def put(self, kind: str, name: str, body: bytes) -> None:
        """See `storage.base.Documents`."""
        self.changes[kind, check_name(name)] = body

    def remove(self, kind: str, name: str) -> None:
        """See `storage.base.Documents`."""
        if self.get(kind, name) is None:
            raise missing(kind, name)
        self.changes[kind, name] = None

    def discard(self, kind: str, name: str) -> None:
        """See `storage.base.Documents`."""
        if self.get(kind, name) is not None:
            self.changes[kind, name] = None
