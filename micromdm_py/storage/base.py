"""The store as the services see it: one Protocol per concern.

What holds for every method:

* A method that changes something is one transaction. When it returns, the change is on disk; when it
  raises, nothing has changed. Two methods never interleave.
* No cost grows with the number of commands an enrollment has ever had, nor with the number that wait.
* Ids are made by the caller or returned. No cursor, row or transaction of a backend leaks out.
* `StorageUnavailable` may come from every method that writes (disk full, map full).

An *enrollment id* is the id of `protocol.enrollment`. An *API id* is what an administrator may say instead:
the enrollment id, or the bare UserID of a user channel while only one device has it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckOut,
    GetBootstrapToken,
    SetBootstrapToken,
    TokenUpdate,
)
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.history import CommandHistory
from micromdm_py.storage.queueing import CommandQueue
from micromdm_py.storage.records import (
    Answer,
    DeviceFilter,
    DevicePage,
    DeviceSearch,
    DuePush,
    EnrollmentRecord,
    Fleet,
    HeldEvent,
    Identity,
    NewEntry,
    PushCertificate,
    PushOutcome,
    PushTarget,
    ReceiverState,
    StoredEvent,
)
from micromdm_py.storage.shelving import AuditLog, Documents, Shelf
from micromdm_py.storage.transfer import Moved

__all__ = [
    "AuditLog",
    "CommandQueue",
    "Depot",
    "Documents",
    "Enrollments",
    "Outbox",
    "PushBook",
    "Quarantine",
    "Shelf",
    "Store",
    "Transfer",
]

T = TypeVar("T")


class Enrollments(Protocol):
    """What is known of devices and user channels."""

    def authenticate(
        self,
        message: Authenticate,
        identity: Identity,
        event: Event | None,
        rebound: Event | None,
        *,
        at: datetime,
    ) -> bool:
        """Begin an enrollment.

        Withdraw its queue (`ProtectionCanceled`), bind the certificate, keep the facts.

        The event `rebound` is stored too when the enrollment was bound to another certificate before.
        Returns: whether that was so. Raises: IdentityMismatch.
        """
        ...

    def token_update(
        self,
        message: TokenUpdate,
        identity: Identity,
        event: Event | None,
        *,
        at: datetime,
        welcome: Sequence[NewEntry] = (),
    ) -> bool:
        """Keep push data; revive a dead token.

        When it is the first since Authenticate, `welcome` is queued with it.

        Returns whether it is the first since Authenticate (device channels).

        A message without UnlockToken leaves the stored one. Raises: IdentityMismatch.
        """
        ...

    def check_out(self, message: CheckOut, identity: Identity, event: Event | None, *, at: datetime) -> None:
        """Mark as not enrolled; the queue stays. Raises: IdentityMismatch."""
        ...

    def set_bootstrap_token(
        self, message: SetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bool:
        """Keep or (empty) remove the token; false, with nothing kept, when there is no device record.

        Raises: IdentityMismatch.
        """
        ...

    def get_bootstrap_token(
        self, message: GetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bytes:
        """The token, b"" when none. Raises: IdentityMismatch; NotFound without a device record."""
        ...

    def check_binding(self, ref: EnrollmentRef, identity: Identity, *, at: datetime) -> None:
        """Check (and on first use make) the binding for a message that stores nothing else.

        Raises: IdentityMismatch.
        """
        ...

    def enrollment(self, api_id: str) -> EnrollmentRecord:
        """One enrollment. Raises: NotFound, Conflict."""
        ...

    def devices(self, wanted: DeviceFilter) -> list[EnrollmentRecord]:
        """Device records, sorted by enrollment id. Serial and UDID filters use an index."""
        ...

    def search_devices(self, search: DeviceSearch) -> DevicePage:
        """Devices that fit a search, by an index where it names a fact. Raises: MalformedField: cursor."""
        ...

    def fleet(self, *, since: datetime) -> Fleet:
        """Figures of all device records; looks at every one of them, some microseconds each."""
        ...

    def answers(self, api_id: str) -> list[Answer]:
        """The last Acknowledged answers of the kinds in `protocol.report.KEPT_ANSWERS`, by request type.

        Raises: NotFound, Conflict.
        """
        ...

    def enrolled_topics(self) -> dict[str, int]:
        """How many enrolled devices each push topic has."""
        ...

    def block(self, udid: str, *, at: datetime) -> None:
        """Refuse connects of an API id, known or not. Raises: MalformedField, Conflict if it is ambiguous."""
        ...

    def unblock(self, udid: str) -> None:
        """Lift the block. Raises: NotFound when there is none."""
        ...

    def remove_devices(self, ids: Sequence[str], *, purge: bool, at: datetime) -> None:
        """Delete device records by UDID, EnrollmentID or serial number: all or none.

        With purge also withdraw the queue and delete push data, binding and block mark.
        Raises: NotFound naming the first unknown id.
        """
        ...


class PushBook(Protocol):
    """Push data, scheduled pushes and push certificates."""

    def push_target(self, api_id: str) -> PushTarget:
        """Push data of an enrollment. Raises: NotFound."""
        ...

    def due_push(self, api_id: str) -> DuePush:
        """Push data of an enrollment as a push to be made at once, scheduled or not. Raises: NotFound."""
        ...

    def schedule_push(self, api_id: str, *, at: datetime) -> None:
        """Ask the courier for a push. Raises: NotFound without push data."""
        ...

    def due_pushes(self, *, at: datetime, limit: int) -> tuple[list[DuePush], datetime | None]:
        """Pushes due now, oldest first, and when the next one is due (None: none is scheduled).

        A repetition is dropped when no command waits any more or the device was seen since the push.
        """
        ...

    def record_push(self, due: DuePush, outcome: PushOutcome) -> None:
        """Keep a result with the enrollment and, when accepted, as `sent_at` of the commands it was for.

        A dead token is not pushed to again before the next TokenUpdate. The push is scheduled again at
        `outcome.retry_at`, or earlier when a command was queued meanwhile; or, accepted and with a command
        that waits, at `outcome.again_at` as a repetition; else it is done.
        """
        ...

    def store_push_certificate(self, certificate: PushCertificate) -> None:
        """Keep a certificate with its key, replacing the one of the same topic.

        It becomes the current one.
        """
        ...

    def push_certificate(self, topic: str = "") -> PushCertificate:
        """The certificate of a topic, or the one stored last. Raises: NotConfigured."""
        ...

    def push_certificates(self) -> list[PushCertificate]:
        """The certificates of all topics, sorted by topic."""
        ...


class Depot(Protocol):
    """The certificate authority's memory: its key, issued certificates, challenges."""

    def authority(self) -> tuple[bytes, bytes] | None:
        """The CA as (certificate DER, private key DER in PKCS#8), None before one is stored."""
        ...

    def create_authority(self, certificate: bytes, key: bytes) -> None:
        """Keep a new CA unless one is there already; its issued serial numbers begin at 2."""
        ...

    def issue(self, make: Callable[[int], bytes], common_name: str, *, at: datetime) -> bytes:
        """Take the next serial number, let `make` build the certificate (DER) with it, keep it, return it.

        A serial number is never given twice; one may be left out.
        """
        ...

    def is_issued(self, fingerprint: bytes) -> bool:
        """Whether a certificate with this SHA-256 (32 bytes) was issued or accepted here."""
        ...

    def add_challenge(self, challenge: str, *, at: datetime) -> None:
        """Keep a one-time challenge (only its hash)."""
        ...

    def take_challenge(self, challenge: str) -> bool:
        """Use a one-time challenge up; false when it is unknown or used."""
        ...


class Quarantine(Protocol):
    """Signed reports that cannot be decoded."""

    def undecodable(self, fingerprint: bytes, body: bytes, event: Event | None, *, at: datetime) -> bool:
        """Count one; the third time the same identity sends the same bytes keep them and store the event.

        Returns: whether the bytes are in quarantine now, so that the device may be told to go on.
        """
        ...

    def quarantined(self, limit: int = 100) -> list[tuple[datetime, bytes, bytes]]:
        """The newest kept reports as (when, fingerprint, body)."""
        ...


class Outbox(Protocol):
    """Webhook events on their way, and where each receiver stands."""

    def receiver(self, receiver: str) -> ReceiverState:
        """State of a receiver.

        A new one begins behind the newest event that existed when it was first asked for.
        """
        ...

    def receivers(self) -> list[ReceiverState]:
        """Every receiver there is, by name."""
        ...

    def event_range(self) -> tuple[int, int]:
        """Sequences of the oldest event that is kept and of the newest there ever was, (0, 0) for none.

        The first is beyond the second when none is kept any more.
        """
        ...

    def append_event(self, event: Event, *, at: datetime) -> int:
        """Store an event that belongs to no enrollment; returns its sequence."""
        ...

    def ask_replay(self, receiver: str, after: int) -> None:
        """Have everything after a sequence sent again, as far as it is kept. Raises: NotFound."""
        ...

    def begin_replay(self, receiver: str) -> None:
        """Do what `ask_replay` asked for.

        The cursor goes back, and what is held behind it and still kept as an event is let go, since it comes
        again in its place.
        """
        ...

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        """Events in order, from the first after `sequence`."""
        ...

    def held_events(self, receiver: str, after: int, limit: int) -> list[HeldEvent]:
        """Held events of a receiver by sequence, from the first after `after`."""
        ...

    def settle(
        self,
        receiver: str,
        *,
        at: datetime,
        cursor: int | None = None,
        hold: Iterable[HeldEvent] = (),
        release: Iterable[int] = (),
        dead: Iterable[HeldEvent] = (),
        succeeded: bool = False,
        error: str = "",
    ) -> None:
        """Write down progress: move the cursor, hold or re-schedule, release (delivered), or bury events."""
        ...

    def dead_letters(self, receiver: str, limit: int) -> list[HeldEvent]:
        """Events given up for a receiver, oldest first."""
        ...

    def forget_events(self, receivers: Sequence[str], *, before: datetime, limit: int) -> int:
        """Delete up to `limit` events from the first on that every receiver is done with and that are older.

        The first one that has to stay ends it, whatever the clock said when later ones came.
        """
        ...

    def forget_receivers(self, keep: Sequence[str]) -> None:
        """Drop the state of receivers that are not configured any more."""
        ...


class Transfer(Protocol):
    """The whole content, for moving in and out."""

    def is_empty(self) -> bool:
        """Whether there is no enrollment, command, issued certificate, push certificate or document."""
        ...

    def load(self, content: Iterable[Moved], *, at: datetime) -> None:
        """Add the content of another store to this one, which is empty.

        Many transactions, not one: whoever loads uses the store only when this has returned. `at` is the time
        of the move. Documents may come as often as they like, the rest once.
        """
        ...

    def content(self) -> Iterator[Moved]:
        """Everything that `load` takes, in no promised order but that of commands; without challenges."""
        ...


class Store(
    CommandQueue,
    CommandHistory,
    Enrollments,
    PushBook,
    Depot,
    Quarantine,
    Outbox,
    Shelf,
    AuditLog,
    Transfer,
    Protocol,
):
    """Everything together, as one backend offers it."""

    def lease(self, name: str) -> AbstractContextManager[bool]:
        """Hold a lease that dies with its owner; gives False at once when somebody else holds it."""
        ...

    def organization(self) -> tuple[str, str]:
        """Two 24-hex ids made at first start: organization and enterprise."""
        ...

    def close(self) -> None:
        """Finish what is being written and let go of the files."""
        ...
