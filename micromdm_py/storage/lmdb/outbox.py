"""Webhook events on their way, and where each receiver stands."""

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice, takewhile

from micromdm_py.errors import NotFound
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.environment import Environment
from micromdm_py.storage.lmdb.tables import Fields, from_ms, id_key, int_field, maybe_ms, ms, u64, unu64
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.records import HeldEvent, ReceiverState, StoredEvent

__all__ = ["OutboxPart", "append_event"]

_HEAD = struct.Struct(">QHHH")
"""Head of an event's row: time in ms, lengths of enrollment id, topic and event id."""
_HELD = struct.Struct(">IQI")
"""Head of a held event's row: tries, due time in ms, length of the error text."""


def append_event(env: Environment, txn: Txn, enrollment_id: str, event: Event, at_ms: int) -> int:
    """Store an event at the end of the outbox; returns its sequence number."""
    sequence = env.next_number(txn, b"event")
    row = _encode(enrollment_id, event.event_topic, event.event_id, at_ms, event.body)
    txn.put(u64(sequence), row, append=True, db=env.tables.event)
    return sequence


def _encode(enrollment_id: str, topic: str, event_id: str, at_ms: int, body: bytes) -> bytes:
    who, what, name = enrollment_id.encode(), topic.encode(), event_id.encode()
    return _HEAD.pack(at_ms, len(who), len(what), len(name)) + who + what + name + body


def _decode(sequence: int, row: bytes) -> StoredEvent:
    at_ms, *lengths = _HEAD.unpack_from(row)
    parts, at = [], _HEAD.size
    for length in lengths:
        parts.append(row[at : at + length].decode())
        at += length
    return StoredEvent(sequence, parts[0], parts[1], from_ms(at_ms), row[at:])


def _encode_held(held: HeldEvent) -> bytes:
    error = held.error.encode()
    event = held.event
    row = _encode(event.enrollment_id, event.event_topic, "", ms(event.created_at), event.body)
    return _HELD.pack(held.tries, ms(held.due_at), len(error)) + error + row


def _decode_held(sequence: int, row: bytes) -> HeldEvent:
    tries, due, length = _HELD.unpack_from(row)
    at = _HELD.size + length
    event = _decode(sequence, row[at:])
    return HeldEvent(event, tries, from_ms(due), row[_HELD.size : at].decode())


def _prefix(receiver: str) -> bytes:
    return hashlib.blake2b(receiver.encode(), digest_size=16).digest()


class OutboxPart(Part):
    """Implements `storage.base.Outbox`."""

    def receiver(self, receiver: str) -> ReceiverState:
        """See `storage.base.Outbox`."""
        with self._env.read() as txn:
            state = self._receiver(txn, receiver)
        return _state(receiver, state or self._env.write(lambda txn: self._new_receiver(txn, receiver)))

    def _new_receiver(self, txn: Txn, receiver: str) -> Fields:
        state = self._receiver(txn, receiver)
        if state is None:  # else somebody was faster
            state = {"name": receiver, "cursor": self._env.number(txn, b"event")}
            self._put_receiver(txn, receiver, state)
        return state

    def _receiver(self, txn: Txn, receiver: str) -> Fields | None:
        row = txn.get(id_key(receiver), db=self._t.receiver)
        found: Fields | None = json.loads(row) if row else None
        return found

    def _put_receiver(self, txn: Txn, receiver: str, state: Fields) -> None:
        txn.put(id_key(receiver), json.dumps(state).encode(), db=self._t.receiver)

    def receivers(self) -> list[ReceiverState]:
        """See `storage.base.Outbox`."""
        with self._env.read() as txn:
            states = [json.loads(row) for _, row in rows(txn, self._t.receiver)]
        return sorted((_state(one["name"], one) for one in states), key=lambda state: state.receiver)

    def event_range(self) -> tuple[int, int]:
        """See `storage.base.Outbox`."""
        with self._env.read() as txn:
            newest = self._env.number(txn, b"event")
            cursor = txn.cursor(self._t.event)
            oldest = unu64(cursor.key()) if cursor.first() else newest + 1
        return (oldest, newest) if newest else (0, 0)

    def append_event(self, event: Event, *, at: datetime) -> int:
        """See `storage.base.Outbox`."""
        return self._env.write(lambda txn: append_event(self._env, txn, "", event, ms(at)))

    def ask_replay(self, receiver: str, after: int) -> None:
        """See `storage.base.Outbox`."""

        def operation(txn: Txn) -> None:
            state = self._receiver(txn, receiver)
            if state is None:
                raise NotFound("not found: webhook receiver")
            self._put_receiver(txn, receiver, {**state, "replay": after})

        self._env.write(operation)

    def begin_replay(self, receiver: str) -> None:
        """See `storage.base.Outbox`."""

        def operation(txn: Txn) -> None:
            state = self._receiver(txn, receiver)
            if state is None or "replay" not in state:
                return
            after = int_field(state, "replay")
            del state["replay"]
            state["cursor"] = min(int_field(state, "cursor"), after)
            state["held"] = int_field(state, "held") - self._let_go(txn, receiver, after)
            self._put_receiver(txn, receiver, state)

        self._env.write(operation)

    def _let_go(self, txn: Txn, receiver: str, after: int) -> int:
        """Delete held events after a sequence number that are still in the outbox; returns how many."""
        prefix = _prefix(receiver)
        held = rows(txn, self._t.held, prefix, prefix + u64(after + 1))
        gone = [key for key, _ in held if txn.get(key[16:], db=self._t.event) is not None]
        for key in gone:
            txn.delete(key, db=self._t.held)
        return len(gone)

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        """See `storage.base.Outbox`."""
        with self._env.read() as txn:
            found = islice(rows(txn, self._t.event, start=u64(sequence + 1)), limit)
            return [_decode(unu64(key), row) for key, row in found]

    def held_events(self, receiver: str, after: int, limit: int) -> list[HeldEvent]:
        """See `storage.base.Outbox`."""
        return self._kept(self._t.held, receiver, after, limit)

    def dead_letters(self, receiver: str, limit: int) -> list[HeldEvent]:
        """See `storage.base.Outbox`."""
        return self._kept(self._t.dead, receiver, 0, limit)

    def _kept(self, table: object, receiver: str, after: int, limit: int) -> list[HeldEvent]:
        prefix = _prefix(receiver)
        with self._env.read() as txn:
            found = islice(rows(txn, table, prefix, prefix + u64(after + 1)), limit)
            return [_decode_held(unu64(key[16:]), row) for key, row in found]

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

        def operation(txn: Txn) -> None:
            state = self._receiver(txn, receiver) or {"name": receiver, "cursor": 0}
            count = int_field(state, "held")
            prefix = _prefix(receiver)
            for one in held:
                count += txn.get(prefix + u64(one.event.sequence), db=self._t.held) is None
                txn.put(prefix + u64(one.event.sequence), _encode_held(one), db=self._t.held)
            for sequence in [*released, *(one.event.sequence for one in buried)]:
                count -= txn.delete(prefix + u64(sequence), db=self._t.held)
            for one in buried:
                txn.put(prefix + u64(one.event.sequence), _encode_held(one), db=self._t.dead)
            state["held"] = count
            state["dead"] = int_field(state, "dead") + len(buried)
            if cursor is not None:
                state["cursor"] = max(cursor, int_field(state, "cursor"))
            if succeeded:
                state["success_ms"] = ms(at)
            if error:
                state["error_ms"], state["error"] = ms(at), error
            self._put_receiver(txn, receiver, state)

        self._env.write(operation)

    def forget_events(self, receivers: Sequence[str], *, before: datetime, limit: int) -> int:
        """See `storage.base.Outbox`."""

        def operation(txn: Txn) -> int:
            states = [self._receiver(txn, name) for name in receivers]
            done = min((int_field(s, "cursor") if s else 0 for s in states), default=1 << 63)
            over = takewhile(
                lambda one: unu64(one[0]) <= done and unu64(one[1]) < ms(before), rows(txn, self._t.event)
            )
            old = [key for key, _ in islice(over, limit)]
            for key in old:
                txn.delete(key, db=self._t.event)
            return len(old)

        return self._env.write(operation)

    def forget_receivers(self, keep: Sequence[str]) -> None:
        """See `storage.base.Outbox`."""

        def operation(txn: Txn) -> None:
            names = {key: json.loads(row)["name"] for key, row in rows(txn, self._t.receiver)}
            for key, name in names.items():
                if name in keep:
                    continue
                txn.delete(key, db=self._t.receiver)
                for table in (self._t.held, self._t.dead):
                    for event_key in [event_key for event_key, _ in rows(txn, table, _prefix(name))]:
                        txn.delete(event_key, db=table)

        self._env.write(operation)


def _state(receiver: str, state: Fields) -> ReceiverState:
    return ReceiverState(
        receiver,
        int_field(state, "cursor"),
        int_field(state, "held"),
        int_field(state, "dead"),
        maybe_ms(int_field(state, "success_ms")),
        maybe_ms(int_field(state, "error_ms")),
        str(state.get("error", "")),
        int_field(state, "replay") if "replay" in state else None,
    )
