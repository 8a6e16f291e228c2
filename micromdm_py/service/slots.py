"""Calls that keep a thread of the server waiting: only so many at once."""

from threading import BoundedSemaphore

from micromdm_py.errors import Busy

__all__ = ["Slots"]


class Slots:
    """A context for such a call. It does not wait: when all slots are taken the call is refused."""

    def __init__(self, count: int, refusal: str) -> None:
        """Allow `count` calls at once; further ones raise Busy with the text `refusal`."""
        self._free, self._refusal = BoundedSemaphore(count), refusal

    def __enter__(self) -> None:
        """Take a slot. Raises: Busy."""
        if not self._free.acquire(blocking=False):
            raise Busy(self._refusal)

    def __exit__(self, *_: object) -> None:
        """Give the slot back."""
        self._free.release()
