"""The whole content of a store, for moving in and out."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

from micromdm_py.storage.transfer import Moved

__all__ = ["Transfer"]


class Transfer(Protocol):
    """The whole content, for moving in and out."""

    def is_empty(self) -> bool:
        """Whether there is no enrollment, command, issued certificate, push certificate or document."""
        ...

    def load(self, content: Iterable[Moved], *, at: datetime) -> None:
        """Add the content of another store to this one, which is empty.

        Many transactions: nobody else may use the store before this returns. A document that comes again
        replaces the earlier one; everything else comes once. `at` is the time of the move.
        """
        ...

    def content(self) -> Iterator[Moved]:
        """Everything that `load` takes, except challenges; the commands of an enrollment are in order."""
        ...
