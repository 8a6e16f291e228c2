"""What the admin pages show, as plain values; the templates decide how it looks."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509

from micromdm_py.errors import Conflict, MalformedRequest, NotConfigured, NotFound
from micromdm_py.protocol.plain import as_json
from micromdm_py.protocol.plist import loads
from micromdm_py.service.command_view import FullRecord, camel_record
from micromdm_py.service.commands import check_api_id
from micromdm_py.service.inventory import ENVELOPE
from micromdm_py.service.push import find_target
from micromdm_py.service.why import Finding, Why
from micromdm_py.storage.base import CommandHistory, CommandQueue, Enrollments, Outbox, PushBook, Quarantine
from micromdm_py.storage.records import (
    CommandFilter,
    CommandRecord,
    DevicePage,
    DeviceSearch,
    EnrollmentRecord,
    Fleet,
    PushTarget,
    ReceiverState,
    StoredEvent,
)

__all__ = ["CommandView", "DeviceView", "EventView", "Overview", "ReceiverView", "ViewedStore", "Views"]

RECENT = timedelta(hours=24)
FRESH = timedelta(seconds=10)
"""How long the figures of all devices are shown before they are counted again."""
NEWEST_EVENTS = 50
COMMANDS = 25


class ViewedStore(CommandQueue, CommandHistory, Enrollments, PushBook, Outbox, Quarantine, Protocol):
    """What the pages need of the store."""

    def organization(self) -> tuple[str, str]:
        """See `storage.base.Store`."""
        ...


@dataclass(frozen=True, slots=True)
class ReceiverView:
    """A webhook receiver: its URL without secrets, its state, and how many events it still has to get."""

    url: str
    state: ReceiverState
    lag: int


@dataclass(frozen=True, slots=True)
class EventView:
    """An event of the feed.

    Attributes:
        sequence, at, topic: of the event.
        about: the enrollment, "" for none.
        name: the name or serial number of the device, "" when neither is known.
        what: the status in the report, or the kind of message.
    """

    sequence: int
    at: datetime
    topic: str
    about: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page.

    Attributes:
        fleet: figures of all devices; `seen` counts the last 24 hours.
        counted_at: when they were counted.
        topic, expires_at: of the push certificate; "" and None when there is none.
        days_left: days until it expires, negative afterwards.
        receivers: webhook receivers.
        quarantined: how many reports are in quarantine.
        events: the newest events, newest first.
    """

    fleet: Fleet
    counted_at: datetime
    topic: str
    expires_at: datetime | None
    days_left: int
    receivers: list[ReceiverView]
    quarantined: int
    events: list[EventView]


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One enrollment.

    Attributes:
        record, push: as stored.
        inventory: the time and the answer as JSON text, by request type.
        findings: what is the matter with it.
        commands: a page of its commands, newest first.
        older: cursor of the page after that, "" for none.
    """

    record: EnrollmentRecord
    push: PushTarget | None
    inventory: dict[str, tuple[datetime, str]]
    findings: list[Finding]
    commands: list[CommandRecord]
    older: str


@dataclass(frozen=True, slots=True)
class CommandView:
    """One command; `request` and `answer` are JSON texts without secrets."""

    target: EnrollmentRecord
    record: CommandRecord
    request: str
    answer: str


class Views:
    """Gathers what a page shows."""

    def __init__(
        self, store: ViewedStore, *, now: Callable[[], datetime], show_url: Callable[[str], str]
    ) -> None:
        """Read from `store`; `show_url` takes the secrets out of a URL."""
        self._store, self._now, self._show_url = store, now, show_url
        self._why = Why(store, now)
        self._lock = threading.Lock()
        self._counted: tuple[datetime, Fleet] | None = None

    def overview(self) -> Overview:
        """The first page."""
        counted_at, fleet = self._fleet()
        topic, expires_at = self._certificate()
        _, newest = self._store.event_range()
        return Overview(
            fleet,
            counted_at,
            topic,
            expires_at,
            (expires_at - self._now()).days if expires_at else 0,
            [self._receiver(state, newest) for state in self._store.receivers()],
            len(self._store.quarantined()),
            self.events(),
        )

    def _fleet(self) -> tuple[datetime, Fleet]:
        with self._lock:  # one request counts, the others take its figures
            now = self._now()
            if self._counted is None or not timedelta(0) <= now - self._counted[0] < FRESH:
                self._counted = now, self._store.fleet(since=now - RECENT)
            return self._counted

    def _certificate(self) -> tuple[str, datetime | None]:
        try:
            found = self._store.push_certificate()
        except NotConfigured:
            return "", None
        return found.topic, x509.load_pem_x509_certificate(found.certificate).not_valid_after_utc

    def _receiver(self, state: ReceiverState, newest: int) -> ReceiverView:
        return ReceiverView(self._show_url(state.receiver), state, newest - state.cursor + state.held)

    def events(self) -> list[EventView]:
        """The newest events, newest first."""
        _, newest = self._store.event_range()
        found = self._store.events_after(max(0, newest - NEWEST_EVENTS), NEWEST_EVENTS)
        names = {name: self._name(name) for name in {event.enrollment_id for event in found}}
        return [_event(event, names[event.enrollment_id]) for event in reversed(found)]

    def _name(self, enrollment_id: str) -> str:
        if not enrollment_id:  # an event of the server's own
            return ""
        try:
            record = self._store.enrollment(enrollment_id)
        except (NotFound, Conflict):
            return ""
        return record.facts.get("device_name") or record.serial_number

    def devices(self, search: DeviceSearch) -> DevicePage:
        """A page of devices. Raises: MalformedField."""
        return self._store.search_devices(search)

    def device(self, api_id: str, cursor: str = "") -> DeviceView:
        """One enrollment with a page of its commands. Raises: NotFound, Conflict, MalformedField."""
        record = self._store.enrollment(check_api_id("id", api_id))
        push = find_target(self._store, record.enrollment_id)
        answers = self._store.answers(record.enrollment_id)
        page = self._store.commands(record.enrollment_id, CommandFilter(cursor=cursor, limit=COMMANDS))
        return DeviceView(
            record,
            push,
            {one.request_type: (one.at, _told(one.report)) for one in answers},
            self._why.findings(record.enrollment_id),
            page.records,
            page.next,
        )

    def command(self, api_id: str, command: str) -> CommandView:
        """One command of an enrollment. Raises: NotFound, Conflict, MalformedField."""
        target = self._store.enrollment(check_api_id("id", api_id))
        record = self._store.command(target.enrollment_id, command)
        ((payload, report),) = self._store.command_bodies([record.command_id])
        full = FullRecord.of(self._store.organization(), target, record, payload, report)
        shown = camel_record(full, secrets=False)
        return CommandView(target, record, _text(shown["command"]), _text(shown.get("data")))


def _event(event: StoredEvent, name: str) -> EventView:
    document = json.loads(event.body)
    told = document.get("acknowledge_event") or {}
    what = str(told.get("status", "")) or event.event_topic.removeprefix("mdm.")
    return EventView(event.sequence, event.created_at, event.event_topic, event.enrollment_id, name, what)


def _text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def _told(report: bytes) -> str:
    try:
        answer = loads(report)
    except MalformedRequest:
        return ""
    inside = {key: value for key, value in answer.items() if key not in ENVELOPE}
    return json.dumps(as_json(inside, secrets=False), indent=2, ensure_ascii=False)
