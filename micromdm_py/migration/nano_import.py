"""From a NanoMDM server's storage to the content of a store.

Enrollments with what they sent, certificates and bindings, bootstrap and unlock tokens, queues with their
history, push certificates. The SCEP authority is no part of NanoMDM.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from micromdm_py.errors import MalformedRequest
from micromdm_py.migration.inventory import named
from micromdm_py.migration.keys import push_pair
from micromdm_py.migration.nano_records import NanoCommand, NanoEnrollment, NanoStorage
from micromdm_py.migration.report import BucketReport, Report
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.checkin import Authenticate, TokenUpdate, parse_checkin
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.protocol.plist import loads
from micromdm_py.storage.records import EnrollmentRecord, NewEntry
from micromdm_py.storage.transfer import (
    Moved,
    MovedAuthority,
    MovedCertificate,
    MovedCommand,
    MovedEnrollment,
    MovedPush,
)

__all__ = ["nano_content"]

SERIAL_GAP = 10_000
_STATES = {
    "": CommandState.PENDING,
    "NotNow": CommandState.TRIED,
    "Acknowledged": CommandState.ACKNOWLEDGED,
    "Error": CommandState.ERROR,
    "CommandFormatError": CommandState.COMMAND_FORMAT_ERROR,
}


def nano_content(
    storage: NanoStorage, report: Report, now: datetime, scep: MovedAuthority | None = None
) -> Iterator[Moved]:
    """Read the whole storage.

    Args:
        storage: of a server that is stopped.
        report: is complete when the last piece has been taken.
        now: time of whatever has none, aware UTC.
        scep: the authority that has issued the devices' certificates; its next serial number leaves room
            for certificates that NanoMDM has not seen.
    """
    gather = _Gather(storage, report, now)
    yield from gather.push_certificates()
    yield from gather.enrollments("devices", storage.devices(), Authenticate)
    yield from gather.enrollments("users", storage.users(), TokenUpdate)
    if scep is not None:
        yield replace(scep, next_serial=gather.highest + SERIAL_GAP)
    for name in storage.queues():
        if name not in gather.known:
            yield from gather.orphan(name)


class _Gather:
    """Turns what is in the storage into pieces of a store's content.

    Attributes:
        known: ids of the enrollments so far.
        highest: the highest serial number of a certificate so far.
    """

    def __init__(self, storage: NanoStorage, report: Report, now: datetime) -> None:
        self._storage, self._report, self._now = storage, report, now
        self.known: set[str] = set()
        self.highest = 1

    def push_certificates(self) -> Iterator[Moved]:
        about = self._report.bucket("push_cert")
        for one in self._storage.push_certificates():
            about.read += 1
            try:
                pair = push_pair(one.certificate, one.key, self._report, self._now)
            except ValueError as fault:
                about.lose(one.name, str(fault))
                continue
            about.imported += 1
            yield pair

    def enrollments(
        self, bucket: str, found: Iterator[NanoEnrollment], wanted: type[Authenticate | TokenUpdate]
    ) -> Iterator[Moved]:
        about = self._report.bucket(bucket)
        for one in found:
            about.read += 1
            try:
                message = parse_checkin(loads(one.message))
                if not isinstance(message, wanted) or message.enrollment.enrollment_id != one.name:
                    raise MalformedRequest("is not the message that it should be")
            except MalformedRequest as fault:
                about.lose(one.name, str(fault))
                continue
            about.imported += 1
            self.known.add(one.name)
            yield from self._certificate(one, about)
            yield self._moved(one, message)

    def orphan(self, name: str) -> Iterator[Moved]:
        """The queue of an id that is not enrolled."""
        try:
            named(name, "the id")
        except ValueError as fault:
            self._report.bucket("queue").lose(name, str(fault))
            return
        self._report.warnings.append(f"{name} has a queue, but is not enrolled: its queue is kept")
        yield MovedEnrollment(EnrollmentRecord(name, "", None, name), None, self.commands(name))

    def commands(self, name: str) -> tuple[MovedCommand, ...]:
        """The queue of an id, known or not."""
        found = tuple(self._commands(name))
        self._report.commands.update(Counter(str(command.state) for command in found))
        return found

    def _certificate(self, one: NanoEnrollment, about: BucketReport) -> Iterator[MovedCertificate]:
        """The certificate that a device enrolled with; our server takes those that it knows."""
        if not one.certificate:
            return
        try:
            found = load_certificate(one.certificate)
        except MalformedRequest as fault:
            about.lose(f"{one.name} certificate", str(fault))
            return
        self.highest = max(self.highest, found.serial)
        yield MovedCertificate(one.certificate, found.serial, found.common_name, found.not_before)

    def _moved(self, one: NanoEnrollment, message: Authenticate | TokenUpdate) -> MovedEnrollment:
        facts = dict(message.facts) if isinstance(message, Authenticate) else {}
        record = self._record(one, message.enrollment, facts)
        commands = self.commands(one.name)
        self._report.enrollments[message.enrollment.kind.replace("_", " ")] += 1
        if not one.token:
            return MovedEnrollment(record, None, commands)
        due = one.enabled and any(command.state in OPEN_STATES for command in commands)
        push = MovedPush(one.token.hex(), one.push_magic, one.topic, due)
        return MovedEnrollment(record, push, commands)

    def _record(self, one: NanoEnrollment, ref: EnrollmentRef, facts: dict[str, str]) -> EnrollmentRecord:
        of_device = not ref.kind.is_user_channel
        return EnrollmentRecord(
            one.name,
            "",
            ref.kind,
            ref.device_id,
            ref.udid,
            ref.user_id,
            ref.user_short_name,
            ref.user_long_name,
            facts,
            enrolled=of_device and bool(one.token) and one.enabled,
            listed=of_device,
            unlock_token=one.unlock_token,
            bootstrap_token=one.bootstrap_token,
            fingerprint=self._fingerprint(one) if of_device else b"",
            last_seen_at=one.last_seen_at,
            token_update_at=one.enrolled_at,
        )

    def _fingerprint(self, one: NanoEnrollment) -> bytes:
        try:
            found = bytes.fromhex(one.certificate_hash)
        except ValueError:
            found = b"?"
        if len(found) in (0, 32):
            return found
        self._report.bucket("cert_auth").lose(one.name, "is not the SHA-256 of a certificate")
        return b""

    def _commands(self, name: str) -> Iterator[MovedCommand]:
        about = self._report.bucket("queue")
        for one in self._storage.commands(name):
            about.read += 1
            if not one.payload:
                about.lose(f"{name} {one.uuid}", "has no payload")
            elif one.status not in _STATES:
                about.lose(f"{name} {one.uuid}", "has a status that no command has")
            else:
                about.imported += 1
                yield self._command(one)

    def _command(self, one: NanoCommand) -> MovedCommand:
        state = _STATES[one.status]
        answered = one.answered_at or self._now if one.status else None
        entry = NewEntry(one.uuid, one.request_type, one.payload, "nanomdm")
        report = b"" if state in OPEN_STATES else one.report
        return MovedCommand(entry, state, one.created_at or self._now, answered, report)
