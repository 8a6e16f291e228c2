"""The lead: held by the one thread of a web worker that takes events and serves them, one after the other.

Python runs one thread at a time, and the LMDB binding releases the interpreter lock in every call: several
busy threads would fight over it, which costs more than serving. So one thread leads, and it keeps the lead
for as long as it never has to wait. Whatever waits for long (a slow body, an outgoing call) first gives up
the lead (`give_up`); another thread takes it, and the first one finishes its request and lines up again.

A commit is worth sharing: a request that needs one steps aside (`pause`) while there are other requests to
read. The last of them commits for all; the lead then passes from one to the next, so that they also answer
one after the other.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["Lead", "Pause", "about_to_wait", "give_up", "pause", "waiting"]

P = ParamSpec("P")
R = TypeVar("R")

GATHER_S = 0.005
"""How long one request may wait for others to share its commit."""
WORTH_S = 0.005
"""A shorter wait is not worth handing on the lead for."""

_mine = threading.local()


class _Turn:
    """A thread that waits for its turn; releasing the lock lets it go on."""

    __slots__ = ("lock", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.lock = threading.Lock()
        self.lock.acquire()


class Lead:
    """The right to take events, handed from thread to thread.

    At most one thread has it. When no thread was there to take it, it is free for the next one that comes.
    """

    def __init__(self, hire: Callable[[], bool], more: Callable[[], bool]) -> None:
        """Begin with a free lead.

        Args:
            hire: starts a thread that will `take` the lead; False when no more threads are allowed.
            more: whether an event can be served without waiting; called only by the thread that leads.
        """
        self._hire, self._more = hire, more
        self._lock = threading.Lock()
        self._holder = 0
        self._line: list[_Turn] = []  # last in, first out: the latest thread has the warmest caches
        self._back: deque[Pause] = deque()
        self._paused: deque[Pause] = deque()

    def take(self, seconds: float) -> bool:
        """Wait in line until this thread leads; False when that takes longer than `seconds`."""
        turn = _Turn()
        with self._lock:
            if not self._holder:
                self._holder = turn.thread
                _mine.lead = self
                return True
            self._line.append(turn)
        if not turn.lock.acquire(timeout=seconds):
            with self._lock:
                if turn in self._line:
                    self._line.remove(turn)
                    return False
        _mine.lead = self
        return True

    def is_mine(self) -> bool:
        """Whether this thread leads."""
        return self._holder == threading.get_ident()

    @property
    def holder(self) -> int:
        """The thread that leads, 0 for none."""
        return self._holder

    def pass_on(self, holder: int) -> None:
        """Let another thread lead in place of this one, if it still does."""
        with self._lock:
            if holder and self._holder == holder and not self._hand_on():
                self._holder = 0

    def next_back(self) -> bool:
        """Between two events: hand the lead to a thread whose pause is over. False when there is none."""
        if not self._back:
            return False
        with self._lock:
            return self._grant(self._back)

    def next_paused(self) -> bool:
        """Hand the lead to a paused thread, as there is nothing else to do. False when there is none."""
        if not self._paused:
            return False
        with self._lock:
            return self._grant(self._paused)

    def is_late(self) -> bool:
        """Whether a paused thread has waited long enough for others to join it."""
        return bool(self._paused) and time.monotonic() > self._paused[0].until

    def has_paused(self) -> bool:
        """Whether a thread is paused."""
        return bool(self._paused)

    def _grant(self, group: "deque[Pause]") -> bool:
        if not group:
            return False
        turn = group.popleft()
        self._holder = turn.thread
        turn.lock.release()
        return True

    def _hand_on(self) -> bool:
        if self._grant(self._back):
            return True
        if self._line:
            turn = self._line.pop()
            self._holder = turn.thread
            turn.lock.release()
            return True
        self._holder = 0
        return self._hire()


class Pause(_Turn):
    """The wait of a thread that has stepped aside, so that others can join its commit."""

    __slots__ = ("_lead", "ended", "until")

    def __init__(self, lead: Lead) -> None:
        """Prepare the pause of the calling thread, which leads."""
        super().__init__()
        self._lead = lead
        self.ended = False
        self.until = time.monotonic() + GATHER_S

    def wait(self) -> bool:
        """Let others lead until one of them has ended this pause, or there is nobody else.

        Returns: whether another thread has ended it; if not, this one has to do the work itself.
        """
        lead = self._lead
        with lead._lock:
            if self.ended:
                return True
            lead._paused.append(self)
            if not lead._hand_on():
                lead._paused.remove(self)
                lead._holder = self.thread
                return False
        _mine.lead = None
        if not self.lock.acquire(timeout=4 * GATHER_S):
            with lead._lock:
                for group in (lead._paused, lead._back):
                    if self in group:
                        group.remove(self)
                        return self.ended
        if lead.is_mine():
            _mine.lead = lead
        return self.ended

    def end(self) -> None:
        """Let the thread go on: at once, or, if the caller leads, after the event that the caller serves."""
        lead = self._lead
        with lead._lock:
            self.ended = True
            if self in lead._paused:
                lead._paused.remove(self)
                if lead.is_mine():
                    lead._back.append(self)
                else:
                    self.lock.release()


def give_up() -> None:
    """Let another thread lead because this one is about to wait; does nothing if it does not lead."""
    lead = getattr(_mine, "lead", None)
    if lead is not None:
        _mine.lead = None
        lead.pass_on(threading.get_ident())


def about_to_wait(seconds: float) -> None:
    """`give_up`, if the wait is likely to be longer than `WORTH_S`; `seconds` is its likely length."""
    if seconds > WORTH_S:
        give_up()


def pause() -> Pause | None:
    """A pause for this thread if it leads and there are others to serve, else None."""
    lead = getattr(_mine, "lead", None)
    if lead is None or not lead.is_mine() or lead.is_late() or not lead._more():
        return None
    return Pause(lead)


def waiting(call: Callable[P, R]) -> Callable[P, R]:
    """Wrap a call that waits for something outside the process: the lead is given up first."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        give_up()
        return call(*args, **kwargs)

    return run
