"""How work on an event loop calls what may wait for the disk."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

__all__ = ["Blocking"]

T = TypeVar("T")


class Blocking(Protocol):
    """Runs a call that may wait for the disk without holding up the event loop."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run `call` in another thread; gives its result or raises its error."""
        ...
