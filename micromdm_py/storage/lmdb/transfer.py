"""The whole content in and out, with rows as the other parts write them."""

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.storage.lmdb.commands import Command
from micromdm_py.storage.lmdb.depot import DepotPart, identity_row
from micromdm_py.storage.lmdb.enrollments import EnrollmentPart
from micromdm_py.storage.lmdb.facts import facts_of
from micromdm_py.storage.lmdb.pushbook import PushPart, push_data, store_push_data
from micromdm_py.storage.lmdb.shelf import ShelfPart
from micromdm_py.storage.lmdb.tables import (
    BLOCKED,
    COMMAND,
    ENROLLED,
    KINDS,
    LISTED,
    NO_FINGERPRINT,
    Contact,
    Fields,
    from_ms,
    maybe_ms,
    ms,
    pair,
    text_key,
    u64,
    unu64,
)
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.records import EnrollmentRecord, NewEntry, PushCertificate
from micromdm_py.storage.transfer import (
    Moved,
    MovedAuthority,
    MovedCertificate,
    MovedChallenge,
    MovedCommand,
    MovedDocument,
    MovedEnrollment,
    MovedPush,
)

__all__ = ["TransferPart"]

BATCH_BYTES = 4 << 20
"""About how much is written in one commit: enough to make commits rare, little enough for memory."""
BATCH_ROWS = 2000
_CONTENT = ("ids", "payload", "identity", "push_certificate", "shelf")


class TransferPart(EnrollmentPart, PushPart, DepotPart, ShelfPart):
    """Implements `storage.base.Transfer`."""

    def is_empty(self) -> bool:
        """See `storage.base.Transfer`."""
        with self._env.read() as txn:
            return not any(txn.stat(getattr(self._t, name))["entries"] for name in _CONTENT)

    # --- in ---

    def load(self, content: Iterable[Moved], *, at: datetime) -> None:
        """See `storage.base.Transfer`."""
        for batch in _batches(content):
            self._env.write(lambda txn, batch=batch: self._load_all(txn, batch, ms(at)))  # type: ignore[misc]

    def _load_all(self, txn: Txn, batch: list[Moved], at_ms: int) -> None:
        for one in batch:
            if isinstance(one, MovedEnrollment):
                self._load_enrollment(txn, one, at_ms)
            elif isinstance(one, MovedAuthority):
                self._keep_authority(txn, one.certificate, one.key, one.next_serial)
            elif isinstance(one, MovedCertificate):
                row = identity_row(one.certificate, one.serial, one.common_name, ms(one.issued_at))
                txn.put(*row, db=self._t.identity)
            elif isinstance(one, MovedChallenge):
                self._keep_challenge(txn, one.challenge, at_ms)
            elif isinstance(one, PushCertificate):
                self._keep_push_certificate(txn, one)
            else:
                self._put_document(txn, one.kind, one.name, one.body)

    def _load_enrollment(self, txn: Txn, moved: MovedEnrollment, at_ms: int) -> None:
        record = moved.record
        number = self._mention(txn, record.enrollment_id, KINDS.index(record.kind), record.device_id, at_ms)
        contact = Contact(
            kind=KINDS.index(record.kind),
            fingerprint=record.fingerprint or NO_FINGERPRINT,
            seen_ms=ms(record.last_seen_at) if record.last_seen_at else 0,
        )
        for flag, on in ((LISTED, record.listed), (ENROLLED, record.enrolled), (BLOCKED, record.blocked)):
            contact.set(flag, on)
        self._put_contact(txn, number, contact)
        fields = self._fields(txn, number)
        self._index_facts(txn, number, facts_of(fields), dict(record.facts) if record.listed else {})
        self._put_fields(txn, number, {**fields, **_fields(record)})
        if record.kind in (EnrollmentKind.USER, EnrollmentKind.USER_ENROLLMENT_USER):
            txn.put(text_key(record.user_id, number), b"", db=self._t.user)
        if record.fingerprint:
            txn.put(record.fingerprint + u64(number), b"", db=self._t.fingerprint)
        done = 0
        for command in moved.commands:
            sequence = self._load_command(txn, number, command, at_ms)
            done = done if command.state in OPEN_STATES else sequence
        if moved.push:
            data = (moved.push.token_hex, moved.push.push_magic, moved.push.topic)
            store_push_data(self._t, txn, number, data, at_ms, waiting=moved.push.due, sent=done)

    def _load_command(self, txn: Txn, number: int, moved: MovedCommand, at_ms: int) -> int:
        entry, state = moved.entry, moved.state
        received_ms = ms(moved.received_at) if moved.received_at else 0
        command = Command.new(entry, ms(moved.created_at))
        command.state, command.received_ms = state, received_ms
        command.updated_ms, command.has_report = received_ms or at_ms, int(bool(moved.report))
        sequence = self._env.next_number(txn, b"sequence")
        txn.put(u64(sequence), entry.payload, append=True, db=self._t.payload)
        if moved.report:
            txn.put(u64(sequence), moved.report, db=self._t.report)
        self._commands.put(txn, number, sequence, command)
        if state in OPEN_STATES:
            refused = state is CommandState.TRIED
            order = self._env.next_number(txn, b"sequence") if refused else sequence
            self._place(txn, number, sequence, command, order)
            if command.expires_ms:
                txn.put(pair(command.expires_ms, sequence), u64(number), db=self._t.expiry)
        else:
            self._commands.index(txn, number, sequence, command, 0)
            txn.put(pair(at_ms, sequence), u64(number), db=self._t.done)
        return sequence

    # --- out ---

    def content(self) -> Iterator[Moved]:
        """See `storage.base.Transfer`."""
        with self._env.read() as txn:
            yield from self._enrollments(txn)
            row = txn.get(b"authority", db=self._t.meta)
            if row is not None:
                certificate, key = map(base64.b64decode, json.loads(row))
                yield MovedAuthority(certificate, key, self._env.number(txn, b"serial") + 1)
            for _, value in rows(txn, self._t.identity):
                serial, name, at_ms, der = json.loads(value)
                yield MovedCertificate(base64.b64decode(der), serial, name, from_ms(at_ms))
            current = txn.get(b"push_topic", db=self._t.meta)
            topics = [key for key, _ in rows(txn, self._t.push_certificate)]
            for topic in sorted(topics, key=lambda topic: topic == current):  # the one loaded last counts
                yield self._push_certificate(txn, topic)
            for key, value in rows(txn, self._t.shelf):
                kind, _, name = key.decode().partition("\0")
                yield MovedDocument(kind, name, value)

    def _enrollments(self, txn: Txn) -> Iterator[MovedEnrollment]:
        for _, value in rows(txn, self._t.ids):
            number = unu64(value)
            data, due = push_data(self._t, txn, number)
            push = MovedPush(*data, due) if data else None
            yield MovedEnrollment(self._record(txn, number), push, tuple(self._moved(txn, number)))

    def _moved(self, txn: Txn, number: int) -> Iterator[MovedCommand]:
        """First the commands that are done, as they were queued; then the open ones, as they are offered."""
        prefix = u64(number) + COMMAND
        found = {unu64(key[9:]): Command.decode(value) for key, value in rows(txn, self._t.own, prefix)}
        done = [sequence for sequence, command in found.items() if command.state not in OPEN_STATES]
        for sequence in (*done, *(sequence for sequence, _ in self._open(txn, number))):
            command = found[sequence]
            payload = txn.get(u64(sequence), db=self._t.payload) or b""
            entry = NewEntry(
                command.uuid,
                command.request_type,
                payload,
                command.origin,
                command.group,
                expires_at=maybe_ms(command.expires_ms),
                info=command.info,
            )
            report = txn.get(u64(sequence), db=self._t.report) or b"" if command.has_report else b""
            created, received = from_ms(command.created_ms), maybe_ms(command.received_ms)
            yield MovedCommand(entry, command.state, created, received, report)


def _batches(content: Iterable[Moved]) -> Iterator[list[Moved]]:
    batch: list[Moved] = []
    rows = size = 0
    for one in content:
        batch.append(one)
        commands = one.commands if isinstance(one, MovedEnrollment) else ()
        rows += 1 + len(commands)
        size += sum(len(command.entry.payload) for command in commands)
        size += len(one.body) if isinstance(one, MovedDocument) else 0
        if rows >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, rows, size = [], 0, 0
    if batch:
        yield batch


def _fields(record: EnrollmentRecord) -> Fields:
    """The fields of an enrollment as the other parts keep them; what is empty is left out."""
    fields: Fields = {
        "udid": record.udid,
        "user_id": record.user_id,
        "short": record.user_short_name,
        "long": record.user_long_name,
        "facts": dict(record.facts),
        "awaiting": record.awaiting_configuration,
        "dep": record.dep_profile_status,
        "unlock": base64.b64encode(record.unlock_token).decode(),
        "bootstrap": base64.b64encode(record.bootstrap_token).decode(),
        "auth_ms": ms(record.authenticated_at) if record.authenticated_at else 0,
        "token_ms": ms(record.token_update_at) if record.token_update_at else 0,
        "first": record.listed and not record.enrolled,
    }
    return {name: value for name, value in fields.items() if value}
