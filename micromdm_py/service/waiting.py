"""Requests that wait until something has happened.

What happens is written by other processes too, so a waiting request looks into the store again and again,
at growing intervals. A look costs some ten microseconds; five hundred waiting requests cost a few percent
of one core.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from micromdm_py.service.slots import Slots

__all__ = ["MAX_WAIT_S", "LongPolls"]

T = TypeVar("T")

MAX_WAIT_S = 60
"""Longest that a request may ask to wait, in seconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5


class LongPolls:
    """Lets a limited number of requests wait at a time."""

    def __init__(
        self,
        slots: int,
        *,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let `slots` requests wait; `pause` sleeps so many seconds, `clock` tells seconds."""
        self._slots = Slots(slots, "too many requests are waiting")
        self._pause, self._clock = pause, clock

    def __call__(self, look: Callable[[], T], done: Callable[[T], bool], wait_s: float) -> T:
        """Look until what is seen satisfies `done`, or the time is over; returns what was seen last.

        Raises: Busy when as many requests as may are waiting already.
        """
        with self._slots:
            end, pause_s = self._clock() + wait_s, FIRST_PAUSE_S
            while not done(seen := look()) and (left := end - self._clock()) > 0:
                self._pause(min(pause_s, left))
                pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
            return seen
