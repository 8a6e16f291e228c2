"""What tests of outgoing work need from a store: events, enrollments with push data, queued commands."""

from datetime import UTC, datetime
from pathlib import Path

from micromdm_py.protocol.checkin import CheckOut, TokenUpdate
from micromdm_py.protocol.enrollment import EnrollmentKind, EnrollmentRef
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.store import open_store
from micromdm_py.storage.records import BindingRule, Identity, NewEntry

TOPIC = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def new_store(folder: Path) -> Store:
    return open_store(folder / "store", map_size_bytes=1 << 28)


def _identity(enrollment_id: str) -> Identity:
    return Identity(enrollment_id.encode().ljust(32, b".")[:32], BindingRule())


def _ref(enrollment_id: str) -> EnrollmentRef:
    return EnrollmentRef(enrollment_id, EnrollmentKind.DEVICE, enrollment_id, udid=enrollment_id)


def add_event(
    store: Store, enrollment_id: str, body: str, topic: str = "mdm.CheckOut", at: datetime = NOW
) -> None:
    """Put an event into the outbox, as a check-in message does."""
    event = Event(topic, f"id of {body}", body.encode())
    store.check_out(CheckOut(_ref(enrollment_id), TOPIC), _identity(enrollment_id), event, at=at)


def enroll(store: Store, enrollment_id: str, token: bytes = b"\xaa" * 32, topic: str = TOPIC) -> None:
    """Give an enrollment push data."""
    message = TokenUpdate(_ref(enrollment_id), topic, token, f"magic {enrollment_id}", None, False)
    store.token_update(message, _identity(enrollment_id), None, at=NOW)


def queue(store: Store, enrollment_id: str, uuid: str, at: datetime = NOW) -> None:
    """Queue a command, which asks for a push."""
    store.enqueue(enrollment_id, NewEntry(uuid, "ProfileList", b"<plist/>"), at=at)
