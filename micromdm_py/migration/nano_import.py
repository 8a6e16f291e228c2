"""From NanoMDM's `filekv` storage to the content of a store.

Enrollments with what they sent, certificates and bindings, bootstrap and unlock tokens, queues with their
history, push certificates. The SCEP authority is no part of NanoMDM.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from micromdm_py.errors import MalformedRequest
from micromdm_py.migration.keys import push_pair
from micromdm_py.migration.nano_files import NanoFiles
from micromdm_py.migration.report import Report
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.checkin import Authenticate, TokenUpdate, parse_checkin
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.lifecycle import FINAL_STATES, OPEN_STATES, CommandState
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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DONE = {
    "Acknowledged": CommandState.ACKNOWLEDGED,
    "Error": CommandState.ERROR,
    "CommandFormatError": CommandState.COMMAND_FORMAT_ERROR,
}


def nano_content(
    files: NanoFiles, report: Report, now: datetime, scep: MovedAuthority | None = None
) -> Iterator[Moved]:
    """Read the whole storage.

    Args:
        files: of a server that is stopped.
        report: is complete when the last piece has been taken.
        now: time of whatever has none, aware UTC.
        scep: the authority that has issued the devices' certificates; its next serial number leaves room
            for certificates that NanoMDM has not seen.
    """
    yield from _push_certificates(files, report, now)
    gather = _Enrollments(files, report, now)
    highest = 1
    known: set[str] = set()
    for bucket, suffix, wanted in (("devices", ".auth", Authenticate), ("users", ".tok_upd", TokenUpdate)):
        about = report.bucket(bucket)
        for key in files.keys(bucket):
            if not key.endswith(suffix):
                continue
            about.read += 1
            name = key.removesuffix(suffix)
            try:
                message = parse_checkin(loads(files.get(bucket, key)))
                if not isinstance(message, wanted) or message.enrollment.enrollment_id != name:
                    raise MalformedRequest("is not the message that it should be")
            except MalformedRequest as fault:
                about.lose(key, str(fault))
                continue
            about.imported += 1
            known.add(name)
            for certificate in _certificate(files, name, report):
                highest = max(highest, certificate.serial)
                yield certificate
            facts = message.facts if isinstance(message, Authenticate) else {}
            yield gather.moved(message.enrollment, dict(facts))
    if scep is not None:
        yield replace(scep, next_serial=highest + SERIAL_GAP)
    suffix = ".queuekey.queue.first"
    for name in (key.removesuffix(suffix) for key in files.keys("queue") if key.endswith(suffix)):
        if name not in known:
            report.warnings.append(f"{name} has a queue, but is not enrolled: its queue is kept")
            yield MovedEnrollment(EnrollmentRecord(name, "", None, name), None, gather.commands(name))


def _certificate(files: NanoFiles, name: str, report: Report) -> Iterator[MovedCertificate]:
    """The certificate that a device enrolled with; our server takes those that it knows."""
    der = files.get("devices", f"{name}.cert")
    if not der:
        return
    try:
        found = load_certificate(der)
    except MalformedRequest as fault:
        report.bucket("devices").lose(f"{name}.cert", str(fault))
        return
    yield MovedCertificate(der, found.serial, found.common_name, found.not_before)


def _push_certificates(files: NanoFiles, report: Report, now: datetime) -> Iterator[Moved]:
    about = report.bucket("push_cert")
    for key in files.keys("push_cert"):
        if not key.endswith(".pem"):
            continue
        about.read += 1
        topic = key.removesuffix(".pem")
        try:
            pair = push_pair(files.get("push_cert", key), files.get("push_cert", f"{topic}.key"), report, now)
        except ValueError as fault:
            about.lose(key, str(fault))
            continue
        about.imported += 1
        yield pair


class _Enrollments:
    """Gathers what belongs to an enrollment."""

    def __init__(self, files: NanoFiles, report: Report, now: datetime) -> None:
        self._files, self._report, self._now = files, report, now

    def moved(self, ref: EnrollmentRef, facts: dict[str, str]) -> MovedEnrollment:
        record = self._record(ref, facts)
        commands = self.commands(ref.enrollment_id)
        self._report.enrollments[ref.kind.replace("_", " ")] += 1
        token = self._value(ref, "token")
        if not token:
            return MovedEnrollment(record, None, commands)
        waiting = any(command.state in OPEN_STATES for command in commands)
        due = waiting and not self._value(ref, "disabled")
        magic, topic = (self._value(ref, key).decode("utf-8", "replace") for key in ("push_magic", "topic"))
        return MovedEnrollment(record, MovedPush(token.hex(), magic, topic, due), commands)

    def _value(self, ref: EnrollmentRef, key: str) -> bytes:
        return self._files.get("enrollments", f"{ref.enrollment_id}.{key}")

    def _record(self, ref: EnrollmentRef, facts: dict[str, str]) -> EnrollmentRecord:
        name, of_device = ref.enrollment_id, not ref.kind.is_user_channel
        enrolled = of_device and bool(self._value(ref, "token")) and not self._value(ref, "disabled")
        return EnrollmentRecord(
            name,
            "",
            ref.kind,
            ref.device_id,
            ref.udid,
            ref.user_id,
            ref.user_short_name,
            ref.user_long_name,
            facts,
            enrolled=enrolled,
            listed=of_device,
            unlock_token=self._value(ref, "unl_tok"),
            bootstrap_token=self._files.get("devices", f"{name}.bstoken"),
            fingerprint=self._fingerprint(name) if of_device else b"",
            last_seen_at=self._time(ref, "last_seen_at"),
            token_update_at=self._time(ref, "enrolled_at"),
        )

    def _fingerprint(self, name: str) -> bytes:
        text = self._files.text("cert_auth", f"{name}.cert_hash")
        try:
            found = bytes.fromhex(text)
        except ValueError:
            found = b"?"
        if len(found) in (0, 32):
            return found
        self._report.bucket("cert_auth").lose(f"{name}.cert_hash", "is not the SHA-256 of a certificate")
        return b""

    def _time(self, ref: EnrollmentRef, key: str) -> datetime | None:
        text = self._value(ref, key)
        microseconds = int(text) if text.isdigit() and len(text) < 18 else 0
        return _EPOCH + timedelta(microseconds=microseconds) if microseconds else None

    # --- queues ---

    def commands(self, name: str) -> tuple[MovedCommand, ...]:
        """The queue of an id, known or not."""
        found = tuple(self._commands(name))
        self._report.commands.update(Counter(str(command.state) for command in found))
        return found

    def _commands(self, name: str) -> Iterator[MovedCommand]:
        """Those that are done by the time of their answer, then the linked list, refused ones last."""
        waiting = list(self._linked(name))
        refused = {one for one in waiting if self._status(name, one) == "NotNow"}
        for uuid, state in sorted(
            self._done(name, set(waiting)), key=lambda one: self._answered(name, one[0])
        ):
            yield from self._command(name, uuid, state, self._answered(name, uuid))
        for uuid in waiting:
            if uuid not in refused:
                yield from self._command(name, uuid, CommandState.PENDING, None)
        for uuid in waiting:
            if uuid in refused:
                yield from self._command(name, uuid, CommandState.TRIED, self._answered(name, uuid))

    def _linked(self, name: str) -> Iterator[str]:
        seen: set[str] = set()
        uuid = self._files.text("queue", f"{name}.queuekey.queue.first")
        while uuid and uuid not in seen:
            seen.add(uuid)
            yield uuid
            uuid = self._files.text("queue", f"{name}.{uuid}.queueitem.next")
        if uuid:
            self._report.warnings.append(f"{name}: the queue leads back to {uuid}, and ends there")

    def _done(self, name: str, waiting: set[str]) -> Iterator[tuple[str, CommandState]]:
        suffix = ".queueitem.status"
        for key in self._files.keys("queue", f"{name}."):
            uuid = key.removesuffix(suffix)[len(name) + 1 :]
            state = _DONE.get(self._status(name, uuid)) if key.endswith(suffix) else None
            if state is not None and uuid not in waiting:
                yield uuid, state

    def _status(self, name: str, uuid: str) -> str:
        return self._files.text("queue", f"{name}.{uuid}.queueitem.status")

    def _answered(self, name: str, uuid: str) -> datetime:
        return self._files.written_at("queue", f"{name}.{uuid}.queueitem.status") or self._now

    def _command(
        self, name: str, uuid: str, state: CommandState, answered: datetime | None
    ) -> Iterator[MovedCommand]:
        about = self._report.bucket("queue")
        about.read += 1
        payload = self._files.get("queue", f"{uuid}.raw")
        if not payload:
            about.lose(f"{name} {uuid}", "has no payload")
            return
        about.imported += 1
        request_type = self._files.text("queue", f"{uuid}.req_type")
        created = self._files.written_at("queue", f"{uuid}.raw") or self._now
        entry = NewEntry(uuid, request_type, payload, "nanomdm")
        report = self._files.get("queue", f"{name}.{uuid}.queueitem.report") if state in FINAL_STATES else b""
        yield MovedCommand(entry, state, created, answered, report)
