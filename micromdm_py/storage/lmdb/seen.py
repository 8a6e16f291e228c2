"""When enrollments were last in contact, as long as it is not written yet."""

import threading

from micromdm_py.storage.lmdb.environment import Environment
from micromdm_py.storage.lmdb.tables import CONTACT, Contact, u64
from micromdm_py.storage.lmdb.transactions import Txn

__all__ = ["SeenTimes"]

SEEN_FLUSH_S = 5.0
"""How long the time of a contact that changed nothing else may stay in memory only."""


class SeenTimes:
    """Times of contacts that wrote nothing, kept in memory until the next commit, or for a few seconds.

    A crash loses those of the last `SEEN_FLUSH_S`.
    """

    def __init__(self, env: Environment) -> None:
        """Write with every commit of `env`."""
        self._env = env
        self._lock = threading.Lock()
        self._times: dict[int, int] = {}
        self._timer: threading.Timer | None = None
        env.before_commit(self._flush)

    def note(self, number: int, at_ms: int) -> None:
        """Remember that an enrollment was seen."""
        with self._lock:
            self._times[number] = at_ms
            if self._timer is None:
                self._timer = threading.Timer(SEEN_FLUSH_S, self._due)
                self._timer.daemon = True
                self._timer.start()

    def noted(self, number: int) -> int:
        """When an enrollment was seen, in milliseconds since 1970; 0 if nothing is waiting to be written."""
        return self._times.get(number, 0)

    def close(self) -> None:
        """Write what is left."""
        with self._lock:
            timer = self._timer
        if timer is not None:
            timer.cancel()
            self._due()

    def _due(self) -> None:
        with self._lock:
            self._timer = None
        if self._times:
            self._env.write(lambda _txn: None)

    def _flush(self, txn: Txn) -> None:
        if not self._times:
            return
        with self._lock:
            times, self._times = self._times, {}
        for number, at_ms in times.items():
            key = u64(number) + CONTACT
            row = txn.get(key, db=self._env.tables.own)
            if row is not None:
                contact = Contact.decode(row)
                if contact.seen_ms < at_ms:
                    contact.seen_ms = at_ms
                    txn.put(key, contact.encode(), db=self._env.tables.own)
