"""The store as the services see it: one Protocol per concern, and `Store` for all of them together.

`storage.lmdb` keeps it on disk. `storage.memory` is the model: slow, and written to be read. Both have one
module for each module here. The cases in `tests/storage` run against both; a further backend joins them in
`tests/storage/conftest.py`. What they all promise, for every method unless it says otherwise:

* One transaction. When a method that changes something returns, the change is on disk; when it raises,
  nothing has changed.
* Serial order. Web workers and the courier share one store from several processes and threads. Their calls
  take effect one after the other, and each sees everything that had returned before it began.
* Sequence numbers (of commands, events, audit entries) grow in that order: whoever has read up to n never
  finds a smaller number later. A database sequence that is drawn before the commit does not ensure this; an
  event would then fall behind a receiver's cursor and be lost. Gaps do no harm.
* Cost. No call becomes slower with the number of commands an enrollment has ever had, or that wait for it.
* Ids are made by the caller or returned. A command id and a target id are 24 lower-case hex digits: the
  second of creation (8 digits), and the sequence number or a number of the enrollment's own (16). Cursors are
  text that only the backend reads, except `CommandFilter.cursor`. Nothing else of a backend leaks out.
* Times are aware UTC and kept to the millisecond. `at` is the caller's present: a store has no clock.
* Errors are those of `micromdm_py.errors`. `StorageUnavailable` may come from every method that writes, and
  from all methods of a backend that may be out of reach: requests then get a 503, the courier tries again.
* A callable that is handed in may be called again if a transaction is repeated. It must not call the store.
* All threads of a process may share a store; none crosses a fork. How a store is opened, and how a backup of
  it is made, is no part of this: `compose` and `store_place` know the backend.

An *enrollment id* is the id of `protocol.enrollment`. An *API id* is what an administrator may give instead:
the enrollment id, or the bare UserID of a user channel while only one device has it.
"""

from contextlib import AbstractContextManager
from typing import Protocol

from micromdm_py.storage.base.audit import AuditLog
from micromdm_py.storage.base.depot import Depot
from micromdm_py.storage.base.enrollments import Enrollments
from micromdm_py.storage.base.history import CommandHistory
from micromdm_py.storage.base.outbox import Outbox
from micromdm_py.storage.base.pushbook import PushBook
from micromdm_py.storage.base.quarantine import Quarantine
from micromdm_py.storage.base.queue import CommandQueue
from micromdm_py.storage.base.shelf import Documents, Shelf
from micromdm_py.storage.base.transfer import Transfer

__all__ = [
    "AuditLog",
    "CommandHistory",
    "CommandQueue",
    "Depot",
    "Documents",
    "Enrollments",
    "Outbox",
    "PushBook",
    "Quarantine",
    "Shelf",
    "Store",
    "Transfer",
]


class Store(
    CommandQueue,
    CommandHistory,
    Enrollments,
    PushBook,
    Depot,
    Quarantine,
    Outbox,
    Shelf,
    AuditLog,
    Transfer,
    Protocol,
):
    """Everything together, as one backend offers it."""

    def lease(self, name: str) -> AbstractContextManager[bool]:
        """Hold a lease that ends with the block or the process; gives False at once while another has it."""
        ...

    def organization(self) -> tuple[str, str]:
        """Ids of organization and enterprise, 24 hex digits each, made when the store was first opened."""
        ...

    def close(self) -> None:
        """Finish what is being written and release the files; the store cannot be used afterwards."""
        ...
