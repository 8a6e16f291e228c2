"""Per-enrollment FIFO queues, in dicts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from micromdm_py.errors import NotFound, Unenroll
from micromdm_py.protocol.enrollment import EnrollmentKind, EnrollmentRef
from micromdm_py.protocol.lifecycle import FINAL_STATES, CommandState, after_report
from micromdm_py.protocol.report import DEVICE_INFORMATION, FINAL, KEPT_ANSWERS, Report, Status
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.base.queue import ONCE_KEPT
from micromdm_py.storage.memory.pushbook import schedule
from micromdm_py.storage.memory.state import Binding, Channel, Part, Queued
from micromdm_py.storage.records import (
    Answer,
    CommandRecord,
    Enqueued,
    Identity,
    NewEntry,
    Once,
    Served,
    WaitingCommand,
)
from micromdm_py.storage.timeline import ANSWERED, CREATED, HANDED_OUT

__all__ = ["QueuePart"]

BRINGS_REFUSED_BACK = FINAL | {Status.IDLE}


class QueuePart(Part):
    """Implements `storage.base.CommandQueue`."""

    def enqueue(
        self, api_id: str, entry: NewEntry, *, at: datetime, push: bool = True, once: Once | None = None
    ) -> Enqueued:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            enrollment_id = self._addressed(api_id)
            if once is not None:
                kept_at, answer = self._s.once.get(once.digest, (None, b""))
                if kept_at is not None and at - kept_at < ONCE_KEPT:
                    return Enqueued(enrollment_id, "", False, answer)
                self._s.once[once.digest] = at, once.answer
            channel = self._mention(enrollment_id, None, enrollment_id, at)
            if entry.supersede:
                channel.withdraw(CommandState.SUPERSEDED, at, entry.group or entry.request_type)
            self._s.sequence += 1
            command = Queued(self._s.sequence, entry, at, at)
            if entry.request_id:
                command.note(CREATED, at, "", entry.request_id)
            channel.commands[command.sequence] = command
            wanted = push and schedule(channel, at)
            return Enqueued(enrollment_id, command.command_id, wanted)

    def enqueue_all(
        self,
        orders: Sequence[tuple[str, NewEntry]],
        *,
        at: datetime,
        push: bool = True,
        once: Sequence[Once | None] | None = None,
    ) -> list[Enqueued]:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            for api_id, _ in orders:
                self._addressed(api_id)
            return [
                self.enqueue(api_id, entry, at=at, push=push, once=key)
                for (api_id, entry), key in zip(orders, once or [None] * len(orders), strict=True)
            ]

    # --- reports ---

    def record_report(
        self, report: Report, identity: Identity, event: Event | None, *, at: datetime, request_id: str = ""
    ) -> Served:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            binding = self._check_binding(report.enrollment, identity)
            self._check_block(report.enrollment)
            channel = self._channel(report.enrollment, identity, binding, at)
            self._append(channel.record.enrollment_id, event, at)
            if report.command_uuid and report.status is not Status.IDLE:
                self._answer(channel, report, at, request_id)
            return self._serve(channel, report.status, at, request_id)

    def nothing_to_do(self, report: Report, identity: Identity, *, at: datetime) -> bool:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            if report.status is not Status.IDLE or self._check_binding(report.enrollment, identity).ids:
                return False
            self._check_block(report.enrollment)
            channel = self._s.channels.get(report.enrollment.enrollment_id)
            if channel is None or channel.record.kind is None or channel.open_commands:
                return False
            channel.record = replace(channel.record, last_seen_at=at)
            return True

    def _check_block(self, ref: EnrollmentRef) -> None:
        for name in {ref.enrollment_id, ref.device_id, ref.udid}:
            channel = self._s.channels.get(name)
            if channel and channel.record.blocked:
                raise Unenroll(f"{ref.device_id} is blocked")

    def _channel(self, ref: EnrollmentRef, identity: Identity, binding: Binding, at: datetime) -> Channel:
        """Bind what is to be bound; the channel that a message speaks for, which is made if it is new."""
        for name, kind in binding.ids:
            bound = self._mention(name, kind, name, at)
            bound.record = replace(bound.record, kind=kind, fingerprint=identity.fingerprint)
        self._adopt(ref)
        channel = self._mention(ref.enrollment_id, ref.kind, ref.device_id, at)
        changes: dict[str, object] = {"last_seen_at": at}
        if ref.kind.is_user_channel:
            changes.update(kind=ref.kind, device_id=ref.device_id, user_id=ref.user_id)
        channel.record = replace(channel.record, **changes)  # type: ignore[arg-type]  # names are fields
        return channel

    def _adopt(self, ref: EnrollmentRef) -> None:
        """Give a user channel that was moved here without its device its id from now on."""
        channels = self._s.channels
        left = channels.get(ref.user_id) if ref.kind is EnrollmentKind.USER else None
        if left and left.record.user_id == ref.user_id and ref.enrollment_id not in channels:
            channels[ref.enrollment_id] = channels.pop(ref.user_id)
            left.record = replace(left.record, enrollment_id=ref.enrollment_id)

    def _answer(self, channel: Channel, report: Report, at: datetime, request_id: str = "") -> None:
        """Apply a report to the command it is for."""
        command = self._answered(channel, report.command_uuid)
        if command is None:
            return
        before, after = command.state, after_report(command.state, report.status)
        keep = report.status in FINAL and command.report is None
        if before is after and not keep:
            return
        if keep:
            command.report = report.raw
        if after is CommandState.TRIED:
            self._s.refusals += 1
            command.refusal = self._s.refusals
        command.state = after
        command.updated_at = at
        command.received_at = command.received_at or at
        command.done_at = command.done_at or (at if after in FINAL_STATES else None)
        command.note(ANSWERED, at, report.status, request_id)
        if after is CommandState.ACKNOWLEDGED and before is not after:
            self._learn(channel, command.entry.request_type, report, at)

    def _learn(self, channel: Channel, request_type: str, report: Report, at: datetime) -> None:
        """Keep an answer that tells what a device is like."""
        if request_type not in KEPT_ANSWERS:
            return
        channel.answers[request_type] = Answer(request_type, at, report.raw)
        if request_type == DEVICE_INFORMATION and not report.enrollment.kind.is_user_channel:
            channel.record = replace(channel.record, facts={**channel.record.facts, **report.facts})

    def _answered(self, channel: Channel, uuid: str) -> Queued | None:
        """The command that an answer is for; `commands` are in the order they were queued."""
        same = [one for one in channel.commands.values() if one.entry.command_uuid == uuid]
        for state in (CommandState.AWAITING, CommandState.TRIED, CommandState.PENDING):
            found = [one for one in same if one.state is state]
            if found:
                return found[0]
        return same[-1] if same else None

    def _serve(self, channel: Channel, status: Status, at: datetime, request_id: str = "") -> Served:
        """Hand out the first command that may be offered; expired commands before it are withdrawn."""
        while (line := channel.line) and line[0].has_expired(at):
            line[0].withdraw(CommandState.PROTECTION_CANCELED, at)
        if status is Status.IDLE:
            channel.idle_mark = self._s.refusals
        offered = self._offered(channel, status)
        if not offered:
            return Served()
        command = offered[0]
        command.state = CommandState.AWAITING
        command.tries += 1
        command.tried_at = command.updated_at = at
        command.note(HANDED_OUT, at, status, request_id)
        return Served(command.entry.payload, command.entry.command_uuid)

    def _offered(self, channel: Channel, status: Status) -> list[Queued]:
        """What may be handed out after a report with this status, in the order of offering."""
        refused_too = status in BRINGS_REFUSED_BACK
        return [
            one
            for one in channel.line
            if one.state is not CommandState.TRIED or (refused_too and one.refusal <= channel.idle_mark)
        ]

    # --- looking and clearing ---

    def waiting(self, api_id: str) -> list[WaitingCommand]:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            channel = self._resolve(api_id)[1]
            return [
                WaitingCommand(one.entry.command_uuid, one.entry.payload, one.state)
                for one in (channel.open_commands if channel else [])
            ]

    def clear(self, api_id: str, *, at: datetime) -> int:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            channel = self._resolve(api_id)[1]
            return channel.withdraw(CommandState.CANCEL, at) if channel else 0

    def command(self, api_id: str, command: str) -> CommandRecord:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            return self._find(api_id, command).record

    def report_of(self, api_id: str, command: str) -> bytes:
        """See `storage.base.CommandQueue`."""
        with self._s.lock:
            return self._find(api_id, command).report or b""

    def _find(self, api_id: str, command: str) -> Queued:
        commands = list(self._known(api_id).commands.values())
        found = [one for one in commands if one.command_id == command.lower()]
        found = found or [one for one in commands if one.entry.command_uuid == command]
        if not found:
            raise NotFound(f"not found: command {command}")
        return found[-1]
