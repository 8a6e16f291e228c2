"""How many connections each worker has, in memory that all of them share.

The kernel wakes up every worker for a new connection and the quickest takes it, which can leave
another core idle. A worker that is ahead waits for a moment, so that the others come first.
"""

import mmap

__all__ = ["Shares", "Slot"]

_UNUSED = 0xFFFFFFFF


class Shares:
    """The counts; made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        """Share memory without a file; some slots more, since workers can be replaced while they finish."""
        size = 2 * workers + 8
        self._counts = memoryview(mmap.mmap(-1, size * 4)).cast("I")
        self._owners: dict[int, int] = {}
        for number in range(size):
            self._counts[number] = _UNUSED

    def next_slot(self) -> int:
        """Return a free slot's number, for the worker that is about to be forked."""
        taken = set(self._owners.values())
        last = len(self._counts) - 1
        return next((number for number in range(last) if number not in taken), last)

    def assign(self, slot: int, pid: int) -> None:
        """Note whose slot it is; in the parent."""
        self._owners[pid] = slot

    def forget_all_but(self, pids: set[int]) -> None:
        """Free the slots of workers that have ended; in the parent."""
        for pid in set(self._owners) - pids:
            self._counts[self._owners.pop(pid)] = _UNUSED

    def slot(self, number: int) -> "Slot":
        """Return a worker's view."""
        return Slot(self._counts, number)


class Slot:
    """One worker's count beside those of the others."""

    def __init__(self, counts: memoryview, number: int) -> None:
        """Begin with no connections."""
        self._counts, self._number = counts, number
        self.set(0)

    def set(self, count: int) -> None:
        """Tell how many connections there are."""
        self._counts[self._number] = count

    def leave(self) -> None:
        """Take part no more: this worker stops."""
        self._counts[self._number] = _UNUSED

    def is_ahead(self) -> bool:
        """Whether another worker has fewer connections."""
        return self._counts[self._number] > min(self._counts)
