"""The layout of the store: every table, its keys and values, and their encoding.

``n`` is an enrollment number (u64, given at first mention of an id, so that keys stay short whatever the
id), ``seq`` a sequence number (u64, global, growing), ``ms`` a time in milliseconds since 1970 (u64).
Integers are big-endian, so that the order of keys is the order of values.

What belongs to one enrollment and changes with every report is in one table, `own`, under neighbouring keys:
a commit then writes one leaf for it, where a table for each kind would write four.

================  =============================  =========================================  ==================
table             key                            value                                      written
================  =============================  =========================================  ==================
meta              name                           schema version, counters, organization     every enqueue
ids               id, or 0xff + its SHA-256      n                                          first mention
enrollment        n                              JSON: id, facts, tokens, state             check-in
serial, user      text, 0, n                     (empty)                                    check-in
fact              name of a fact, 0, value, 0, n (empty)                                    check-in, answer
answer            n, request type                ms, the report                             some answers
fingerprint       certificate SHA-256, n         (empty)                                    bind
own               n, "a"                         flags, kind, certificate, seen, idle mark  each report, block
own               n, "c", seq                    JSON: the record of a command              each state change
own               n, "q", state letter, order    seq; open commands only                    each state change
own               n, "u", group, uuid hash, seq  state letter and order                     each state change
payload, report   seq                            property list as received                  enqueue / answer
expiry            ms, seq                        n; open commands that expire               enqueue, end
done              ms of the end, seq             n                                          end
push              n                              due ms, JSON: token, magic, topic, last    token update, push
push_due          ms, n                          (empty)                                    schedule, push
push_certificate  topic                          JSON                                       upload
event             seq                            enrollment id, topic, time, JSON           connect, check-in
receiver          name                           JSON: cursor, counts, last results         delivery
held, dead        hash of receiver, seq          JSON header and the event                  refusal
identity          certificate SHA-256            serial, name, DER                          issue
challenge         SHA-256                        ms                                         challenge, use
undecodable       certificate SHA-256            hash of such a body, count; up to 8 times  bad report
quarantine        ms, hash, certificate SHA-256  the body                                   third bad report
once, once_age    digest / ms, digest            ms, answer / (empty)                       idempotent enqueue
shelf             kind, 0, name                  a document, as its service wrote it        administrators
audit             seq of its own                 ms, JSON: the fields of an entry           administrators
================  =============================  =========================================  ==================
"""

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime

from micromdm_py.protocol.enrollment import EnrollmentKind

__all__ = [
    "COMMAND",
    "CONTACT",
    "KINDS",
    "NO_FINGERPRINT",
    "QUEUE",
    "TABLES",
    "UUID",
    "Contact",
    "Fields",
    "command_key",
    "from_ms",
    "id_key",
    "int_field",
    "maybe_ms",
    "ms",
    "pair",
    "text_key",
    "u64",
    "unpair",
    "unu64",
]

TABLES = (
    "meta",
    "ids",
    "enrollment",
    "serial",
    "user",
    "fingerprint",
    "own",
    "payload",
    "report",
    "push",
    "push_due",
    "push_certificate",
    "event",
    "receiver",
    "held",
    "dead",
    "identity",
    "challenge",
    "undecodable",
    "quarantine",
    "once",
    "once_age",
    "shelf",
    "audit",
    "fact",
    "answer",
    "expiry",
    "done",
)

CONTACT, COMMAND, QUEUE, UUID = b"a", b"c", b"q", b"u"
"""Kinds of rows in `own`."""

_U64 = struct.Struct(">Q")
_PAIR = struct.Struct(">QQ")
_COMMAND = struct.Struct(">QcQ")
_CONTACT = struct.Struct(">BB32sQQ")

NO_FINGERPRINT = bytes(32)
KINDS: tuple[EnrollmentKind | None, ...] = (None, *EnrollmentKind)
"""Kinds by their number in a contact row; 0 is an id that nobody has used yet."""

LISTED, ENROLLED, BLOCKED, CHECKED_OUT = 1, 2, 4, 8
"""Flags of a contact row."""

Fields = dict[str, object]
"""A JSON object that is kept in a row."""


def u64(value: int) -> bytes:
    """Eight bytes, big-endian."""
    return _U64.pack(value)


def unu64(data: bytes) -> int:
    """The number in the first eight bytes."""
    return int.from_bytes(data[:8], "big")


def pair(first: int, second: int) -> bytes:
    """Two numbers as sixteen bytes that sort like the pair."""
    return _PAIR.pack(first, second)


def command_key(number: int, sequence: int) -> bytes:
    """Key of a command record."""
    return _COMMAND.pack(number, COMMAND, sequence)


def unpair(data: bytes) -> tuple[int, int]:
    """The two numbers of a `pair`."""
    first, second = _PAIR.unpack_from(data)
    return first, second


def id_key(enrollment_id: str) -> bytes:
    """Key for an id of any length; ids above 400 bytes are hashed, as LMDB keys end at 511."""
    raw = enrollment_id.encode("utf-8", "surrogatepass")
    return raw if len(raw) <= 400 else b"\xff" + hashlib.sha256(raw).digest()


def text_key(text: str, number: int) -> bytes:
    """Key of an index from a text to enrollments."""
    return id_key(text) + b"\0" + u64(number)


def int_field(fields: Fields, name: str) -> int:
    """A number in a JSON object, 0 when it is not there."""
    value = fields.get(name, 0)
    return value if isinstance(value, int) else 0


def ms(at: datetime) -> int:
    """Milliseconds since 1970 of an aware time."""
    return int(at.timestamp() * 1000)


def maybe_ms(value: int) -> datetime | None:
    """The time of a stored number, None for 0."""
    return from_ms(value) if value else None


def from_ms(value: int) -> datetime:
    """The aware UTC time of a stored number."""
    return datetime.fromtimestamp(value / 1000, UTC)


@dataclass(slots=True)
class Contact:
    """The small row that every device request reads.

    Attributes:
        flags: LISTED, ENROLLED, BLOCKED, CHECKED_OUT.
        kind: index into `KINDS`.
        fingerprint: bound certificate, `NO_FINGERPRINT` when none.
        seen_ms: last contact.
        idle_mark: sequence at the last Idle that found refused commands; later refusals wait for the next.
    """

    flags: int = 0
    kind: int = 0
    fingerprint: bytes = NO_FINGERPRINT
    seen_ms: int = 0
    idle_mark: int = 0

    @classmethod
    def decode(cls, data: bytes) -> "Contact":
        """Read a row."""
        return cls(*_CONTACT.unpack(data))

    def encode(self) -> bytes:
        """Write a row."""
        return _CONTACT.pack(self.flags, self.kind, self.fingerprint, self.seen_ms, self.idle_mark)

    def has(self, flag: int) -> bool:
        """Whether a flag is set."""
        return bool(self.flags & flag)

    def set(self, flag: int, on: bool) -> None:
        """Set or clear a flag."""
        self.flags = self.flags | flag if on else self.flags & ~flag
