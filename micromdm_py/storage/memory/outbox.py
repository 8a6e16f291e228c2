"""Webhook events on their way, in dicts."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice, takewhile

from micromdm_py.errors import NotFound
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.memory.state import Part, Receiver
from micromdm_py.storage.records import HeldEvent, ReceiverState, StoredEvent

__all__ = ["OutboxPart"]


class OutboxPart(Part):
    """Implements `storage.base.Outbox`."""

    def receiver(self, receiver: str) -> ReceiverState:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            return self._receiver(receiver, self._s.event_sequence).state

    def _receiver(self, name: str, cursor: int) -> Receiver:
        return self._s.receivers.setdefault(name, Receiver(ReceiverState(name, cursor)))

    def receivers(self) -> list[ReceiverState]:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            return [self._s.receivers[name].state for name in sorted(self._s.receivers)]

    def event_range(self) -> tuple[int, int]:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            newest = self._s.event_sequence
            return (min(self._s.events, default=newest + 1), newest) if newest else (0, 0)

    def append_event(self, event: Event, *, at: datetime) -> int:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            self._append("", event, at)
            return self._s.event_sequence

    def ask_replay(self, receiver: str, after: int) -> None:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            found = self._s.receivers.get(receiver)
            if found is None:
                raise NotFound("not found: webhook receiver")
            found.state = replace(found.state, replay_after=after)

    def begin_replay(self, receiver: str) -> None:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            found = self._s.receivers.get(receiver)
            if found is None or (after := found.state.replay_after) is None:
                return
            for sequence in [one for one in found.held if one > after and one in self._s.events]:
                del found.held[sequence]
            found.state = replace(
                found.state,
                cursor=min(found.state.cursor, after),
                held=len(found.held),
                replay_after=None,
            )

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            return [event for number, event in self._s.events.items() if number > sequence][:limit]

    def held_events(self, receiver: str, after: int, limit: int) -> list[HeldEvent]:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            found = self._s.receivers.get(receiver)
            held = sorted(found.held.items()) if found else []
            return [one for sequence, one in held if sequence > after][:limit]

    def dead_letters(self, receiver: str, limit: int) -> list[HeldEvent]:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            found = self._s.receivers.get(receiver)
            return [one for _, one in sorted(found.dead.items())][:limit] if found else []

    def settle(
        self,
        receiver: str,
        *,
        at: datetime,
        cursor: int | None = None,
        hold: Iterable[HeldEvent] = (),
        release: Iterable[int] = (),
        dead: Iterable[HeldEvent] = (),
        succeeded: bool = False,
        error: str = "",
    ) -> None:
        """See `storage.base.Outbox`."""
        held, released, buried = list(hold), list(release), list(dead)
        with self._s.lock:
            found = self._receiver(receiver, 0)
            found.held.update((one.event.sequence, one) for one in held)
            found.dead.update((one.event.sequence, one) for one in buried)
            for sequence in [*released, *(one.event.sequence for one in buried)]:
                found.held.pop(sequence, None)
            state = found.state
            found.state = replace(
                state,
                cursor=max(state.cursor, cursor or 0),
                held=len(found.held),
                dead_letters=state.dead_letters + len(buried),
                last_success_at=at if succeeded else state.last_success_at,
                last_error_at=at if error else state.last_error_at,
                last_error=error or state.last_error,
            )

    def forget_events(self, receivers: Sequence[str], *, before: datetime, limit: int) -> int:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            states = [self._s.receivers.get(name) for name in receivers]
            done = min((one.state.cursor if one else 0 for one in states), default=self._s.event_sequence)
            over = takewhile(
                lambda one: one[0] <= done and one[1].created_at < before, self._s.events.items()
            )
            old = [number for number, _ in islice(over, limit)]
            for number in old:
                del self._s.events[number]
            return len(old)

    def forget_receivers(self, keep: Sequence[str]) -> None:
        """See `storage.base.Outbox`."""
        with self._s.lock:
            for name in [name for name in self._s.receivers if name not in keep]:
                del self._s.receivers[name]
