"""What all parts of the LMDB store share: ids and their numbers, contact rows, bindings."""

import json
from dataclasses import dataclass, field
from datetime import datetime

from micromdm_py.errors import Conflict, IdentityMismatch, MalformedField, NotFound
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID, EnrollmentKind, EnrollmentRef
from micromdm_py.protocol.ids import MAX_ID_BYTES, check_present
from micromdm_py.storage.lmdb.environment import Environment
from micromdm_py.storage.lmdb.seen import SeenTimes
from micromdm_py.storage.lmdb.tables import (
    BLOCKED,
    CHECKED_OUT,
    CONTACT,
    KINDS,
    NO_FINGERPRINT,
    QUEUE,
    Contact,
    Fields,
    id_key,
    ms,
    text_key,
    u64,
    unu64,
)
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.records import Identity

__all__ = ["Binding", "Part"]


@dataclass(slots=True)
class Binding:
    """The result of checking every id that a message names.

    Attributes:
        rows: what has to be written so that the identity may act: (id, index into `KINDS`, number or None,
            contact).
        known: number and contact of every id; None for an id that was never mentioned.
        rebound: whether one of the rows takes an id away from another certificate.
    """

    rows: list[tuple[str, int, int | None, Contact]] = field(default_factory=list)
    known: dict[str, tuple[int | None, Contact]] = field(default_factory=dict)
    rebound: bool = False


class Part:
    """Base class of the store's parts."""

    def __init__(self, env: Environment, seen: SeenTimes) -> None:
        """Work on an open environment."""
        self._env = env
        self._t = env.tables
        self._seen = seen

    # --- ids ---

    def _number(self, txn: Txn, enrollment_id: str) -> int | None:
        """Number of an enrollment id, None when it was never mentioned."""
        if not enrollment_id:
            return None
        found = txn.get(id_key(enrollment_id), db=self._t.ids)
        return unu64(found) if found else None

    def _contact(self, txn: Txn, number: int) -> Contact:
        row = txn.get(u64(number) + CONTACT, db=self._t.own)
        return Contact.decode(row) if row else Contact()

    def _find_contact(self, txn: Txn, enrollment_id: str) -> tuple[int | None, Contact]:
        number = self._number(txn, enrollment_id)
        return number, self._contact(txn, number) if number is not None else Contact()

    def _put_contact(self, txn: Txn, number: int, contact: Contact) -> None:
        txn.put(u64(number) + CONTACT, contact.encode(), db=self._t.own)

    def _mention(self, txn: Txn, enrollment_id: str, kind: int, device_id: str, at_ms: int) -> int:
        """Give a new id its number and its first rows; returns the number."""
        number = self._env.next_number(txn, b"enrollment")
        txn.put(id_key(enrollment_id), u64(number), db=self._t.ids)
        self._put_contact(txn, number, Contact(kind=kind))
        self._put_fields(txn, number, {"id": enrollment_id, "device": device_id, "at": at_ms})
        return number

    def _fields(self, txn: Txn, number: int) -> Fields:
        """What the `enrollment` table has of an enrollment, {} when it was never mentioned."""
        row = txn.get(u64(number), db=self._t.enrollment)
        found: Fields = json.loads(row) if row else {}
        return found

    def _put_fields(self, txn: Txn, number: int, fields: Fields) -> None:
        txn.put(u64(number), json.dumps(fields, separators=(",", ":")).encode(), db=self._t.enrollment)

    def _resolve(self, txn: Txn, api_id: str) -> tuple[str, int | None]:
        """The enrollment id that an API id means, and its number (None for an unknown id).

        An id that no device has used counts as an enrollment id only as long as it has commands or a block.
        Otherwise the user channel with this UserID is meant.
        """
        number = self._number(txn, check_present("udid", api_id))
        if number is not None and self._is_in_use(txn, number):
            return api_id, number
        if api_id == SHARED_IPAD_USER_ID:
            raise MalformedField("udid", "every Shared iPad has this UserID; say UDID:UserShortName")
        found = [self._fields(txn, n) for n in self._numbers(txn, self._t.user, api_id)]
        if len(found) > 1:
            names = ", ".join(sorted(str(fields["id"]) for fields in found))
            raise Conflict(f"user {api_id} has several channels: {names}")
        if found:
            enrollment_id = str(found[0]["id"])
            return enrollment_id, self._number(txn, enrollment_id)
        if len(api_id.encode("utf-8", "surrogatepass")) > 2 * MAX_ID_BYTES + 1:
            raise MalformedField("udid", "is too long")
        return api_id, number

    def _is_in_use(self, txn: Txn, number: int) -> bool:
        contact = self._contact(txn, number)
        return bool(contact.kind) or contact.has(BLOCKED) or self._head(txn, number) is not None

    def _addressed(self, txn: Txn, api_id: str) -> tuple[str, int | None]:
        """As `_resolve`, for a command.

        Raises: Conflict for the UserID of a channel if commands were queued under that UserID before the
            channel was known: it is not clear whom a further one is for.
        """
        enrollment_id, number = self._resolve(txn, api_id)
        if number is not None and enrollment_id == api_id and not self._contact(txn, number).kind:
            users = [str(self._fields(txn, n)["id"]) for n in self._numbers(txn, self._t.user, api_id)]
            if users:
                names = ", ".join(sorted(users))
                raise Conflict(f"{api_id} has never enrolled, but is also the user of {names}")
        return enrollment_id, number

    def _known(self, txn: Txn, api_id: str) -> tuple[str, int]:
        """As `_resolve`, for an id that has to exist. Raises: NotFound, Conflict."""
        enrollment_id, number = self._resolve(txn, api_id)
        if number is None:
            raise NotFound(f"not found: enrollment {api_id}")
        return enrollment_id, number

    def _numbers(self, txn: Txn, table: object, text: str) -> list[int]:
        """Enrollment numbers that an index has for a text."""
        return self._numbers_at(txn, table, id_key(text) + b"\0")

    def _numbers_at(self, txn: Txn, table: object, prefix: bytes) -> list[int]:
        """Enrollment numbers of the index keys that are a prefix and a number."""
        return [unu64(key[-8:]) for key, _ in rows(txn, table, prefix) if len(key) == len(prefix) + 8]

    def _head(self, txn: Txn, number: int, letter: bytes = b"") -> tuple[bytes, int, int] | None:
        """First open command of a queue, or of one letter: (letter, order, sequence); see `lmdb.queue`."""
        prefix = u64(number) + QUEUE + letter
        cursor = txn.cursor(self._t.own)
        if cursor.set_range(prefix) and (key := cursor.key()).startswith(prefix):
            return key[9:10], unu64(key[10:]), unu64(cursor.value())
        return None

    # --- binding ---

    def _check_binding(
        self, txn: Txn, ref: EnrollmentRef, identity: Identity, *, authenticate: bool = False
    ) -> Binding:
        """Check that a certificate may act for every id that a message names; writes nothing.

        Raises: IdentityMismatch.
        """
        binding = Binding()
        for name, kind in ref.bound_ids:
            code = KINDS.index(kind)
            number, contact = binding.known[name] = self._find_contact(txn, name)
            bound = contact.fingerprint
            if bound == identity.fingerprint:
                if contact.kind:
                    continue
            elif contact.kind and contact.kind != code:
                raise IdentityMismatch(f"{name} is known as another kind of enrollment")
            elif bound != NO_FINGERPRINT:
                if not authenticate:
                    if identity.rule.warn_only:
                        continue
                    raise IdentityMismatch(f"{name} is bound to another certificate")
                if not identity.rule.allow_rebind and not contact.has(CHECKED_OUT):
                    raise IdentityMismatch(
                        f"{name} is bound to another certificate and may not be bound again"
                    )
                binding.rebound = True
            if identity.rule.exclusive and self._bound_elsewhere(txn, identity.fingerprint, ref):
                raise IdentityMismatch(f"the certificate of {name} is bound to another enrollment")
            binding.rows.append((name, code, number, contact))
        return binding

    def _bound_elsewhere(self, txn: Txn, fingerprint: bytes, ref: EnrollmentRef) -> bool:
        own = {self._number(txn, name) for name, _ in ref.bound_ids}
        cursor = txn.cursor(self._t.fingerprint)
        more = cursor.set_range(fingerprint)
        while more and (key := cursor.key()).startswith(fingerprint):
            if unu64(key[32:]) not in own:
                return True
            more = cursor.next()
        return False

    def _bind(self, txn: Txn, binding: Binding, identity: Identity, at_ms: int) -> None:
        """Write the rows that `_check_binding` found to be needed."""
        for name, code, known, contact in binding.rows:
            number = known if known is not None else self._mention(txn, name, code, name, at_ms)
            if contact.fingerprint != NO_FINGERPRINT:
                txn.delete(contact.fingerprint + u64(number), db=self._t.fingerprint)
            contact.fingerprint, contact.kind = identity.fingerprint, code
            if contact.fingerprint:
                txn.put(contact.fingerprint + u64(number), b"", db=self._t.fingerprint)
            self._put_contact(txn, number, contact)

    def _channel(self, txn: Txn, ref: EnrollmentRef, at_ms: int) -> tuple[int, Contact]:
        """Number and contact of the channel that a message speaks for, which is made if it is new."""
        code = KINDS.index(ref.kind)
        number = self._number(txn, ref.enrollment_id)
        if number is None:
            number = self._adopt(txn, ref)
        if number is None:
            number = self._mention(txn, ref.enrollment_id, 0, ref.device_id, at_ms)
        contact = self._contact(txn, number)
        if ref.kind.is_user_channel and contact.kind != code:
            contact.kind = code
            fields = self._fields(txn, number)
            fields.update(device=ref.device_id, user_id=ref.user_id)
            self._put_fields(txn, number, fields)
            if ref.kind is not EnrollmentKind.SHARED_IPAD:
                txn.put(text_key(ref.user_id, number), b"", db=self._t.user)
            self._put_contact(txn, number, contact)
        return number, contact

    def _adopt(self, txn: Txn, ref: EnrollmentRef) -> int | None:
        """Give a user channel that was moved here without its device its id from now on; its number."""
        number = self._number(txn, ref.user_id) if ref.kind is EnrollmentKind.USER else None
        if number is None or (fields := self._fields(txn, number)).get("user_id") != ref.user_id:
            return None
        txn.delete(id_key(ref.user_id), db=self._t.ids)
        txn.put(id_key(ref.enrollment_id), u64(number), db=self._t.ids)
        self._put_fields(txn, number, {**fields, "id": ref.enrollment_id})
        return number

    def check_binding(self, ref: EnrollmentRef, identity: Identity, *, at: datetime) -> None:
        """See `storage.base.Enrollments`."""
        with self._env.read() as txn:
            new = bool(self._check_binding(txn, ref, identity).rows)
        if new:
            self._env.write(
                lambda txn: self._bind(txn, self._check_binding(txn, ref, identity), identity, ms(at))
            )
