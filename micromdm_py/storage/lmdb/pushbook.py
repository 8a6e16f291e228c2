"""Push data, scheduled pushes and push certificates.

A row of `push` begins with the time at which a push is due, in eight bytes (0: none is, `NEVER`: the token is
dead). So queueing another command to a device for which a push is due reads these and writes nothing.
"""

import base64
import json
from dataclasses import replace
from datetime import datetime

from micromdm_py.errors import NotConfigured, NotFound
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.commands import Command
from micromdm_py.storage.lmdb.tables import (
    COMMAND,
    Fields,
    command_key,
    from_ms,
    int_field,
    maybe_ms,
    ms,
    pair,
    u64,
    unpair,
    unu64,
)
from micromdm_py.storage.lmdb.transactions import Tables, Txn, rows
from micromdm_py.storage.records import DuePush, PushCertificate, PushOutcome, PushTarget
from micromdm_py.storage.timeline import PUSHED

__all__ = [
    "PushPart",
    "drop_push",
    "has_dead_token",
    "push_data",
    "push_topic",
    "schedule_after_enqueue",
    "store_push_data",
]

NEVER = (1 << 64) - 1
MARKED_AT_ONCE = 1000
"""Most commands that get their `sent_at` from one push; the others get it from the next."""


def schedule_after_enqueue(tables: Tables, txn: Txn, number: int, at_ms: int) -> bool:
    """Schedule a push unless one is due already or none can be made; whether this has scheduled one."""
    row = txn.get(u64(number), db=tables.push)
    if row is None or 0 < unu64(row) <= at_ms or unu64(row) == NEVER:
        return False
    _schedule(tables, txn, number, row, at_ms)
    return True


def _schedule(tables: Tables, txn: Txn, number: int, row: bytes, due_ms: int) -> None:
    old = unu64(row)
    if old not in (0, NEVER):
        txn.delete(pair(old, number), db=tables.push_due)
    if due_ms not in (0, NEVER):
        txn.put(pair(due_ms, number), b"", db=tables.push_due)
    txn.put(u64(number), u64(due_ms) + row[8:], db=tables.push)


def store_push_data(
    tables: Tables,
    txn: Txn,
    number: int,
    data: tuple[str, str, str],
    at_ms: int,
    *,
    waiting: bool,
    sent: int = 0,
) -> None:
    """Keep (token hex, magic, topic) of a TokenUpdate; a push is scheduled when commands wait for one.

    `sent` is the newest command that needs no push, for an enrollment without push data so far.
    """
    row = txn.get(u64(number), db=tables.push)
    old: Fields = json.loads(row[8:]) if row else {"sent": sent}
    token, magic, topic = data
    new: Fields = {
        **old,
        "token": token,
        "magic": magic,
        "topic": topic,
        "tries": 0,
        "dead_ms": 0,
        "dead": "",
    }
    due = unu64(row) if row else 0
    head = 0 if due == NEVER else due
    fresh = u64(head) + json.dumps(new, separators=(",", ":")).encode()
    txn.put(u64(number), fresh, db=tables.push)
    if waiting:
        _schedule(tables, txn, number, fresh, at_ms)


def drop_push(tables: Tables, txn: Txn, number: int) -> None:
    """Forget the push data of an enrollment and its scheduled push."""
    row = txn.get(u64(number), db=tables.push)
    if row is not None:
        txn.delete(pair(unu64(row), number), db=tables.push_due)
        txn.delete(u64(number), db=tables.push)


def push_data(tables: Tables, txn: Txn, number: int) -> tuple[tuple[str, str, str] | None, bool]:
    """(token hex, magic, topic) of an enrollment or None, and whether a push is scheduled."""
    row = txn.get(u64(number), db=tables.push)
    if row is None:
        return None, False
    push: Fields = json.loads(row[8:])
    return (str(push["token"]), str(push["magic"]), str(push["topic"])), unu64(row) not in (0, NEVER)


def push_topic(tables: Tables, txn: Txn, number: int) -> str:
    """Topic of an enrollment's push data, "" when it has none."""
    row = txn.get(u64(number), db=tables.push)
    return str(json.loads(row[8:])["topic"]) if row else ""


def has_dead_token(tables: Tables, txn: Txn, number: int) -> bool:
    """Whether APNs has refused the push token of an enrollment for good."""
    row = txn.get(u64(number), db=tables.push)
    return row is not None and unu64(row) == NEVER


class PushPart(Part):
    """Implements `storage.base.PushBook`."""

    def push_target(self, api_id: str) -> PushTarget:
        """See `storage.base.PushBook`."""
        with self._env.read() as txn:
            enrollment_id, number = self._resolve(txn, api_id)
            row = txn.get(u64(number), db=self._t.push) if number is not None else None
        if row is None:
            raise NotFound(f"not found: push data for {api_id}")
        return _target(enrollment_id, row)

    def due_push(self, api_id: str) -> DuePush:
        """See `storage.base.PushBook`."""
        target = self.push_target(api_id)
        with self._env.read() as txn:
            number = self._number(txn, target.enrollment_id) or 0
            seen = self._seen_since(txn, number, target.last)
            return DuePush(replace(target, silent=0) if seen else target, self._env.number(txn, b"sequence"))

    def schedule_push(self, api_id: str, *, at: datetime) -> None:
        """See `storage.base.PushBook`."""

        def operation(txn: Txn) -> None:
            _, number = self._resolve(txn, api_id)
            row = txn.get(u64(number), db=self._t.push) if number is not None else None
            if row is None or number is None:
                raise NotFound(f"not found: push data for {api_id}")
            schedule_after_enqueue(self._t, txn, number, ms(at))

        self._env.write(operation)

    def due_pushes(self, *, at: datetime, limit: int) -> tuple[list[DuePush], datetime | None]:
        """See `storage.base.PushBook`."""
        found: list[DuePush] = []
        needless: list[int] = []
        later = None
        with self._env.read() as txn:
            newest = self._env.number(txn, b"sequence")
            cursor = txn.cursor(self._t.push_due)
            more = cursor.first()
            while more:
                due, number = unpair(cursor.key())
                if due > ms(at) or len(found) >= limit:
                    later = from_ms(due)
                    break
                row = txn.get(u64(number), db=self._t.push)
                if row is not None:
                    target = _target(str(self._fields(txn, number)["id"]), row)
                    seen = self._seen_since(txn, number, target.last)
                    if _is_repetition(row) and (seen or self._head(txn, number) is None):
                        needless.append(number)
                    else:
                        found.append(DuePush(replace(target, silent=0) if seen else target, newest))
                more = cursor.next()
        if needless:
            self._env.write(lambda txn: self._drop_repetitions(txn, needless))
        return found, later

    def _seen_since(self, txn: Txn, number: int, last: PushOutcome | None) -> bool:
        """Whether the device was seen since a push."""
        seen_ms = max(self._contact(txn, number).seen_ms, self._seen.noted(number))
        return last is None or seen_ms > ms(last.at)

    def _drop_repetitions(self, txn: Txn, numbers: list[int]) -> None:
        for number in numbers:
            row = txn.get(u64(number), db=self._t.push)
            if row is not None and _is_repetition(row):
                _schedule(self._t, txn, number, row, 0)

    def record_push(self, due: DuePush, outcome: PushOutcome) -> None:
        """See `storage.base.PushBook`."""

        def operation(txn: Txn) -> None:
            number = self._number(txn, due.target.enrollment_id)
            row = txn.get(u64(number), db=self._t.push) if number is not None else None
            if row is None or number is None:
                return
            push: Fields = json.loads(row[8:])
            push["last"] = [ms(outcome.at), outcome.accepted, outcome.apns_id, outcome.reason]
            same_token = push["token"] == due.target.token_hex
            if outcome.dead and same_token:
                push["dead_ms"], push["dead"] = ms(outcome.at), outcome.reason
            push["tries"] = 0 if outcome.accepted else int_field(push, "tries") + 1
            sent = self._mark_pushed(txn, number, int_field(push, "sent"), due.sequence, outcome)
            if outcome.accepted:
                push["sent"], push["silent"] = sent, due.target.silent + 1
                if due.target.silent:
                    self._mark_repeated(txn, number, outcome)
            next_ms = self._next_push(txn, number, push, due, outcome)
            fresh = row[:8] + json.dumps(push, separators=(",", ":")).encode()
            _schedule(self._t, txn, number, fresh, next_ms)

        self._env.write(operation)

    def _next_push(self, txn: Txn, number: int, push: Fields, due: DuePush, outcome: PushOutcome) -> int:
        """When the next push is due: `NEVER` for a dead token, 0 for none, else milliseconds."""
        if push["dead_ms"]:
            return NEVER
        if push["token"] != due.target.token_hex or self._queued_since(txn, number, due.sequence):
            return ms(outcome.at)
        push["again_ms"] = 0
        if outcome.again_at and self._head(txn, number) is not None:
            push["again_ms"] = ms(outcome.again_at)
        return ms(outcome.retry_at) if outcome.retry_at else int_field(push, "again_ms")

    def _mark_repeated(self, txn: Txn, number: int, outcome: PushOutcome) -> None:
        """Note a repeated push with the command that the device would get first."""
        head = self._head(txn, number)
        key = command_key(number, head[2] if head else 0)
        row = txn.get(key, db=self._t.own)
        if row is not None:
            command = Command.decode(row)
            command.note(PUSHED, ms(outcome.at), outcome.apns_id)
            txn.put(key, command.encode(), db=self._t.own)

    def _queued_since(self, txn: Txn, number: int, sequence: int) -> bool:
        cursor = txn.cursor(self._t.own)
        return cursor.set_range(command_key(number, sequence + 1)) and cursor.key().startswith(
            u64(number) + COMMAND
        )

    def _mark_pushed(self, txn: Txn, number: int, after: int, upto: int, outcome: PushOutcome) -> int:
        """Note a push with the commands queued since the last accepted push; returns the last one noted."""
        cursor = txn.cursor(self._t.own)
        marked: list[tuple[int, bytes]] = []
        more = cursor.set_range(command_key(number, after + 1))
        while more and len(marked) < MARKED_AT_ONCE:
            key = cursor.key()
            sequence = unu64(key[9:])
            if not key.startswith(u64(number) + COMMAND) or sequence > upto:
                break
            marked.append((sequence, cursor.value()))
            more = cursor.next()
        for sequence, row in marked:
            command = Command.decode(row)
            if command.pushed(outcome):
                txn.put(command_key(number, sequence), command.encode(), db=self._t.own)
        return marked[-1][0] if len(marked) == MARKED_AT_ONCE else upto

    def store_push_certificate(self, certificate: PushCertificate) -> None:
        """See `storage.base.PushBook`."""
        self._env.write(lambda txn: self._keep_push_certificate(txn, certificate))

    def _keep_push_certificate(self, txn: Txn, certificate: PushCertificate) -> None:
        row = json.dumps(
            {
                "certificate": base64.b64encode(certificate.certificate).decode(),
                "key": base64.b64encode(certificate.key).decode(),
                "stored_ms": ms(certificate.stored_at),
            }
        ).encode()
        txn.put(certificate.topic.encode(), row, db=self._t.push_certificate)
        txn.put(b"push_topic", certificate.topic.encode(), db=self._t.meta)

    def push_certificate(self, topic: str = "") -> PushCertificate:
        """See `storage.base.PushBook`."""
        with self._env.read() as txn:
            name = topic.encode() or txn.get(b"push_topic", db=self._t.meta) or b""
            return self._push_certificate(txn, name)

    def push_certificates(self) -> list[PushCertificate]:
        """See `storage.base.PushBook`."""
        with self._env.read() as txn:
            return [_decode_certificate(key, row) for key, row in rows(txn, self._t.push_certificate)]

    def _push_certificate(self, txn: Txn, name: bytes) -> PushCertificate:
        row = txn.get(name, db=self._t.push_certificate) if name else None
        if row is None:
            raise NotConfigured("no push certificate is stored")
        return _decode_certificate(name, row)


def _decode_certificate(topic: bytes, row: bytes) -> PushCertificate:
    found = json.loads(row)
    return PushCertificate(
        topic.decode(),
        base64.b64decode(found["certificate"]),
        base64.b64decode(found["key"]),
        from_ms(found["stored_ms"]),
    )


def _target(enrollment_id: str, row: bytes) -> PushTarget:
    push: Fields = json.loads(row[8:])
    return PushTarget(
        enrollment_id,
        str(push["token"]),
        str(push["magic"]),
        str(push["topic"]),
        maybe_ms(int_field(push, "dead_ms")),
        str(push["dead"]),
        int_field(push, "tries"),
        maybe_ms(0 if unu64(row) == NEVER else unu64(row)),
        _last(push.get("last")),
        int_field(push, "silent"),
    )


def _is_repetition(row: bytes) -> bool:
    return bool(unu64(row)) and unu64(row) == int_field(json.loads(row[8:]), "again_ms")


def _last(kept: object) -> PushOutcome | None:
    if not isinstance(kept, list):
        return None
    at_ms, accepted, apns_id, reason = kept
    return PushOutcome(from_ms(at_ms), accepted, apns_id, reason)
