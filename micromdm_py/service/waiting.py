"""Requests that wait until something has happened.

Other processes write to the store, too, so a waiting request reads it again and again, at growing intervals.
That takes some ten microseconds; five hundred waiting requests take a few percent of one core.
"""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from micromdm_py.service.slots import Slots

__all__ = ["MAX_WAIT_S", "LongPolls", "Wait"]

T = TypeVar("T")

MAX_WAIT_S = 60
"""Longest that a request may ask to wait, in seconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5


class Wait(Protocol):
    """A way to wait; `LongPolls` is one."""

    def __call__(self, look: Callable[[], T], done: Callable[[T], bool], wait_s: float, /) -> T:
        """Call `look` until `done` accepts its result, or `wait_s` seconds are over; gives the last result.

        Raises: Busy when too many requests are waiting.
        """
        ...


class LongPolls:
    """Lets a limited number of requests wait at the same time."""

    def __init__(
        self,
        slots: int,
        *,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let `slots` requests wait; `pause` sleeps for a number of seconds, `clock` counts seconds."""
        self._slots = Slots(slots, "too many requests are waiting")
        self._pause, self._clock = pause, clock

    def __call__(self, look: Callable[[], T], done: Callable[[T], bool], wait_s: float) -> T:
        """See `Wait`."""
        with self._slots:
            end, pause_s = self._clock() + wait_s, FIRST_PAUSE_S
            while not done(seen := look()) and (left := end - self._clock()) > 0:
                self._pause(min(pause_s, left))
                pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
            return seen
