"""Per-enrollment FIFO queues.

A queue is a range of keys ``n, "q", state letter, order``. The letters are a (handed out), p (untouched) and
t (refused with NotNow), and sort in the order in which commands are offered. The order is the sequence number
of the command, or of the refusal if it was refused. So the next command is always the first key of the range,
however many wait and however many there have been.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from micromdm_py.errors import NotFound, Unenroll
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState, after_report
from micromdm_py.protocol.report import FINAL, Report, Status
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.base.queue import ONCE_KEPT
from micromdm_py.storage.lmdb.base import Binding
from micromdm_py.storage.lmdb.commands import Command, Commands, command_id
from micromdm_py.storage.lmdb.environment import Environment
from micromdm_py.storage.lmdb.facts import FactPart
from micromdm_py.storage.lmdb.outbox import append_event
from micromdm_py.storage.lmdb.pushbook import schedule_after_enqueue
from micromdm_py.storage.lmdb.seen import SeenTimes
from micromdm_py.storage.lmdb.tables import BLOCKED, KINDS, QUEUE, Contact, ms, pair, u64, unu64
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.records import (
    CommandRecord,
    Enqueued,
    Identity,
    NewEntry,
    Once,
    Served,
    WaitingCommand,
)
from micromdm_py.storage.timeline import ANSWERED, HANDED_OUT, WITHDRAWN

__all__ = ["QueuePart"]

LETTERS = {CommandState.AWAITING: b"a", CommandState.PENDING: b"p", CommandState.TRIED: b"t"}
_COMMAND_ID = re.compile(r"[0-9a-fA-F]{24}")


class QueuePart(FactPart):
    """Implements `storage.base.CommandQueue`."""

    def __init__(self, env: Environment, seen: SeenTimes) -> None:
        """Work on an open environment."""
        super().__init__(env, seen)
        self._commands = Commands(env)

    # --- queueing ---

    def enqueue(
        self, api_id: str, entry: NewEntry, *, at: datetime, push: bool = True, once: Once | None = None
    ) -> Enqueued:
        """See `storage.base.CommandQueue`."""
        return self._env.write(lambda txn: self._enqueue(txn, api_id, entry, ms(at), push, once))

    def _enqueue(
        self, txn: Txn, api_id: str, entry: NewEntry, at_ms: int, push: bool, once: Once | None
    ) -> Enqueued:
        enrollment_id, number = self._addressed(txn, api_id)
        if once is not None:
            earlier = self._earlier_answer(txn, once, at_ms)
            if earlier is not None:
                return Enqueued(enrollment_id, "", False, earlier)
            self._keep_answer(txn, once, at_ms)
        if number is None:
            number = self._mention(txn, enrollment_id, 0, enrollment_id, at_ms)
        if entry.supersede:
            self._withdraw(txn, number, CommandState.SUPERSEDED, at_ms, entry.group or entry.request_type)
        sequence = self._env.next_number(txn, b"sequence")
        command = Command.new(entry, at_ms)
        txn.put(u64(sequence), entry.payload, append=True, db=self._t.payload)
        self._commands.put(txn, number, sequence, command)
        if command.expires_ms:
            txn.put(pair(command.expires_ms, sequence), u64(number), db=self._t.expiry)
        self._place(txn, number, sequence, command, sequence)
        wanted = push and schedule_after_enqueue(self._t, txn, number, at_ms)
        return Enqueued(enrollment_id, command_id(at_ms, sequence), wanted)

    def enqueue_all(
        self,
        orders: Sequence[tuple[str, NewEntry]],
        *,
        at: datetime,
        push: bool = True,
        once: Sequence[Once | None] | None = None,
    ) -> list[Enqueued]:
        """See `storage.base.CommandQueue`."""

        def operation(txn: Txn) -> list[Enqueued]:
            for api_id, _ in orders:
                self._addressed(txn, api_id)  # raises what there is to raise before the first write
            return [
                self._enqueue(txn, api_id, entry, ms(at), push, key)
                for (api_id, entry), key in zip(orders, once or [None] * len(orders), strict=True)
            ]

        return self._env.write(operation)

    def _earlier_answer(self, txn: Txn, once: Once, at_ms: int) -> bytes | None:
        row = txn.get(once.digest, db=self._t.once)
        return row[8:] if row and unu64(row) > at_ms - _span_ms() else None

    def _keep_answer(self, txn: Txn, once: Once, at_ms: int) -> None:
        """Keep an answer and drop up to two that are too old, so that the table holds a day's keys."""
        cursor = txn.cursor(self._t.once_age)
        old: list[bytes] = []
        more = cursor.first()
        while more and len(old) < 2 and unu64(cursor.key()) <= at_ms - _span_ms():
            old.append(cursor.key())
            more = cursor.next()
        for key in old:
            txn.delete(key, db=self._t.once_age)
            row = txn.get(key[8:], db=self._t.once)
            if row is not None and row[:8] == key[:8]:  # else the key has been used again since
                txn.delete(key[8:], db=self._t.once)
        txn.put(once.digest, u64(at_ms) + once.answer, db=self._t.once)
        txn.put(u64(at_ms) + once.digest, b"", db=self._t.once_age)

    # --- places in the queue ---

    def _place(self, txn: Txn, number: int, sequence: int, command: Command, order: int) -> None:
        """Put an open command into queue and index."""
        txn.put(u64(number) + QUEUE + LETTERS[command.state] + u64(order), u64(sequence), db=self._t.own)
        self._commands.index(txn, number, sequence, command, order)

    def _leave(self, txn: Txn, number: int, sequence: int, command: Command, order: int) -> None:
        """Take an open command out of queue and index, before its state changes."""
        txn.delete(u64(number) + QUEUE + LETTERS[command.state] + u64(order), db=self._t.own)
        self._commands.unindex(txn, number, sequence, command)

    def _finish(self, txn: Txn, number: int, sequence: int, command: Command, order: int, at_ms: int) -> None:
        """Take an open command out of the queue for good; the caller changes its state and writes it."""
        self._leave(txn, number, sequence, command, order)
        if command.expires_ms:
            txn.delete(pair(command.expires_ms, sequence), db=self._t.expiry)
        txn.put(pair(at_ms, sequence), u64(number), db=self._t.done)

    def _withdraw_one(
        self,
        txn: Txn,
        number: int,
        sequence: int,
        command: Command,
        order: int,
        at_ms: int,
        state: CommandState,
        request_id: str = "",
    ) -> None:
        """Take an open command out of the queue and give it a final state."""
        self._finish(txn, number, sequence, command, order, at_ms)
        command.state = state
        command.canceled_ms = command.updated_ms = at_ms
        command.note(WITHDRAWN, at_ms, state, request_id)
        self._commands.index(txn, number, sequence, command, 0)
        self._commands.put(txn, number, sequence, command)

    def _open(self, txn: Txn, number: int) -> list[tuple[int, int]]:
        """All open commands as (sequence, order), in the order in which they are offered."""
        queue = rows(txn, self._t.own, u64(number) + QUEUE)
        return [(unu64(sequence), unu64(key[10:])) for key, sequence in queue]

    # --- reports ---

    def nothing_to_do(self, report: Report, identity: Identity, *, at: datetime) -> bool:
        """See `storage.base.CommandQueue`."""
        if report.status is not Status.IDLE:
            return False
        ref = report.enrollment
        with self._env.read() as txn:
            binding = self._check_binding(txn, ref, identity)
            if binding.rows:
                return False
            number, contact = self._check_block(txn, ref, binding)
            if number is None or not contact.kind or self._head(txn, number) is not None:
                return False
        self._seen.note(number, ms(at))
        return True

    def _check_block(self, txn: Txn, ref: EnrollmentRef, binding: Binding) -> tuple[int | None, Contact]:
        """Number and contact of the channel that a message speaks for. Raises: Unenroll for a blocked id."""
        number, contact = binding.known.get(ref.enrollment_id) or self._find_contact(txn, ref.enrollment_id)
        if contact.has(BLOCKED) or any(one.has(BLOCKED) for _, one in binding.known.values()):
            raise Unenroll(f"{ref.device_id} is blocked")
        return number, contact

    def record_report(
        self, report: Report, identity: Identity, event: Event | None, *, at: datetime, request_id: str = ""
    ) -> Served:
        """See `storage.base.CommandQueue`."""
        return self._env.write(
            lambda txn: self._record_report(txn, report, identity, event, ms(at), request_id)
        )

    def _record_report(
        self,
        txn: Txn,
        report: Report,
        identity: Identity,
        event: Event | None,
        at_ms: int,
        request_id: str,
    ) -> Served:
        ref = report.enrollment
        binding = self._check_binding(txn, ref, identity)
        number, contact = self._check_block(txn, ref, binding)
        if binding.rows or number is None or contact.kind != KINDS.index(ref.kind):
            self._bind(txn, binding, identity, at_ms)
            number, contact = self._channel(txn, ref, at_ms)
        if event is not None:
            append_event(self._env, txn, ref.enrollment_id, event, at_ms)
        if report.command_uuid and report.status is not Status.IDLE:
            self._answer(txn, number, report, at_ms, request_id)
        served = self._serve(txn, number, contact, report.status, at_ms, request_id)
        contact.seen_ms = at_ms
        self._put_contact(txn, number, contact)
        return served

    def _answer(self, txn: Txn, number: int, report: Report, at_ms: int, request_id: str) -> None:
        """Apply a report to the command it is for."""
        found = self._commands.answered(txn, number, report.command_uuid)
        command = self._commands.get(txn, number, found[0]) if found else None
        if found is None or command is None:
            return
        sequence, order = found
        before, after = command.state, after_report(command.state, report.status)
        if report.status in FINAL and not command.has_report:
            txn.put(u64(sequence), report.raw, db=self._t.report)
            command.has_report = 1
        elif before is after:
            return
        command.updated_ms = at_ms
        command.received_ms = command.received_ms or at_ms
        command.note(ANSWERED, at_ms, report.status, request_id)
        if after is CommandState.TRIED:
            self._leave(txn, number, sequence, command, order)
            command.state = after
            self._place(txn, number, sequence, command, self._env.next_number(txn, b"sequence"))
        elif before in OPEN_STATES:
            self._finish(txn, number, sequence, command, order, at_ms)
            command.state = after
            self._commands.index(txn, number, sequence, command, 0)
        command.state = after
        self._commands.put(txn, number, sequence, command)
        if after is CommandState.ACKNOWLEDGED and before is not after:
            self._learn(txn, number, command.request_type, report, at_ms)

    def _first(self, txn: Txn, number: int, at_ms: int) -> tuple[bytes, int, int, Command] | None:
        """`_head` and its record; expired commands before it are withdrawn."""
        while (head := self._head(txn, number)) is not None:
            letter, order, sequence = head
            command = self._commands.get(txn, number, sequence)
            if command is None:
                raise RuntimeError(f"queue names command {sequence} that does not exist")
            if not 0 < command.expires_ms <= at_ms:
                return letter, order, sequence, command
            expired = CommandState.PROTECTION_CANCELED
            self._withdraw_one(txn, number, sequence, command, order, at_ms, expired)
        return None

    def _serve(
        self, txn: Txn, number: int, contact: Contact, status: Status, at_ms: int, request_id: str
    ) -> Served:
        """Choose the next command and mark it as handed out."""
        head = self._first(txn, number, at_ms)
        if status is Status.IDLE and self._head(txn, number, b"t") is not None:
            contact.idle_mark = self._env.number(txn, b"sequence")
        if head is None:
            return Served()
        letter, order, sequence, command = head
        refused_ones = status not in (Status.NOT_NOW, Status.UNKNOWN)
        if letter == b"t" and not (refused_ones and order <= contact.idle_mark):
            return Served()
        payload = txn.get(u64(sequence), db=self._t.payload)
        if payload is None:
            raise RuntimeError(f"command {sequence} has lost its payload")
        if command.state is not CommandState.AWAITING:
            self._leave(txn, number, sequence, command, order)
            command.state = CommandState.AWAITING
            self._place(txn, number, sequence, command, sequence)
        command.tries += 1
        command.tried_ms = command.updated_ms = at_ms
        command.note(HANDED_OUT, at_ms, status, request_id)
        self._commands.put(txn, number, sequence, command)
        return Served(payload, command.uuid)

    # --- looking and clearing ---

    def waiting(self, api_id: str) -> list[WaitingCommand]:
        """See `storage.base.CommandQueue`."""
        found: list[WaitingCommand] = []
        with self._env.read() as txn:
            _, number = self._resolve(txn, api_id)
            if number is None:
                return found
            for sequence, _ in sorted(self._open(txn, number)):
                command = self._commands.get(txn, number, sequence)
                payload = txn.get(u64(sequence), db=self._t.payload)
                if command is not None and payload is not None:
                    found.append(WaitingCommand(command.uuid, payload, command.state))
        return found

    def clear(self, api_id: str, *, at: datetime) -> int:
        """See `storage.base.CommandQueue`."""

        def operation(txn: Txn) -> int:
            _, number = self._resolve(txn, api_id)
            return self._withdraw(txn, number, CommandState.CANCEL, ms(at)) if number is not None else 0

        return self._env.write(operation)

    def _withdraw(
        self, txn: Txn, number: int, state: CommandState, at_ms: int, group: str | None = None
    ) -> int:
        """Take the open commands (of a group) out of the queue, with a final state; returns how many."""
        withdrawn = 0
        for sequence, order in self._open(txn, number):
            command = self._commands.get(txn, number, sequence)
            if command is not None and group in (None, command.group_name):
                self._withdraw_one(txn, number, sequence, command, order, at_ms, state)
                withdrawn += 1
        return withdrawn

    # --- records ---

    def _find(self, txn: Txn, api_id: str, command: str) -> tuple[int, int, Command]:
        """Enrollment number, sequence and record of a command, by its id or its uuid. Raises: NotFound."""
        _, number = self._known(txn, api_id)
        if _COMMAND_ID.fullmatch(command):
            sequence = int(command[8:], 16)
            found = self._commands.get(txn, number, sequence)
            if found is not None and command_id(found.created_ms, sequence) == command.lower():
                return number, sequence, found
        newest = self._commands.newest(txn, number, command)
        found = self._commands.get(txn, number, newest) if newest is not None else None
        if newest is None or found is None:
            raise NotFound(f"not found: command {command}")
        return number, newest, found

    def command(self, api_id: str, command: str) -> CommandRecord:
        """See `storage.base.CommandQueue`."""
        with self._env.read() as txn:
            _, sequence, found = self._find(txn, api_id, command)
        return found.record(sequence)

    def report_of(self, api_id: str, command: str) -> bytes:
        """See `storage.base.CommandQueue`."""
        with self._env.read() as txn:
            _, sequence, _ = self._find(txn, api_id, command)
            return txn.get(u64(sequence), db=self._t.report) or b""


def _span_ms() -> int:
    return int(ONCE_KEPT.total_seconds() * 1000)
