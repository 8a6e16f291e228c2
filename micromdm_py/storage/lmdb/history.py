"""Command records as administrators look at them, and their end: expiry and retention."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice, takewhile

from micromdm_py.errors import CommandDone
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.storage.lmdb.commands import Command
from micromdm_py.storage.lmdb.queue import QueuePart
from micromdm_py.storage.lmdb.tables import COMMAND, command_key, ms, u64, unpair, unu64
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.records import CommandFilter, CommandPage, CommandRecord

__all__ = ["HistoryPart"]

MAX_LOOKED_AT = 1000
"""Most records read for one page: a filter that few of many match is answered in several pages."""
_END = (1 << 64) - 1


class HistoryPart(QueuePart):
    """Implements `storage.base.CommandHistory` except `find_target`."""

    def commands(self, api_id: str, wanted: CommandFilter) -> CommandPage:
        """See `storage.base.CommandHistory`."""
        before = wanted.page_start()
        found: list[CommandRecord] = []
        looked_at = last = 0
        with self._env.read() as txn:
            _, number = self._known(txn, api_id)
            waiting = bool(wanted.states) and wanted.states <= OPEN_STATES
            rows = (self._waiting_rows if waiting else self._all_rows)(txn, number, before)
            for sequence, row in rows:
                if len(found) == wanted.limit or looked_at == MAX_LOOKED_AT:
                    return CommandPage(found, u64(last).hex())
                last, looked_at = sequence, looked_at + 1
                one = Command.decode(row)
                if wanted.names(one.state, one.request_type, one.origin, one.group_name):
                    record = one.record(sequence)
                    if wanted.fits(record):
                        found.append(record)
        return CommandPage(found)

    def _all_rows(self, txn: Txn, number: int, before: int | None) -> Iterator[tuple[int, bytes]]:
        """Records of an enrollment as (sequence, row), newest first."""
        prefix = u64(number) + COMMAND
        cursor = txn.cursor(self._t.own)
        start = command_key(number, _END if before is None else before)
        more = cursor.prev() if cursor.set_range(start) else cursor.last()
        while more and (key := cursor.key()).startswith(prefix):
            yield unu64(key[9:]), cursor.value()
            more = cursor.prev()

    def _waiting_rows(self, txn: Txn, number: int, before: int | None) -> Iterator[tuple[int, bytes]]:
        """The same for open commands alone, which may be few among many: found by the queue."""
        for sequence in sorted((one for one, _ in self._open(txn, number)), reverse=True):
            row = txn.get(command_key(number, sequence), db=self._t.own)
            if row is not None and (before is None or sequence < before):
                yield sequence, row

    def command_bodies(self, command_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """See `storage.base.CommandHistory`."""
        keys = [bytes.fromhex(command_id[8:]) for command_id in command_ids]
        with self._env.read() as txn:
            return [
                (txn.get(key, db=self._t.payload) or b"", txn.get(key, db=self._t.report) or b"")
                for key in keys
            ]

    def cancel(self, api_id: str, command: str, *, at: datetime, request_id: str = "") -> CommandRecord:
        """See `storage.base.CommandHistory`."""

        def operation(txn: Txn) -> CommandRecord:
            number, sequence, found = self._find(txn, api_id, command)
            if found.state not in OPEN_STATES:
                raise CommandDone(f"command {command} is {found.state}")
            order = self._commands.order(txn, number, sequence, found)
            cancel = CommandState.CANCEL
            self._withdraw_one(txn, number, sequence, found, order, ms(at), cancel, request_id)
            return found.record(sequence)

        return self._env.write(operation)

    # --- expiry and retention ---

    def expire_commands(self, *, at: datetime, limit: int) -> int:
        """See `storage.base.CommandHistory`."""
        if not self._is_due(self._t.expiry, ms(at)):
            return 0
        return self._env.write(lambda txn: self._expire(txn, ms(at), limit))

    def _expire(self, txn: Txn, at_ms: int, limit: int) -> int:
        due = self._until(txn, self._t.expiry, at_ms, limit)
        for number, sequence, key in due:
            command = self._commands.get(txn, number, sequence)
            if command is None or command.state not in OPEN_STATES:
                txn.delete(key, db=self._t.expiry)
                continue
            order = self._commands.order(txn, number, sequence, command)
            expired = CommandState.PROTECTION_CANCELED
            self._withdraw_one(txn, number, sequence, command, order, at_ms, expired)
        return len(due)

    def forget_commands(self, *, before: datetime, limit: int) -> int:
        """See `storage.base.CommandHistory`."""
        if not self._is_due(self._t.done, ms(before) - 1):
            return 0
        return self._env.write(lambda txn: self._forget(txn, ms(before) - 1, limit))

    def _forget(self, txn: Txn, upto_ms: int, limit: int) -> int:
        due = self._until(txn, self._t.done, upto_ms, limit)
        for number, sequence, key in due:
            command = self._commands.get(txn, number, sequence)
            if command is not None:
                self._commands.unindex(txn, number, sequence, command)
            txn.delete(command_key(number, sequence), db=self._t.own)
            txn.delete(u64(sequence), db=self._t.payload)
            txn.delete(u64(sequence), db=self._t.report)
            txn.delete(key, db=self._t.done)
        return len(due)

    def _is_due(self, table: object, upto_ms: int) -> bool:
        """Whether an index by time has a row up to then; without one there is no need for a write."""
        with self._env.read() as txn:
            return bool(self._until(txn, table, upto_ms, 1))

    def _until(self, txn: Txn, table: object, upto_ms: int, limit: int) -> list[tuple[int, int, bytes]]:
        """The first rows of an index by time, as (enrollment number, sequence, key)."""
        due = takewhile(lambda one: unu64(one[0]) <= upto_ms, rows(txn, table))
        return [(unu64(number), unpair(key)[1], key) for key, number in islice(due, limit)]
