"""From MicroMDM's records and queues to enrollments.

What belongs to one enrollment lies in several buckets, under an id whose kind only the other buckets tell.
Records without the rest are normal, and so is the rest without a record: the old server serves whoever has a
certificate and a queue.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from micromdm_py.errors import MalformedRequest
from micromdm_py.migration.documents import channel_of
from micromdm_py.migration.inventory import Inventory, checked
from micromdm_py.migration.messages import OldCommand, OldDevice, OldQueue
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.checkin import DEVICE_FACTS
from micromdm_py.protocol.commands.raw import read_raw
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID, EnrollmentKind
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.storage.records import EnrollmentRecord, NewEntry
from micromdm_py.storage.transfer import MovedCommand, MovedEnrollment, MovedPush

__all__ = ["QUEUES", "Enrollments", "time_of"]

QUEUES, DEVICES = "mdm.DeviceCommands", "mdm.Devices"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_QUEUE = OldQueue()


def time_of(nanoseconds: int) -> datetime | None:
    """The time that a number stands for; None for "never", which is 0 or negative."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds > 0 else None


class Enrollments:
    """Joins what is known of each enrollment with its queue."""

    def __init__(self, old: OldDatabase, inventory: Inventory, report: Report, now: datetime) -> None:
        """Read queues from an open database; `now` is the time of whatever has none."""
        self._old, self._of, self._report, self._now = old, inventory, report, now

    def moved(self) -> Iterator[MovedEnrollment]:
        """All enrollments, those with queues first, in the order of the file. Raises: BadDatabase."""
        done: set[str] = set()
        for name, queue in self._old.messages(QUEUES, OldQueue):
            with self._old.counted(QUEUES, name):
                done.add(checked(name))
                yield self._enrollment(name, queue)
        for name in self._of.ids:
            if name not in done:
                yield self._enrollment(name, _NO_QUEUE)

    def _enrollment(self, name: str, queue: OldQueue) -> MovedEnrollment:
        commands = tuple(self._commands(name, queue))
        record = self._record(name)
        waiting = any(command.state in OPEN_STATES for command in commands)
        self._count(name, record, commands, waiting)
        push = self._of.pushes.get(name)
        if push is None:
            return MovedEnrollment(record, None, commands)
        gone = record.listed and not record.enrolled
        due = waiting and not gone and record.device_id not in self._of.blocks
        return MovedEnrollment(
            record, MovedPush(push.token.lower(), push.push_magic, push.mdm_topic, due), commands
        )

    def _record(self, name: str) -> EnrollmentRecord:
        kind = self._of.kind(name)
        if kind is EnrollmentKind.DEVICE:
            return self._device(name)
        if kind is EnrollmentKind.USER:
            user = self._of.channels[name]
            return EnrollmentRecord(
                channel_of(user),
                "",
                EnrollmentKind.SHARED_IPAD if user.user_id == SHARED_IPAD_USER_ID else kind,
                user.udid,
                user.udid,
                user.user_id,
                user.user_shortname,
                user.user_longname,
            )
        user_id = name if kind is None and name in self._of.former else ""
        return EnrollmentRecord(name, "", kind, name, user_id=user_id, blocked=name in self._of.blocks)

    def _device(self, udid: str) -> EnrollmentRecord:
        device = self._of.devices.get(udid)
        facts = {fact: getattr(device, fact) for fact in DEVICE_FACTS.values()} if device else {}
        known = device or OldDevice()
        return EnrollmentRecord(
            udid,
            "",
            EnrollmentKind.DEVICE,
            udid,
            udid,
            facts={fact: value for fact, value in facts.items() if value},
            enrolled=known.enrolled,
            listed=device is not None,
            blocked=udid in self._of.blocks,
            awaiting_configuration=known.awaiting_configuration,
            dep_profile_status=known.dep_profile_status,
            unlock_token=self._unlock_token(known),
            bootstrap_token=known.bootstrap_token,
            fingerprint=self._of.pins.get(udid, b""),
            last_seen_at=time_of(known.last_seen),
        )

    def _unlock_token(self, device: OldDevice) -> bytes:
        try:
            return bytes.fromhex(device.unlock_token)
        except ValueError:
            self._old.about(DEVICES).lose(device.udid, "the unlock token is not hexadecimal")
            return b""

    # --- queues ---

    def _commands(self, name: str, queue: OldQueue) -> Iterator[MovedCommand]:
        """Those that are done, then what waits in the order of delivery."""
        for title, state, commands in (
            ("completed", CommandState.ACKNOWLEDGED, queue.completed),
            ("failed", CommandState.ERROR, queue.failed),
            ("commands", CommandState.PENDING, queue.commands),
            ("not_now", CommandState.TRIED, queue.not_now),
        ):
            for position, command in enumerate(commands):
                if command.payload and command.uuid:
                    yield self._command(command, state)
                else:
                    what = "payload" if command.uuid else "uuid"
                    self._old.about(QUEUES).lose(f"{name} {title}[{position}]", f"has no {what}")

    def _command(self, command: OldCommand, state: CommandState) -> MovedCommand:
        try:
            request_type = read_raw(command.payload).request_type
        except MalformedRequest:
            request_type = ""  # whatever it is, the old server would have sent it
        answered = time_of(command.acknowledged) if state not in OPEN_STATES else None
        created = time_of(command.created_at) or answered or self._now
        entry = NewEntry(command.uuid, request_type, command.payload, "micromdm")
        return MovedCommand(entry, state, created, answered)

    # --- what the report says of them ---

    def _count(
        self, name: str, record: EnrollmentRecord, commands: tuple[MovedCommand, ...], waiting: bool
    ) -> None:
        report = self._report
        report.enrollments[(record.kind or "unknown").replace("_", " ")] += 1
        report.commands.update(Counter(str(command.state) for command in commands))
        if record.blocked:
            report.enrollments["blocked"] += 1
        if record.kind is None and waiting:
            what = "an id that never enrolled: its queue is kept, and nobody fetches it"
            if record.user_id:
                what = "a user channel without a record: its queue is kept until the user comes"
            report.warnings.append(f"{name} is {what}")
        if record.kind is EnrollmentKind.DEVICE and not record.listed:
            report.warnings.append(f"{name} has no device record: it is served as before")
