"""Who leads: the one thread of a web worker that takes events and serves them, one after the other.

Python runs one thread at a time, and the LMDB binding lets go of the interpreter's lock in every call:
several busy threads fight for it, which costs more than serving. So one thread leads and goes on leading
as long as it never has to wait. Whatever waits (a commit, a slow body, an outgoing call) gives the lead
up first, by `give_up`; another thread takes it then, and the first one finishes its request and stands in
line again.
"""

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["give_up", "lead_with", "waiting"]

P = ParamSpec("P")
R = TypeVar("R")

_mine = threading.local()


def lead_with(hand_over: Callable[[], None]) -> None:
    """Mark this thread as leading; `hand_over` is called once, when it gives the lead up."""
    _mine.hand_over = hand_over


def give_up() -> None:
    """Let another thread lead, because this one is about to wait; does nothing if it does not lead."""
    hand_over = getattr(_mine, "hand_over", None)
    if hand_over is not None:
        _mine.hand_over = None
        hand_over()


def waiting(call: Callable[P, R]) -> Callable[P, R]:
    """The same callable, giving up the lead first: for calls that wait for others."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        give_up()
        return call(*args, **kwargs)

    return run
