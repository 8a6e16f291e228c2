"""Short ways to say what a device or an administrator does to a store."""

import hashlib
from datetime import UTC, datetime

from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckOut,
    GetBootstrapToken,
    SetBootstrapToken,
    TokenUpdate,
)
from micromdm_py.protocol.enrollment import EnrollmentRef, resolve
from micromdm_py.protocol.report import Report, parse_report
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import BindingRule, CommandRecord, Enqueued, Identity, NewEntry
from tests.fakes.clock import Clock

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
TOPIC = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"
SHARED = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


def identity(name: str = "A", **rule: bool) -> Identity:
    """The identity with this name."""
    return Identity(hashlib.sha256(name.encode()).digest(), BindingRule(**rule))


def device(udid: str) -> EnrollmentRef:
    """The device channel of a UDID."""
    return resolve({"UDID": udid})


def user(udid: str, user_id: str, short_name: str = "", long_name: str = "") -> EnrollmentRef:
    """A user channel; with `SHARED` as UserID that of an account on a Shared iPad."""
    names = {"UserShortName": short_name, "UserLongName": long_name}
    return resolve({"UDID": udid, "UserID": user_id, **names})


def user_enrollment(enrollment_id: str, user_id: str = "", udid: str = "") -> EnrollmentRef:
    """A User Enrollment, or with a UserID a user channel of one."""
    ids = {"EnrollmentID": enrollment_id, "EnrollmentUserID": user_id, "UDID": udid}
    return resolve({key: value for key, value in ids.items() if value})


def authenticate(ref: EnrollmentRef, **facts: str) -> Authenticate:
    return Authenticate(ref, TOPIC, facts or {"serial_number": f"SERIAL {ref.enrollment_id}"})


def token_update(
    ref: EnrollmentRef,
    *,
    token: bytes = b"\xaa" * 32,
    topic: str = TOPIC,
    unlock_token: bytes | None = None,
    awaiting: bool = False,
) -> TokenUpdate:
    return TokenUpdate(ref, topic, token, f"magic {ref.enrollment_id}", unlock_token, awaiting)


def check_out(ref: EnrollmentRef) -> CheckOut:
    return CheckOut(ref, TOPIC)


def set_bootstrap_token(ref: EnrollmentRef, token: bytes) -> SetBootstrapToken:
    return SetBootstrapToken(ref, TOPIC, token)


def get_bootstrap_token(ref: EnrollmentRef) -> GetBootstrapToken:
    return GetBootstrapToken(ref, TOPIC)


def report(ref: EnrollmentRef, status: str, command_uuid: str = "", raw: bytes = b"") -> Report:
    """What a device puts to connect; without `raw` its bytes are made up from status and uuid."""
    message = {"Status": status, "CommandUUID": command_uuid}
    ids = {"UDID": ref.udid, "EnrollmentID": ref.sent_enrollment_id}
    ids["EnrollmentUserID" if ref.sent_enrollment_id else "UserID"] = ref.user_id
    message |= {key: value for key, value in ids.items() if value}
    message |= {"UserShortName": ref.user_short_name, "UserLongName": ref.user_long_name}
    return parse_report(message, raw or f"<{status} {command_uuid}>".encode())


def event(name: str, topic: str = "mdm.Connect") -> Event:
    """An event whose body is its name."""
    return Event(topic, f"id of {name}", name.encode())


def command(command_uuid: str, request_type: str = "ProfileList", origin: str = "unknown") -> NewEntry:
    return NewEntry(command_uuid, request_type, payload(command_uuid), origin)


def payload(command_uuid: str) -> bytes:
    """The bytes that `command` queues."""
    return f"<plist>{command_uuid}</plist>".encode()


class Device:
    """A device (or user channel) in front of a store; the clock goes on by a second with every call."""

    def __init__(
        self, store: Store, ref: EnrollmentRef | str = "UDID-1", who: Identity | None = None
    ) -> None:
        self.store = store
        self.ref = device(ref) if isinstance(ref, str) else ref
        self.who = who or identity(f"of {self.ref.device_id}")
        self.clock = Clock()

    @property
    def id(self) -> str:
        return self.ref.enrollment_id

    def queue(self, *uuids: str) -> list[Enqueued]:
        return [self.store.enqueue(self.id, command(one), at=self.clock.move(1)) for one in uuids]

    def says(self, status: str, command_uuid: str = "") -> str | None:
        """Report; returns the uuid of the command that comes back, None for nothing."""
        message = report(self.ref, status, command_uuid)
        served = self.store.record_report(message, self.who, None, at=self.clock.move(1))
        assert bool(served.payload) == bool(served.command_uuid)
        return served.command_uuid or None

    def run(self, *answers: str) -> list[str]:
        """Idle, then one answer after another to what comes; returns what came, "" for the empty end."""
        seen = [self.says("Idle") or ""]
        for answer in answers:
            seen.append(self.says(answer, seen[-1]) or "")
        return seen

    def authenticates(self, **facts: str) -> bool:
        message = authenticate(self.ref, **facts)
        return self.store.authenticate(message, self.who, None, None, at=self.clock.move(1))

    def updates_token(self, token: bytes = b"\xaa" * 32, unlock_token: bytes | None = None) -> bool:
        message = token_update(self.ref, token=token, unlock_token=unlock_token)
        return self.store.token_update(message, self.who, None, at=self.clock.move(1))

    def enrolls(self, **facts: str) -> "Device":
        self.authenticates(**facts)
        self.updates_token()
        return self

    def checks_out(self) -> None:
        self.store.check_out(check_out(self.ref), self.who, None, at=self.clock.move(1))

    def waiting(self) -> list[str]:
        return [one.command_uuid for one in self.store.waiting(self.id)]

    def record(self, command_uuid: str) -> CommandRecord:
        return self.store.command(self.id, command_uuid)

    def state(self, command_uuid: str) -> str:
        return str(self.record(command_uuid).state)
