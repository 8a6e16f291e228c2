"""The feed: every webhook event in order, for those who cannot receive a webhook."""

from collections.abc import Callable

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.webhook import without_secrets
from micromdm_py.service.waiting import Wait
from micromdm_py.storage.base import Outbox

__all__ = ["Feed"]


class Feed:
    """Reads the events after a cursor."""

    def __init__(self, outbox: Outbox, wait: Wait) -> None:
        """Read from `outbox`."""
        self._outbox, self._wait = outbox, wait

    def read(
        self, after: int, limit: int, wait_s: float = 0, *, secrets: bool, stop: Callable[[], bool] = bool
    ) -> bytes:
        """Events after a cursor, as a reply.

        Args:
            after: the cursor of the last reply, 0 for the oldest event that is kept.
            limit: most events to return.
            wait_s: how many seconds to wait for one if there is none.
            secrets: show raw payloads that hold passwords, keys or tokens; otherwise they are empty.
            stop: ends the wait when it returns true.
        Returns: `{"events": […], "next": cursor}`; without events, the cursor stays as it was.
        Raises: Busy; MalformedField for a cursor ahead of all events, as after an older store was restored.
        """
        events = self._outbox.events_after(after, limit)
        if not events and after > (newest := self._outbox.event_range()[1]):
            raise MalformedField("after", f"is ahead of the newest event, {newest}")
        if not events and wait_s:
            events = self._wait(
                lambda: self._outbox.events_after(after, limit), lambda found: bool(found) or stop(), wait_s
            )
        # The documents are inserted as stored: decoding and encoding them would cost more than all the rest.
        bodies = b",\n".join(event.body if secrets else without_secrets(event.body) for event in events)
        cursor = events[-1].sequence if events else after
        return b'{"events": [' + bodies + b'], "next": "%d"}\n' % cursor
