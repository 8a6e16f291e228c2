"""Waiting for the first synchronization: whoever has just stored a token wants to see its devices."""

from micromdm_py.errors import Busy
from micromdm_py.protocol.dep.documents import SYNC, SyncState
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.waiting import Wait
from micromdm_py.storage.base import Shelf

__all__ = ["LONGEST_S", "FirstSync"]

LONGEST_S = 5.0
"""Longest that a list of devices waits, in seconds."""


class FirstSync:
    """Waits while there is a token that no synchronization has been tried with."""

    def __init__(self, shelf: Shelf, accounts: Accounts, wait: Wait) -> None:
        """Wait for the tokens of `accounts`; `shelf` has the state of their synchronization."""
        self._shelf, self._accounts, self._wait = shelf, accounts, wait

    def __call__(self) -> None:
        """Wait, if there is something to wait for."""
        if not self._pending():
            return
        try:
            self._wait(self._pending, lambda pending: not pending, LONGEST_S)
        except Busy:
            return  # a list without some devices is better than none

    def _pending(self) -> bool:
        accounts = self._accounts.all()
        if not accounts:
            return False
        tried = {name for name, row in self._shelf.documents(SYNC) if SyncState.of(row).tried_at}
        return any(account.name not in tried for account in accounts)
