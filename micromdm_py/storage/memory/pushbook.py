"""Push data, scheduled pushes and push certificates, in dicts."""

from dataclasses import replace
from datetime import datetime

from micromdm_py.errors import NotConfigured, NotFound
from micromdm_py.storage.memory.state import Channel, Part, Push
from micromdm_py.storage.records import DuePush, PushCertificate, PushOutcome, PushTarget
from micromdm_py.storage.timeline import PUSHED, push_entry

__all__ = ["PushPart", "schedule"]


def schedule(channel: Channel, at: datetime) -> bool:
    """Schedule a push unless one is due already or none can be made; whether this has scheduled one."""
    push = channel.push
    if push is None or push.dead_at is not None:
        return False
    if push.due_at is not None and push.due_at <= at:
        return False
    push.due_at = at
    return True


class PushPart(Part):
    """Implements `storage.base.PushBook`."""

    def _pushed(self, api_id: str) -> tuple[Channel, Push]:
        channel = self._resolve(api_id)[1]
        if channel is None or channel.push is None:
            raise NotFound(f"not found: push data for {api_id}")
        return channel, channel.push

    def push_target(self, api_id: str) -> PushTarget:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            channel, push = self._pushed(api_id)
            return push.target(channel.record.enrollment_id)

    def due_push(self, api_id: str) -> DuePush:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            channel, push = self._pushed(api_id)
            return DuePush(_silent_target(channel, push), self._s.sequence)

    def schedule_push(self, api_id: str, *, at: datetime) -> None:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            channel, _ = self._pushed(api_id)
            schedule(channel, at)

    def due_pushes(self, *, at: datetime, limit: int) -> tuple[list[DuePush], datetime | None]:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            planned = [
                (one.push.due_at, one, one.push)
                for one in self._s.channels.values()
                if one.push is not None and one.push.due_at is not None
            ]
            found: list[DuePush] = []
            for due_at, channel, push in sorted(planned, key=lambda plan: plan[0]):
                if due_at > at or len(found) >= limit:
                    return found, due_at
                if due_at == push.again_at and (_seen_since(channel, push) or not channel.open_commands):
                    push.due_at = None
                else:
                    found.append(DuePush(_silent_target(channel, push), self._s.sequence))
            return found, None

    def record_push(self, due: DuePush, outcome: PushOutcome) -> None:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            channel = self._s.channels.get(due.target.enrollment_id)
            push = channel.push if channel else None
            if channel is None or push is None:
                return
            same_token = push.token_hex == due.target.token_hex
            if outcome.dead and same_token:
                push.dead_at, push.dead_reason = outcome.at, outcome.reason
            push.last = PushOutcome(outcome.at, outcome.accepted, outcome.apns_id, outcome.reason)
            push.attempts = 0 if outcome.accepted else push.attempts + 1
            _mark_pushed(channel, due.sequence, outcome)
            if outcome.accepted:
                push.silent = due.target.silent + 1
                if due.target.silent and channel.line:
                    channel.line[0].note(PUSHED, outcome.at, outcome.apns_id)
            if push.dead_at is not None:
                push.due_at = None
            elif not same_token or any(sequence > due.sequence for sequence in channel.commands):
                push.due_at = outcome.at
            else:
                push.again_at = outcome.again_at if channel.open_commands else None
                push.due_at = outcome.retry_at or push.again_at

    def store_push_certificate(self, certificate: PushCertificate) -> None:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            self._s.push_certificates[certificate.topic] = certificate
            self._s.push_topic = certificate.topic

    def push_certificate(self, topic: str = "") -> PushCertificate:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            found = self._s.push_certificates.get(topic or self._s.push_topic)
            if found is None:
                raise NotConfigured("no push certificate is stored")
            return found

    def push_certificates(self) -> list[PushCertificate]:
        """See `storage.base.PushBook`."""
        with self._s.lock:
            return [one for _, one in sorted(self._s.push_certificates.items())]


def _seen_since(channel: Channel, push: Push) -> bool:
    """Whether the device was seen since the last push."""
    seen = channel.record.last_seen_at
    return push.last is None or (seen is not None and seen > push.last.at)


def _silent_target(channel: Channel, push: Push) -> PushTarget:
    """The push data for a push to be made now."""
    target = push.target(channel.record.enrollment_id)
    return replace(target, silent=0) if _seen_since(channel, push) else target


def _mark_pushed(channel: Channel, upto: int, outcome: PushOutcome) -> None:
    for command in channel.commands.values():
        entry = push_entry(command.entries, outcome)
        if command.sequence > upto or command.sent_at or entry is None:
            continue
        command.note(entry[0], outcome.at, entry[1])
        if outcome.accepted:
            command.sent_at = command.updated_at = outcome.at
