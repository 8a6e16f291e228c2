"""What is known of devices and user channels, in dicts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from micromdm_py.errors import MalformedField, NotFound
from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckIn,
    CheckOut,
    GetBootstrapToken,
    SetBootstrapToken,
    TokenUpdate,
)
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.memory.queue import QueuePart
from micromdm_py.storage.memory.state import Channel, Push
from micromdm_py.storage.records import (
    SEARCHED,
    Answer,
    DeviceFilter,
    DevicePage,
    DeviceSearch,
    EnrollmentRecord,
    Fleet,
    Identity,
    NewEntry,
    folded,
)

__all__ = ["EnrollmentPart"]


class EnrollmentPart(QueuePart):
    """Implements `storage.base.Enrollments`."""

    # --- check-in ---

    def authenticate(
        self,
        message: Authenticate,
        identity: Identity,
        event: Event | None,
        rebound: Event | None,
        *,
        at: datetime,
    ) -> bool:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            binding = self._check_binding(message.enrollment, identity, authenticate=True)
            channel = self._channel(message.enrollment, identity, binding, at)
            channel.withdraw(CommandState.PROTECTION_CANCELED, at)
            channel.checked_out, channel.fresh = False, True
            channel.record = replace(
                channel.record,
                udid=message.enrollment.udid,
                facts=dict(message.facts),
                listed=True,
                enrolled=False,
                awaiting_configuration=False,
                authenticated_at=at,
            )
            self._append(channel.record.enrollment_id, event, at)
            if binding.rebound:
                self._append(channel.record.enrollment_id, rebound, at)
            return binding.rebound

    def _begin(self, message: CheckIn, identity: Identity, event: Event | None, at: datetime) -> Channel:
        """How every message but Authenticate begins: check and bind, find the channel, store the event.

        Raises: IdentityMismatch; then nothing has changed.
        """
        binding = self._check_binding(message.enrollment, identity)
        channel = self._channel(message.enrollment, identity, binding, at)
        self._append(channel.record.enrollment_id, event, at)
        return channel

    def token_update(
        self,
        message: TokenUpdate,
        identity: Identity,
        event: Event | None,
        *,
        at: datetime,
        welcome: Sequence[NewEntry] = (),
    ) -> bool:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            channel, ref = self._begin(message, identity, event, at), message.enrollment
            record = replace(
                channel.record,
                udid=ref.udid,
                awaiting_configuration=message.awaiting_configuration,
                token_update_at=at,
                enrolled=channel.record.listed and not ref.kind.is_user_channel,
            )
            if message.unlock_token is not None:
                record = replace(record, unlock_token=message.unlock_token)
            if ref.kind.is_user_channel:
                record = replace(
                    record, user_short_name=ref.user_short_name, user_long_name=ref.user_long_name
                )
            first, channel.fresh = channel.fresh and record.listed, False
            channel.checked_out = False
            channel.record = record
            channel.push = (channel.push or Push("", "", "")).renewed(message)
            if channel.open_commands:
                channel.push.due_at = at
            for entry in welcome if first else ():
                self.enqueue(ref.enrollment_id, entry, at=at)
            return first

    def check_out(self, message: CheckOut, identity: Identity, event: Event | None, *, at: datetime) -> None:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            channel = self._begin(message, identity, event, at)
            channel.checked_out = True
            channel.record = replace(channel.record, enrolled=False)

    def set_bootstrap_token(
        self, message: SetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bool:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            self._begin(message, identity, event, at)
            device = self._device(message.enrollment)
            if device is None:
                return False
            device.record = replace(device.record, bootstrap_token=message.bootstrap_token)
            return True

    def get_bootstrap_token(
        self, message: GetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bytes:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            self._check_binding(message.enrollment, identity)
            device = self._device(message.enrollment)
            if device is None:
                raise NotFound(f"not found: Device udid {message.enrollment.device_id}")
            self._begin(message, identity, event, at)
            return device.record.bootstrap_token

    def _device(self, ref: EnrollmentRef) -> Channel | None:
        """The device of a message, None without a device record."""
        device = self._s.channels.get(ref.device_id)
        return device if device and device.record.listed else None

    def check_binding(self, ref: EnrollmentRef, identity: Identity, *, at: datetime) -> None:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            for name, kind in self._check_binding(ref, identity).ids:
                bound = self._mention(name, kind, name, at)
                bound.record = replace(bound.record, kind=kind, fingerprint=identity.fingerprint)

    # --- looking ---

    def enrollment(self, api_id: str) -> EnrollmentRecord:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            return self._known(api_id).record

    def devices(self, wanted: DeviceFilter) -> list[EnrollmentRecord]:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            records = [one.record for _, one in sorted(self._s.channels.items()) if one.record.listed]
        if wanted.serials:
            records = [one for one in records if one.serial_number and one.serial_number in wanted.serials]
        if wanted.udids:
            records = [one for one in records if one.enrollment_id in wanted.udids]
        end = None if wanted.limit is None else wanted.offset + wanted.limit
        return records[wanted.offset : end]

    def search_devices(self, search: DeviceSearch) -> DevicePage:
        """See `storage.base.Enrollments`."""
        name = next((name for name in SEARCHED if name in search.starts), None)
        try:
            begin = int(search.cursor or "0")
        except ValueError:
            raise MalformedField("cursor", "must be the `next` of an earlier page") from None
        with self._s.lock:
            found = [one.record for one in self._s.channels.values() if search.fits(one.record)]
        if name is not None:
            found.sort(key=lambda record: folded(record.facts.get(name, "")).encode("utf-8", "replace"))
        page = found[begin : begin + search.limit]
        end = begin + len(page)
        return DevicePage(page, str(end) if end < len(found) else "")

    def fleet(self, *, since: datetime) -> Fleet:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            listed = [one for one in self._s.channels.values() if one.record.listed]
        seen = [one.record.last_seen_at for one in listed]
        return Fleet(
            len(listed),
            sum(one.record.enrolled for one in listed),
            sum(one.record.blocked for one in listed),
            sum(at is not None and at >= since for at in seen),
            sum(bool(one.open_commands) for one in listed),
            sum(one.push is not None and one.push.dead_at is not None for one in listed),
        )

    def answers(self, api_id: str) -> list[Answer]:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            return [answer for _, answer in sorted(self._known(api_id).answers.items())]

    def enrolled_topics(self) -> dict[str, int]:
        """See `storage.base.Enrollments`."""
        found: dict[str, int] = {}
        with self._s.lock:
            for channel in self._s.channels.values():
                if channel.record.enrolled:
                    topic = channel.push.topic if channel.push else ""
                    found[topic] = found.get(topic, 0) + 1
        return found

    # --- what an administrator changes ---

    def block(self, api_id: str, *, at: datetime) -> None:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            enrollment_id, _ = self._resolve(api_id)
            channel = self._mention(enrollment_id, None, enrollment_id, at)
            channel.record = replace(channel.record, blocked=True)

    def unblock(self, api_id: str) -> None:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            _, channel = self._resolve(api_id)
            if channel is None or not channel.record.blocked:
                raise NotFound(f"delete device with udid {api_id}: not found: Device udid {api_id}")
            channel.record = replace(channel.record, blocked=False)

    def remove_devices(self, ids: Sequence[str], *, purge: bool, at: datetime) -> None:
        """See `storage.base.Enrollments`."""
        with self._s.lock:
            named: dict[str, Channel] = {}
            for one in ids:
                found = {
                    name: channel
                    for name, channel in self._s.channels.items()
                    if channel.record.listed and one and one in (name, channel.record.serial_number)
                }
                if not found:
                    raise NotFound(f"not found: Device key {one}")
                named |= found
            for channel in named.values():
                _remove(channel, purge, at)


def _remove(channel: Channel, purge: bool, at: datetime) -> None:
    """Delete the device record; what is kept is the id, its binding, its block and when it was seen."""
    old = channel.record
    channel.fresh = False
    channel.answers.clear()
    channel.record = EnrollmentRecord(
        old.enrollment_id,
        old.target_id,
        old.kind,
        old.device_id,
        blocked=old.blocked,
        fingerprint=old.fingerprint,
        last_seen_at=old.last_seen_at,
    )
    if purge:
        channel.withdraw(CommandState.PROTECTION_CANCELED, at)
        channel.push, channel.checked_out = None, False
        channel.record = replace(channel.record, kind=None, fingerprint=b"", blocked=False)
