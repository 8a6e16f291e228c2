"""The memory store: all parts on one state."""

import contextlib
from collections.abc import Iterator

from micromdm_py.storage.memory.audit import AuditPart
from micromdm_py.storage.memory.depot import DepotPart
from micromdm_py.storage.memory.enrollments import EnrollmentPart
from micromdm_py.storage.memory.history import HistoryPart
from micromdm_py.storage.memory.outbox import OutboxPart
from micromdm_py.storage.memory.pushbook import PushPart
from micromdm_py.storage.memory.quarantine import QuarantinePart
from micromdm_py.storage.memory.shelf import ShelfPart
from micromdm_py.storage.memory.state import State
from micromdm_py.storage.memory.transfer import TransferPart

__all__ = ["MemoryStore"]


class MemoryStore(
    EnrollmentPart,
    HistoryPart,
    PushPart,
    DepotPart,
    QuarantinePart,
    OutboxPart,
    ShelfPart,
    AuditPart,
    TransferPart,
):
    """Implements `storage.base.Store` in dicts, for one process; nothing survives it.

    It is written to be read, as the model for stores that have to be fast: each rule of the queue is one
    expression over all commands of an enrollment. A method raises what it has to raise before it changes
    anything.
    """

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__(State())

    @contextlib.contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        """See `storage.base.Store`."""
        with self._s.lock:
            free = name not in self._s.leases
            self._s.leases.add(name)
        try:
            yield free
        finally:
            if free:
                self._s.leases.discard(name)

    def organization(self) -> tuple[str, str]:
        """See `storage.base.Store`; the same two for every memory store."""
        return f"{1:024x}", f"{2:024x}"

    def close(self) -> None:
        """See `storage.base.Store`; there is nothing to let go of."""
