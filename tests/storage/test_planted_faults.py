"""Faults planted in the LMDB store itself: each has to be found by a plain test of the queue."""

from collections.abc import Callable
from pathlib import Path

import pytest

from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.protocol.report import Report, Status
from micromdm_py.storage.lmdb.commands import Command
from micromdm_py.storage.lmdb.environment import Environment
from micromdm_py.storage.lmdb.queue import LETTERS
from micromdm_py.storage.lmdb.seen import SeenTimes
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.lmdb.tables import QUEUE, Contact, u64, unu64
from micromdm_py.storage.lmdb.transactions import Txn
from micromdm_py.storage.records import Served
from tests.builders import Device
from tests.storage import test_answers as answers
from tests.storage import test_queue as rules
from tests.storage.backends import MAP_BYTES, copy_aged


class NoFault(LmdbStore):
    """The store as it is."""


class LostDeferral(LmdbStore):
    """A refused command is taken out of the queue and not put back."""

    def _place(self, txn: Txn, number: int, sequence: int, command: Command, order: int) -> None:
        if command.state is not CommandState.TRIED:
            super()._place(txn, number, sequence, command, order)


class WrongByteOrder(LmdbStore):
    """Places in the queue are written with the low byte first."""

    def _place(self, txn: Txn, number: int, sequence: int, command: Command, order: int) -> None:
        super()._place(txn, number, sequence, command, order)
        place = u64(number) + QUEUE + LETTERS[command.state]
        right, wrong = (place + u64(one) for one in (order, swap(order)))
        txn.delete(right, db=self._t.own)
        txn.put(wrong, u64(sequence), db=self._t.own)

    def _leave(self, txn: Txn, number: int, sequence: int, command: Command, order: int) -> None:
        for one in (order, swap(order)):
            txn.delete(u64(number) + QUEUE + LETTERS[command.state] + u64(one), db=self._t.own)
        self._commands.unindex(txn, number, sequence, command)


class ForgottenMark(LmdbStore):
    """A command is handed out without being marked."""

    def _serve(
        self, txn: Txn, number: int, contact: Contact, status: Status, at_ms: int, request_id: str
    ) -> Served:
        head = self._head(txn, number)
        served = super()._serve(txn, number, contact, status, at_ms, request_id)
        command = self._commands.get(txn, number, head[2]) if head and served.payload else None
        if head and command and head[0] != b"a":
            self._leave(txn, number, head[2], command, head[2])
            command.state, command.tries = CommandState.PENDING, 0
            self._place(txn, number, head[2], command, head[2])
            self._commands.put(txn, number, head[2], command)
        return served


class LastInFirstOut(LmdbStore):
    """The newest of what may be offered comes first."""

    def _head(self, txn: Txn, number: int, letter: bytes = b"") -> tuple[bytes, int, int] | None:
        first = super()._head(txn, number, letter)
        if first is None:
            return None
        prefix = u64(number) + QUEUE + first[0]
        cursor = txn.cursor(self._t.own)
        below = cursor.prev() if cursor.set_range(prefix + b"\xff" * 8) else cursor.last()
        return (first[0], unu64(cursor.key()[10:]), unu64(cursor.value())) if below else None


class DeliveredAgainAfterAnswer(LmdbStore):
    """An answer is kept, but the command stays in the queue."""

    def _answer(self, txn: Txn, number: int, report: Report, at_ms: int, request_id: str) -> None:
        found = self._commands.answered(txn, number, report.command_uuid)
        super()._answer(txn, number, report, at_ms, request_id)
        command = self._commands.get(txn, number, found[0]) if found else None
        if found and command and command.has_report:
            self._commands.unindex(txn, number, found[0], command)
            command.state = CommandState.AWAITING
            self._place(txn, number, found[0], command, found[0])
            self._commands.put(txn, number, found[0], command)


def swap(order: int) -> int:
    return int.from_bytes(order.to_bytes(8, "little"), "big")


def life_of_a_command(phone: Device) -> None:
    answers.test_record_tells_a_command_s_life(phone.store, phone)


Rule = Callable[[Device], None]

FINDERS: dict[type[LmdbStore], Rule] = {
    LostDeferral: rules.test_refused_command_waits_for_the_next_idle,
    WrongByteOrder: rules.test_order_holds_when_the_sequence_number_grows_by_a_byte,
    ForgottenMark: life_of_a_command,
    LastInFirstOut: rules.test_first_in_is_first_out,
    DeliveredAgainAfterAnswer: rules.test_first_in_is_first_out,
}


def run(subject: type[LmdbStore], rule: Rule, aged: Path, path: Path) -> None:
    copy_aged(aged, path).close()
    env = Environment(path, map_size_bytes=MAP_BYTES)
    store = subject(path, env, SeenTimes(env))
    try:
        rule(Device(store))
    finally:
        store.close()


@pytest.mark.parametrize("fault", FINDERS, ids=lambda fault: fault.__name__)
def test_plain_rule_finds_a_fault_planted_in_the_store(
    fault: type[LmdbStore], aged: Path, scratch: Path
) -> None:
    with pytest.raises(AssertionError):
        run(fault, FINDERS[fault], aged, scratch / "store")


@pytest.mark.parametrize("rule", set(FINDERS.values()), ids=lambda rule: rule.__name__)
def test_plain_rule_finds_nothing_in_the_store_as_it_is(rule: Rule, aged: Path, scratch: Path) -> None:
    run(NoFault, rule, aged, scratch / "store")
