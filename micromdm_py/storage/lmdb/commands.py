"""Command records and the index from uuid to command."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.lmdb.environment import Environment
from micromdm_py.storage.lmdb.tables import UUID, command_key, from_ms, maybe_ms, ms, u64, unu64
from micromdm_py.storage.lmdb.transactions import Txn
from micromdm_py.storage.records import CommandRecord, NewEntry, PushOutcome
from micromdm_py.storage.timeline import CREATED, Entry, append, push_entry, steps

__all__ = ["Command", "Commands", "command_id", "index_key"]

HANDED_OUT, REFUSED, UNTOUCHED, FINISHED = b"h", b"n", b"p", b"z"
"""Groups of the uuid index: `answered` looks for a command in this order."""

_read_json = json.JSONDecoder().decode
_write_json = json.JSONEncoder(separators=(",", ":")).encode
"""Made once, as `json.loads` of bytes and `json.dumps` with options take twice as long."""


@dataclass(slots=True)
class Command:
    """A command record as its row has it.

    Times are milliseconds since 1970, 0 for never. `group` is "" for the request type, `entries` are as in
    `storage.timeline`.
    """

    uuid: str
    request_type: str
    state: CommandState
    origin: str
    created_ms: int
    updated_ms: int
    tries: int = 0
    tried_ms: int = 0
    sent_ms: int = 0
    received_ms: int = 0
    canceled_ms: int = 0
    has_report: int = 0
    group: str = ""
    info: Mapping[str, str] = field(default_factory=dict)
    expires_ms: int = 0
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def new(cls, entry: NewEntry, at_ms: int) -> "Command":
        """The record of a command that is being queued."""
        command = cls(
            entry.command_uuid, entry.request_type, CommandState.PENDING, entry.origin, at_ms, at_ms
        )
        command.group, command.info = entry.group, dict(entry.info)
        command.expires_ms = ms(entry.expires_at) if entry.expires_at else 0
        if entry.request_id:
            command.note(CREATED, at_ms, "", entry.request_id)
        return command

    def note(self, letter: str, at_ms: int, detail: str, request_id: str = "") -> None:
        """Add to the timeline."""
        append(self.entries, (at_ms - self.created_ms, letter, detail, request_id))

    def pushed(self, outcome: PushOutcome) -> bool:
        """Note a push unless one was accepted before, or failed for the same reason; whether it was noted."""
        entry = push_entry(self.entries, outcome)
        if self.sent_ms or entry is None:
            return False
        self.note(entry[0], ms(outcome.at), entry[1])
        if outcome.accepted:
            self.sent_ms = self.updated_ms = ms(outcome.at)
        return True

    @property
    def group_name(self) -> str:
        """Its group, the request type by default."""
        return self.group or self.request_type

    @classmethod
    def decode(cls, row: bytes) -> "Command":
        """Read a row."""
        uuid, request_type, state, *rest = _read_json(row.decode())
        return cls(uuid, request_type, CommandState(state), *rest)

    def encode(self) -> bytes:
        """Write a row."""
        return _write_json(
            (
                self.uuid,
                self.request_type,
                self.state,
                self.origin,
                self.created_ms,
                self.updated_ms,
                self.tries,
                self.tried_ms,
                self.sent_ms,
                self.received_ms,
                self.canceled_ms,
                self.has_report,
                self.group,
                self.info,
                self.expires_ms,
                self.entries,
            )
        ).encode()

    def record(self, sequence: int) -> CommandRecord:
        """The record as services see it."""
        return CommandRecord(
            command_id(self.created_ms, sequence),
            self.uuid,
            self.request_type,
            self.state,
            self.origin,
            self.tries,
            from_ms(self.created_ms),
            from_ms(self.updated_ms),
            maybe_ms(self.tried_ms),
            maybe_ms(self.sent_ms),
            maybe_ms(self.received_ms),
            maybe_ms(self.canceled_ms),
            bool(self.has_report),
            self.group_name,
            maybe_ms(self.expires_ms),
            self.info,
            steps(from_ms(self.created_ms), self.entries),
        )


def command_id(created_ms: int, sequence: int) -> str:
    """24 hex digits: seconds since 1970, then the sequence number."""
    return f"{created_ms // 1000:08x}{sequence:016x}"


class Commands:
    """Access to command records and to the index of their uuids."""

    def __init__(self, env: Environment) -> None:
        """Work on an open environment."""
        self._t = env.tables

    def get(self, txn: Txn, number: int, sequence: int) -> Command | None:
        """A record, None when there is none."""
        row = txn.get(command_key(number, sequence), db=self._t.own)
        return Command.decode(row) if row else None

    def put(self, txn: Txn, number: int, sequence: int, command: Command) -> None:
        """Write a record."""
        txn.put(command_key(number, sequence), command.encode(), db=self._t.own)

    def index(self, txn: Txn, number: int, sequence: int, command: Command, order: int) -> None:
        """Put a command into the index; `order` is its place in the queue, 0 when it is done."""
        place = command.state[0].encode() + u64(order)
        txn.put(index_key(number, sequence, command), place, db=self._t.own)

    def unindex(self, txn: Txn, number: int, sequence: int, command: Command) -> None:
        """Take a command out of the index, before its state changes."""
        txn.delete(index_key(number, sequence, command), db=self._t.own)

    def order(self, txn: Txn, number: int, sequence: int, command: Command) -> int:
        """Place of an open command in the queue, as `index` was told."""
        place = txn.get(index_key(number, sequence, command), db=self._t.own) or b""
        return unu64(place[1:])

    def answered(self, txn: Txn, number: int, uuid: str) -> tuple[int, int] | None:
        """The command that an answer is for, as (sequence, order in the queue or 0 when it is done)."""
        for group in (HANDED_OUT, REFUSED, UNTOUCHED):
            prefix = u64(number) + UUID + group + _hash(uuid)
            cursor = txn.cursor(self._t.own)
            if cursor.set_range(prefix) and cursor.key().startswith(prefix):
                return unu64(cursor.key()[-8:]), unu64(cursor.value()[1:])
        sequence = self.newest(txn, number, uuid, (FINISHED,))
        return (sequence, 0) if sequence is not None else None

    def newest(
        self,
        txn: Txn,
        number: int,
        uuid: str,
        groups: tuple[bytes, ...] = (HANDED_OUT, REFUSED, UNTOUCHED, FINISHED),
    ) -> int | None:
        """Sequence number of the newest command with a uuid, among these groups of the index."""
        found = None
        for group in groups:
            prefix = u64(number) + UUID + group + _hash(uuid)
            cursor = txn.cursor(self._t.own)
            below = cursor.prev() if cursor.set_range(prefix + b"\xff" * 9) else cursor.last()
            if below and cursor.key().startswith(prefix):
                found = max(found or 0, unu64(cursor.key()[-8:]))
        return found


_GROUPS = {
    CommandState.AWAITING: HANDED_OUT,
    CommandState.TRIED: REFUSED,
    CommandState.PENDING: UNTOUCHED,
}


def index_key(number: int, sequence: int, command: Command) -> bytes:
    """Key of a command in the index of uuids."""
    group = _GROUPS.get(command.state, FINISHED)
    return u64(number) + UUID + group + _hash(command.uuid) + u64(sequence)


@lru_cache(1024)
def _hash(uuid: str) -> bytes:
    return hashlib.blake2b(uuid.encode("utf-8", "surrogatepass"), digest_size=16).digest()
