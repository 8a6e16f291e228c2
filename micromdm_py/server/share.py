"""How many connections each worker has, in memory that all workers share.

The kernel wakes every worker for a new connection, and the quickest takes it, which can leave another core
idle. A worker that already has more connections than another waits a moment to let that one go first.
"""

import mmap

__all__ = ["Shares", "Slot"]

_UNUSED = 0xFFFFFFFF


class Shares:
    """The counts; made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        """Allocate the memory, with spare slots because a worker can be replaced while it still finishes."""
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
        """Note which process has a slot; called in the parent."""
        self._owners[pid] = slot

    def forget_all_but(self, pids: set[int]) -> None:
        """Free the slots of all other processes, which have ended; called in the parent."""
        for pid in set(self._owners) - pids:
            self._counts[self._owners.pop(pid)] = _UNUSED

    def slot(self, number: int) -> "Slot":
        """Return a worker's view."""
        return Slot(self._counts, number)


class Slot:
    """One worker's count beside those of the others."""

    def __init__(self, counts: memoryview, number: int) -> None:
        """Start with no connections."""
        self._counts, self._number = counts, number
        self.set(0)

    def set(self, count: int) -> None:
        """Publish the number of connections."""
        self._counts[self._number] = count

    def leave(self) -> None:
        """Withdraw the count, since this worker stops."""
        self._counts[self._number] = _UNUSED

    def is_ahead(self) -> bool:
        """Whether another worker has fewer connections."""
        return self._counts[self._number] > min(self._counts)
