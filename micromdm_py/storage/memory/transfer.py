"""The whole content in and out, in dicts."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.storage.memory.state import Channel, Part, Push, Queued
from micromdm_py.storage.records import PushCertificate
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


class TransferPart(Part):
    """Implements `storage.base.Transfer`."""

    def is_empty(self) -> bool:
        """See `storage.base.Transfer`."""
        with self._s.lock:
            return not (self._s.channels or self._s.issued or self._s.push_certificates or self._s.documents)

    def load(self, content: Iterable[Moved], *, at: datetime) -> None:
        """See `storage.base.Transfer`."""
        with self._s.lock:
            for one in content:
                self._load(one, at)

    def _load(self, one: Moved, at: datetime) -> None:
        if isinstance(one, MovedEnrollment):
            self._load_enrollment(one, at)
        elif isinstance(one, MovedAuthority):
            self._s.authority = one.certificate, one.key
            self._s.serial = one.next_serial - 1
        elif isinstance(one, MovedCertificate):
            fingerprint = hashlib.sha256(one.certificate).digest()
            self._s.issued[fingerprint] = one.serial, one.common_name, one.issued_at, one.certificate
        elif isinstance(one, MovedChallenge):
            self._s.challenges.add(one.challenge)
        elif isinstance(one, PushCertificate):
            self._s.push_certificates[one.topic] = one
            self._s.push_topic = one.topic
        else:
            self._s.documents[one.kind, one.name] = one.body

    def _load_enrollment(self, moved: MovedEnrollment, at: datetime) -> None:
        record, push = moved.record, moved.push
        channel = self._mention(record.enrollment_id, record.kind, record.device_id, at)
        channel.record = replace(record, target_id=channel.record.target_id)
        channel.fresh = record.listed and not record.enrolled
        for command in moved.commands:
            self._load_command(channel, command, at)
        if push:
            due_at = at if push.due else None
            channel.push = Push(push.token_hex, push.push_magic, push.topic, due_at)

    def _load_command(self, channel: Channel, moved: MovedCommand, at: datetime) -> None:
        self._s.sequence += 1
        command = Queued(
            self._s.sequence, moved.entry, moved.created_at, moved.received_at or at, moved.state
        )
        command.received_at, command.report = moved.received_at, moved.report or None
        command.done_at = None if moved.state in OPEN_STATES else at
        if moved.state is CommandState.TRIED:
            self._s.refusals += 1
            command.refusal = self._s.refusals
        channel.commands[command.sequence] = command

    def content(self) -> Iterator[Moved]:
        """See `storage.base.Transfer`."""
        with self._s.lock:
            for channel in self._s.channels.values():
                yield MovedEnrollment(channel.record, _push(channel.push), tuple(_moved(channel)))
            if self._s.authority:
                yield MovedAuthority(*self._s.authority, self._s.serial + 1)
            for serial, name, at, certificate in self._s.issued.values():
                yield MovedCertificate(certificate, serial, name, at)
            current = self._s.push_topic
            yield from sorted(self._s.push_certificates.values(), key=lambda one: one.topic == current)
            for (kind, name), body in self._s.documents.items():
                yield MovedDocument(kind, name, body)


def _push(push: Push | None) -> MovedPush | None:
    return MovedPush(push.token_hex, push.push_magic, push.topic, push.due_at is not None) if push else None


def _moved(channel: Channel) -> Iterator[MovedCommand]:
    done = [one for one in channel.commands.values() if one.state not in OPEN_STATES]
    for one in (*done, *channel.line):
        yield MovedCommand(one.entry, one.state, one.created_at, one.received_at, one.report or b"")
