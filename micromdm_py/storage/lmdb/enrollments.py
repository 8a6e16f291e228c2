"""What is known of devices and user channels.

A device record is made by Authenticate only. The JSON row of an enrollment holds its id, its facts and its
tokens; the flags that every connect needs are in its contact row.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from micromdm_py.errors import NotFound
from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckIn,
    CheckOut,
    GetBootstrapToken,
    SetBootstrapToken,
    TokenUpdate,
)
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.lmdb.facts import SHORT_NAME, facts_of
from micromdm_py.storage.lmdb.outbox import append_event
from micromdm_py.storage.lmdb.pushbook import drop_push, push_topic, store_push_data
from micromdm_py.storage.lmdb.queue import QueuePart
from micromdm_py.storage.lmdb.tables import (
    BLOCKED,
    CHECKED_OUT,
    ENROLLED,
    KINDS,
    LISTED,
    NO_FINGERPRINT,
    Contact,
    Fields,
    int_field,
    maybe_ms,
    ms,
    u64,
    unu64,
)
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.records import DeviceFilter, EnrollmentRecord, Identity, NewEntry

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
        at_ms = ms(at)

        def operation(txn: Txn) -> bool:
            binding = self._check_binding(txn, message.enrollment, identity, authenticate=True)
            self._bind(txn, binding, identity, at_ms)
            number, contact = self._channel(txn, message.enrollment, at_ms)
            self._withdraw(txn, number, CommandState.PROTECTION_CANCELED, at_ms)
            contact.set(LISTED, True)
            contact.set(ENROLLED | CHECKED_OUT, False)
            self._touch(txn, number, contact, at_ms)
            fields = self._fields(txn, number)
            self._index_facts(txn, number, facts_of(fields), dict(message.facts))
            fields.update(udid=message.enrollment.udid, facts=dict(message.facts), auth_ms=at_ms, first=True)
            fields.pop("awaiting", None)
            self._put_fields(txn, number, fields)
            self._append(txn, message, event, at_ms)
            if binding.rebound:
                self._append(txn, message, rebound, at_ms)
            return binding.rebound

        return self._env.write(operation)

    def _append(self, txn: Txn, message: CheckIn, event: Event | None, at_ms: int) -> None:
        if event is not None:
            append_event(self._env, txn, message.enrollment.enrollment_id, event, at_ms)

    def _touch(self, txn: Txn, number: int, contact: Contact, at_ms: int) -> None:
        contact.seen_ms = at_ms
        self._put_contact(txn, number, contact)

    def _begin(
        self, txn: Txn, message: CheckIn, identity: Identity, at_ms: int, *, need_record: bool = False
    ) -> tuple[int, Contact]:
        """Check and bind the identity of a message and find its channel.

        Raises: IdentityMismatch; NotFound when a device record is needed and there is none. Nothing is
            written then.
        """
        binding = self._check_binding(txn, message.enrollment, identity)
        if need_record:
            known = self._number(txn, message.enrollment.device_id)
            if known is None or not self._contact(txn, known).has(LISTED):
                raise NotFound(f"not found: Device udid {message.enrollment.device_id}")
        self._bind(txn, binding, identity, at_ms)
        return self._channel(txn, message.enrollment, at_ms)

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
        at_ms, ref = ms(at), message.enrollment

        def operation(txn: Txn) -> bool:
            number, contact = self._begin(txn, message, identity, at_ms)
            fields = self._fields(txn, number)
            first = bool(fields.pop("first", False)) and contact.has(LISTED)
            fields.update(udid=ref.udid, token_ms=at_ms, awaiting=message.awaiting_configuration)
            if message.unlock_token is not None:
                fields["unlock"] = base64.b64encode(message.unlock_token).decode()
            if ref.kind.is_user_channel:
                known = str(fields.get("short") or "") or None
                self._index_fact(txn, number, SHORT_NAME, known, ref.user_short_name or None)
                fields.update(user_id=ref.user_id, short=ref.user_short_name, long=ref.user_long_name)
            elif contact.has(LISTED):
                contact.set(ENROLLED, True)
            contact.set(CHECKED_OUT, False)
            self._put_fields(txn, number, fields)
            self._touch(txn, number, contact, at_ms)
            data = (message.token.hex(), message.push_magic, message.topic)
            waiting = self._head(txn, number) is not None
            store_push_data(self._t, txn, number, data, at_ms, waiting=waiting)
            self._append(txn, message, event, at_ms)
            for entry in welcome if first else ():
                self._enqueue(txn, ref.enrollment_id, entry, at_ms, push=True, once=None)
            return first

        return self._env.write(operation)

    def check_out(self, message: CheckOut, identity: Identity, event: Event | None, *, at: datetime) -> None:
        """See `storage.base.Enrollments`."""
        at_ms = ms(at)

        def operation(txn: Txn) -> None:
            number, contact = self._begin(txn, message, identity, at_ms)
            contact.set(ENROLLED, False)
            contact.set(CHECKED_OUT, True)
            self._touch(txn, number, contact, at_ms)
            self._append(txn, message, event, at_ms)

        self._env.write(operation)

    def set_bootstrap_token(
        self, message: SetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bool:
        """See `storage.base.Enrollments`."""
        at_ms = ms(at)

        def operation(txn: Txn) -> bool:
            number, contact = self._begin(txn, message, identity, at_ms)
            device = self._number(txn, message.enrollment.device_id) or number
            known = self._contact(txn, device).has(LISTED)
            if known:
                fields = self._fields(txn, device)
                fields["bootstrap"] = base64.b64encode(message.bootstrap_token).decode()
                self._put_fields(txn, device, fields)
            self._touch(txn, number, contact, at_ms)
            self._append(txn, message, event, at_ms)
            return known

        return self._env.write(operation)

    def get_bootstrap_token(
        self, message: GetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bytes:
        """See `storage.base.Enrollments`."""
        at_ms = ms(at)

        def operation(txn: Txn) -> bytes:
            number, contact = self._begin(txn, message, identity, at_ms, need_record=True)
            self._touch(txn, number, contact, at_ms)
            self._append(txn, message, event, at_ms)
            device = self._number(txn, message.enrollment.device_id) or number
            return base64.b64decode(str(self._fields(txn, device).get("bootstrap", "")))

        return self._env.write(operation)

    # --- looking ---

    def _record(self, txn: Txn, number: int) -> EnrollmentRecord:
        fields, contact = self._fields(txn, number), self._contact(txn, number)
        return EnrollmentRecord(
            str(fields["id"]),
            f"{int_field(fields, 'at') // 1000:08x}{number:016x}",
            KINDS[contact.kind],
            str(fields["device"]),
            str(fields.get("udid", "")),
            str(fields.get("user_id", "")),
            str(fields.get("short", "")),
            str(fields.get("long", "")),
            facts_of(fields),
            contact.has(ENROLLED),
            contact.has(LISTED),
            contact.has(BLOCKED),
            bool(fields.get("awaiting", False)),
            str(fields.get("dep", "")),
            base64.b64decode(str(fields.get("unlock", ""))),
            base64.b64decode(str(fields.get("bootstrap", ""))),
            b"" if contact.fingerprint == NO_FINGERPRINT else contact.fingerprint,
            maybe_ms(contact.seen_ms),
            maybe_ms(int_field(fields, "auth_ms")),
            maybe_ms(int_field(fields, "token_ms")),
        )

    def enrollment(self, api_id: str) -> EnrollmentRecord:
        """See `storage.base.Enrollments`."""
        with self._env.read() as txn:
            return self._record(txn, self._known(txn, api_id)[1])

    def devices(self, wanted: DeviceFilter) -> list[EnrollmentRecord]:
        """See `storage.base.Enrollments`."""
        with self._env.read() as txn:
            if wanted.serials:
                numbers = {n for serial in wanted.serials for n in self._numbers(txn, self._t.serial, serial)}
                if wanted.udids:
                    numbers &= self._with_ids(txn, wanted.udids)
            elif wanted.udids:
                numbers = self._with_ids(txn, wanted.udids)
            else:
                return self._page(txn, wanted.offset, wanted.limit)
            listed = [self._record(txn, n) for n in numbers if self._contact(txn, n).has(LISTED)]
        listed.sort(key=lambda record: record.enrollment_id)
        end = None if wanted.limit is None else wanted.offset + wanted.limit
        return listed[wanted.offset : end]

    def _with_ids(self, txn: Txn, ids: Sequence[str]) -> set[int]:
        return {number for one in ids if (number := self._number(txn, one)) is not None}

    def _page(self, txn: Txn, offset: int, limit: int | None) -> list[EnrollmentRecord]:
        """One page of all device records; the id index is in the order of ids."""
        numbers = (unu64(value) for _, value in rows(txn, self._t.ids))
        listed = (number for number in numbers if self._contact(txn, number).has(LISTED))
        end = None if limit is None else offset + limit
        return [self._record(txn, number) for number in islice(listed, offset, end)]

    def enrolled_topics(self) -> dict[str, int]:
        """See `storage.base.Enrollments`."""
        found: dict[str, int] = {}
        with self._env.read() as txn:
            for _, value in rows(txn, self._t.ids):
                number = unu64(value)
                if self._contact(txn, number).has(ENROLLED):
                    topic = push_topic(self._t, txn, number)
                    found[topic] = found.get(topic, 0) + 1
        return found

    # --- what an administrator changes ---

    def block(self, api_id: str, *, at: datetime) -> None:
        """See `storage.base.Enrollments`."""

        def operation(txn: Txn) -> None:
            enrollment_id, number = self._resolve(txn, api_id)
            if number is None:
                number = self._mention(txn, enrollment_id, 0, enrollment_id, ms(at))
            contact = self._contact(txn, number)
            contact.set(BLOCKED, True)
            self._put_contact(txn, number, contact)

        self._env.write(operation)

    def unblock(self, api_id: str) -> None:
        """See `storage.base.Enrollments`."""

        def operation(txn: Txn) -> None:
            _, number = self._resolve(txn, api_id)
            contact = self._contact(txn, number) if number is not None else None
            if number is None or contact is None or not contact.has(BLOCKED):
                raise NotFound(f"delete device with udid {api_id}: not found: Device udid {api_id}")
            contact.set(BLOCKED, False)
            self._put_contact(txn, number, contact)

        self._env.write(operation)

    def remove_devices(self, ids: Sequence[str], *, purge: bool, at: datetime) -> None:
        """See `storage.base.Enrollments`."""

        def operation(txn: Txn) -> None:
            numbers: dict[int, None] = {}
            for one in ids:
                found = self._devices_named(txn, one)
                if not found:
                    raise NotFound(f"not found: Device key {one}")
                numbers.update(dict.fromkeys(found))
            for number in numbers:
                self._remove(txn, number, purge, ms(at))

        self._env.write(operation)

    def _devices_named(self, txn: Txn, name: str) -> list[int]:
        """Listed devices with this id or serial number."""
        number = self._number(txn, name)
        numbers = [number] if number is not None else []
        numbers += self._numbers(txn, self._t.serial, name)
        return [n for n in numbers if self._contact(txn, n).has(LISTED)]

    def _remove(self, txn: Txn, number: int, purge: bool, at_ms: int) -> None:
        fields, contact = self._fields(txn, number), self._contact(txn, number)
        self._index_facts(txn, number, facts_of(fields), {})
        self._forget_answers(txn, number)
        kept: Fields = {"id": fields["id"], "device": fields["device"], "at": fields["at"]}
        self._put_fields(txn, number, kept)
        contact.set(LISTED | ENROLLED, False)
        if purge:
            self._withdraw(txn, number, CommandState.PROTECTION_CANCELED, at_ms)
            drop_push(self._t, txn, number)
            txn.delete(contact.fingerprint + u64(number), db=self._t.fingerprint)
            contact = Contact(seen_ms=contact.seen_ms)
        self._put_contact(txn, number, contact)
