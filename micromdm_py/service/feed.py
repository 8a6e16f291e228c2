"""The feed: every webhook event in order, for those who cannot receive a webhook."""

from collections.abc import Callable
from typing import Protocol

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.webhook import without_secrets
from micromdm_py.storage.base import Outbox
from micromdm_py.storage.records import StoredEvent

__all__ = ["Feed", "Wait"]


class Wait(Protocol):
    """How to wait for events, see `service.waiting`."""

    def __call__(
        self,
        look: Callable[[], list[StoredEvent]],
        done: Callable[[list[StoredEvent]], bool],
        wait_s: float,
        /,
    ) -> list[StoredEvent]:
        """Look until `done`, or the seconds are over."""
        ...


class Feed:
    """Reads events behind a cursor."""

    def __init__(self, outbox: Outbox, wait: Wait) -> None:
        """Read from `outbox`."""
        self._outbox, self._wait = outbox, wait

    def read(
        self, after: int, limit: int, wait_s: float = 0, *, secrets: bool, stop: Callable[[], bool] = bool
    ) -> bytes:
        """Events after a cursor, as a reply.

        Args:
            after: the cursor of the last reply, 0 for the oldest event that is kept.
            limit: how many events at most.
            wait_s: how many seconds to wait for one when there is none.
            secrets: show raw payloads that hold passwords, keys or tokens; else they are empty.
            stop: ends the wait when it says so.
        Returns: `{"events": […], "next": cursor}`; without events the cursor stays.
        Raises: Busy; MalformedField for a cursor that lies ahead, as after an older store was put back.
        """
        events = self._outbox.events_after(after, limit)
        if not events and after > (newest := self._outbox.event_range()[1]):
            raise MalformedField("after", f"is ahead of the newest event, {newest}")
        if not events and wait_s:
            events = self._wait(
                lambda: self._outbox.events_after(after, limit), lambda found: bool(found) or stop(), wait_s
            )
        # The documents are put in as they are stored: reading and writing them again would cost the most.
        bodies = b",\n".join(event.body if secrets else without_secrets(event.body) for event in events)
        cursor = events[-1].sequence if events else after
        return b'{"events": [' + bodies + b'], "next": "%d"}\n' % cursor
