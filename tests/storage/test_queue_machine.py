"""The LMDB store against the model, and the model against faults that the machine has to find."""

import itertools
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.protocol.report import Report, Status
from micromdm_py.storage.base import Store
from micromdm_py.storage.memory.state import Channel, Queued
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import DuePush, Enqueued, NewEntry, Once, PushOutcome, Served
from tests.storage.agreement import check_agreement
from tests.storage.backends import PAST, copy_aged, open_lmdb
from tests.storage.queue_machine import QueueMachine

EXAMPLES = 400


def test_lmdb_does_what_the_model_does(aged: Path, scratch: Path) -> None:
    names = itertools.count()

    class LmdbMachine(QueueMachine):
        def open(self) -> Store:
            self.path = scratch / f"store-{next(names)}"
            return copy_aged(aged, self.path)

        def reopen(self, store: Store) -> Store:
            store.close()
            return open_lmdb(self.path)

        def look_at_everything(self) -> None:
            super().look_at_everything()
            check_agreement(self.store)

        def teardown(self) -> None:
            super().teardown()
            shutil.rmtree(self.path)

    run_state_machine_as_test(
        LmdbMachine, settings=settings(max_examples=EXAMPLES, stateful_step_count=15, deadline=None)
    )


# --- planted faults ---


class Aged(MemoryStore):
    """A memory store whose counters are about to need a second byte."""

    def __init__(self) -> None:
        super().__init__()
        self._s.sequence, self._s.refusals = PAST, PAST + 3

    def reopen(self) -> None:
        """What a restart does to the store."""


class LostDeferral(Aged):
    """A refused command never comes back."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        return [one for one in super()._offered(channel, status) if one.state is not CommandState.TRIED]


class DeferralLostAtRestart(Aged):
    """The order of refusals is kept in memory only."""

    def reopen(self) -> None:
        for channel in self._s.channels.values():
            for one in channel.commands.values():
                one.refusal = 0


class IdleMarkLostAtRestart(Aged):
    """Which refusals the last Idle knew of is kept in memory only."""

    def reopen(self) -> None:
        for channel in self._s.channels.values():
            channel.idle_mark = self._s.refusals


class HandOutLostAtRestart(Aged):
    """That a command was handed out is kept in memory only."""

    def reopen(self) -> None:
        for channel in self._s.channels.values():
            for one in channel.open_commands:
                if one.state is CommandState.AWAITING:
                    one.state = CommandState.PENDING


class RefusedComesBackAtOnce(Aged):
    """Any answer brings refused commands back, not only the next Idle."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        channel.idle_mark = self._s.refusals
        return super()._offered(channel, status)


class RefusedComesBackAfterNotNow(Aged):
    """NotNow brings back what was refused before the last Idle."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        return super()._offered(channel, Status.IDLE if status is Status.NOT_NOW else status)


class LittleEndianQueue(Aged):
    """Sequence numbers are stored with the wrong byte order."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        offered = super()._offered(channel, status)
        pending = [one for one in offered if one.state is CommandState.PENDING]
        pending.sort(key=lambda one: one.sequence.to_bytes(8, "little"))
        others = iter(pending)
        return [next(others) if one.state is CommandState.PENDING else one for one in offered]


class LittleEndianRefusals(Aged):
    """Refusal numbers are stored with the wrong byte order."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        offered = super()._offered(channel, status)
        refused = [one for one in offered if one.state is CommandState.TRIED]
        rest = [one for one in offered if one.state is not CommandState.TRIED]
        return rest + sorted(refused, key=lambda one: one.refusal.to_bytes(8, "little"))


class RefusedInOrderOfQueueing(Aged):
    """Refused commands come back in the order they were queued, not in that of the refusals."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        offered = super()._offered(channel, status)
        refused = [one for one in offered if one.state is CommandState.TRIED]
        rest = [one for one in offered if one.state is not CommandState.TRIED]
        return rest + sorted(refused, key=lambda one: one.sequence)


class LastInFirstOutWithinASecond(Aged):
    """Commands queued close together come in the wrong order."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        return sorted(
            super()._offered(channel, status),
            key=lambda one: (one.state, int(one.created_at.timestamp()) // 3, -one.sequence),
        )


class Rotation(Aged):
    """An unanswered command goes to the end of the queue, as MicroMDM's did."""

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        offered = super()._offered(channel, status)
        if len(offered) > 1 and offered[0].state is CommandState.AWAITING:
            return offered[1:] + offered[:1]
        return offered


class ForgottenMark(Aged):
    """A command is handed out without being marked."""

    def _serve(self, channel: Channel, status: Status, at: object, request_id: str = "") -> Served:
        if status is Status.IDLE:
            channel.idle_mark = self._s.refusals
        offered = self._offered(channel, status)
        if not offered:
            return Served()
        return Served(offered[0].entry.payload, offered[0].entry.command_uuid)


class AnswerToRefusedForgotten(Aged):
    """An answer for a command that waits after NotNow is not recognised."""

    def _answered(self, channel: Channel, uuid: str) -> Queued | None:
        found = super()._answered(channel, uuid)
        return None if found and found.state is CommandState.TRIED else found


class AnswerForTheNewest(Aged):
    """Among commands of one uuid the newest is answered: the oldest is delivered again after its answer."""

    def _answered(self, channel: Channel, uuid: str) -> Queued | None:
        same = [one for one in channel.open_commands if one.entry.command_uuid == uuid]
        return same[-1] if same else super()._answered(channel, uuid)


class AnswerForTheOldestHandedOut(Aged):
    """A refused command of the same uuid takes the answer of the one that is handed out."""

    def _answered(self, channel: Channel, uuid: str) -> Queued | None:
        for one in channel.open_commands:
            if one.entry.command_uuid == uuid and one.state is not CommandState.PENDING:
                return one
        return super()._answered(channel, uuid)


class DeliveredAgainAfterLateAnswer(Aged):
    """The answer to a command that was refused before is kept, but the command stays in the queue."""

    def _answer(self, channel: Channel, report: Report, at: object, request_id: str = "") -> None:
        found = self._answered(channel, report.command_uuid)
        before = found.state if found else None
        super()._answer(channel, report, at)  # type: ignore[arg-type]  # the clock's time goes through
        if found and before is CommandState.TRIED:
            found.state = CommandState.TRIED


class SecondAnswerCounts(Aged):
    """A repeated answer overwrites the report of the first."""

    def _answer(self, channel: Channel, report: Report, at: object, request_id: str = "") -> None:
        found = self._answered(channel, report.command_uuid)
        if found and found.report is not None:
            found.report = report.raw
        super()._answer(channel, report, at)  # type: ignore[arg-type]  # the clock's time goes through


class PushForgottenWhenOneIsUnderWay(Aged):
    """A command queued while a push is under way gets none of its own."""

    def record_push(self, due: DuePush, outcome: PushOutcome) -> None:
        super().record_push(DuePush(due.target, self._s.sequence), outcome)


class NeverExpires(Aged):
    """The time at which a command expires is not kept."""

    def enqueue(
        self, api_id: str, entry: NewEntry, *, at: datetime, push: bool = True, once: Once | None = None
    ) -> Enqueued:
        return super().enqueue(api_id, replace(entry, expires_at=None), at=at, push=push, once=once)


class SupersedesOtherGroups(Aged):
    """A command that supersedes takes away what is open of every group."""

    def enqueue(
        self, api_id: str, entry: NewEntry, *, at: datetime, push: bool = True, once: Once | None = None
    ) -> Enqueued:
        channel = self._s.channels.get(api_id)
        if entry.supersede and channel is not None:
            channel.withdraw(CommandState.SUPERSEDED, at)
        return super().enqueue(api_id, entry, at=at, push=push, once=once)


class LateAnswerBeatsEverything(Aged):
    """A late answer changes the state of what was superseded or withdrawn, not only of what was cancelled."""

    def _answer(self, channel: Channel, report: Report, at: object, request_id: str = "") -> None:
        found = self._answered(channel, report.command_uuid)
        withdrawn = (CommandState.SUPERSEDED, CommandState.PROTECTION_CANCELED)
        if found and found.state in withdrawn and found.report is None:
            found.state = CommandState.CANCEL
        super()._answer(channel, report, at, request_id)  # type: ignore[arg-type]  # the clock's time


class CancelledAnswerIsLost(Aged):
    """An answer to a cancelled command is not recognised."""

    def _answered(self, channel: Channel, uuid: str) -> Queued | None:
        found = super()._answered(channel, uuid)
        return None if found and found.state is CommandState.CANCEL else found


class RepetitionForgotten(Aged):
    """A silent device is not pushed to again."""

    def record_push(self, due: DuePush, outcome: PushOutcome) -> None:
        super().record_push(due, replace(outcome, again_at=None))


FAULTS = Aged.__subclasses__()


def run_against(subject: type[Aged]) -> None:
    class FaultMachine(QueueMachine):
        def open(self) -> Store:
            return subject()

        def reopen(self, store: Store) -> Store:
            assert isinstance(store, Aged)
            store.reopen()
            return store

    run_state_machine_as_test(
        FaultMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_machine_finds_a_planted_fault(fault: type[Aged]) -> None:
    with pytest.raises(AssertionError):
        run_against(fault)


def test_machine_finds_nothing_where_nothing_is_planted() -> None:
    run_against(Aged)
