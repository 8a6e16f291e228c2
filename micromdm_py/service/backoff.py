"""How long to wait after a failure, and when to consider a whole service down."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["Backoff", "Gate"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times that grow with every failure.

    Attributes:
        first_s: longest wait after the first failure, in seconds.
        factor: how many times longer each further wait is.
        longest_s: longest wait of all, in seconds.
    """

    first_s: float
    factor: float
    longest_s: float

    def delay(self, failures: int, draw: Callable[[], float]) -> timedelta:
        """The wait after so many failures in a row (1 or more).

        Args:
            failures: how many.
            draw: gives a random number of [0, 1), which shortens the wait by up to a fifth, so that what
                failed together is not tried again together.
        """
        plain = min(self.first_s * self.factor ** min(failures - 1, 100), self.longest_s)
        return timedelta(seconds=plain * (1 - 0.2 * draw()))


class Gate:
    """Closes when a whole service seems down, and then lets single tries through.

    Failing calls for one enrollment say nothing about the others. When calls for `ENOUGH` different ones
    fail, with no answer to any call in between, the service is considered down.
    """

    ENOUGH = 3

    def __init__(self, backoff: Backoff, draw: Callable[[], float]) -> None:
        """Begin open; `backoff` spaces the tries while closed, `draw` as in `Backoff.delay`."""
        self._backoff, self._draw = backoff, draw
        self._failing: set[str] = set()
        self._rounds = 0
        self._trying = False
        self.next_try_at: datetime | None = None

    @property
    def closed(self) -> bool:
        """Whether only single tries pass."""
        return self.next_try_at is not None

    def passes(self, now: datetime) -> bool:
        """Whether a call may begin now."""
        return self.next_try_at is None or (not self._trying and now >= self.next_try_at)

    def begin(self) -> None:
        """Note that a call begins."""
        self._trying = self.closed

    def withdraw(self) -> None:
        """Note that the call that had begun was not made after all."""
        self._trying = False

    def answered(self) -> bool:
        """Open the gate, as the service has answered. Returns whether it was closed."""
        was_closed = self.closed
        self._failing.clear()
        self._rounds, self._trying, self.next_try_at = 0, False, None
        return was_closed

    def failed(self, who: str, now: datetime, at_least_s: float = 0.0, *, for_all: bool = False) -> bool:
        """Note that a call for `who` got no answer; returns whether this has closed the gate.

        Args:
            who: the enrollment.
            now: current time.
            at_least_s: how long the service wants to be left alone, in seconds.
            for_all: whether it is clear that no other call would get an answer.
        """
        was_closed = self.closed
        if not was_closed:
            self._failing.add(who)
            if len(self._failing) < self.ENOUGH and not for_all:
                return False
        elif self.next_try_at and now < self.next_try_at:
            self._trying = False
            return False  # began before the gate closed
        self._rounds += 1
        self._trying = False
        wait = max(self._backoff.delay(self._rounds, self._draw), timedelta(seconds=at_least_s))
        self.next_try_at = now + wait
        return not was_closed
