"""The way back: the content of a store as a database that MicroMDM 1.13.1 opens and serves.

What the old server has no place for is said in the report: commands that were withdrawn, user channels that
it cannot tell apart, one-time challenges, of which a store keeps only hashes.
"""

import tempfile
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from micromdm_py.migration.bolt_writer import BoltWriter
from micromdm_py.migration.export_dep import DepExport
from micromdm_py.migration.export_documents import add_document, put_user
from micromdm_py.migration.messages import (
    NEVER,
    OldBlock,
    OldCommand,
    OldDevice,
    OldPush,
    OldQueue,
    OldServerConfig,
    OldUser,
    encode,
)
from micromdm_py.migration.report import Report
from micromdm_py.migration.rows import Rows
from micromdm_py.protocol.checkin import DEVICE_FACTS
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.records import EnrollmentRecord, PushCertificate
from micromdm_py.storage.transfer import (
    Moved,
    MovedAuthority,
    MovedCertificate,
    MovedCommand,
    MovedDocument,
    MovedEnrollment,
    MovedPush,
)

__all__ = ["export"]

ALWAYS = (
    "mdm.Blueprint",
    "mdm.BlueprintIdx",
    "mdm.DEPAutoAssign",
    "mdm.DEPConfig",
    "mdm.DeviceCommands",
    "mdm.DeviceIdx",
    "mdm.Devices",
    "mdm.Profile",
    "mdm.PushInfo",
    "mdm.RemoveDevice",
    "mdm.ServerConfig",
    "mdm.UDIDCertAuth",
    "mdm.UserIdx",
    "mdm.Users",
    "scep_certificates",
)
"""Buckets that the old server makes when it starts."""
DEPOT, QUEUES = "scep_certificates", "mdm.DeviceCommands"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = {
    CommandState.ACKNOWLEDGED: "completed",
    CommandState.ERROR: "failed",
    CommandState.COMMAND_FORMAT_ERROR: "failed",
    CommandState.AWAITING: "commands",
    CommandState.PENDING: "commands",
    CommandState.TRIED: "not_now",
}


def export(content: Iterable[Moved], target: BinaryIO, report: Report, *, page_size: int = 4096) -> None:
    """Write a database.

    Args:
        content: of a store.
        target: an empty file that can seek.
        report: counts rows by bucket; what is lost is named there.
        page_size: that of the machine that is going to use the file.
    """
    with tempfile.TemporaryFile() as spool:
        rows = Rows(spool)
        made = _Export(rows, report)
        for one in content:
            made.add(one)
        made.finish()
        writer = BoltWriter(target, page_size)
        for name in sorted({*ALWAYS, *rows.buckets}):
            about = report.bucket(name)
            about.read = about.imported = writer.bucket(name.encode(), rows.of(name))
        writer.finish()


def _depot_name(moved: MovedCertificate) -> bytes:
    """The old server looks for keys that begin with the last CN of a certificate, or its signature."""
    certificate = x509.load_der_x509_certificate(moved.certificate)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = names[-1].value if names else ""
    raw = name.encode() if isinstance(name, str) else name
    return (raw or certificate.signature) + f".{moved.serial}".encode()


def _pkcs1(key: PrivateKeyTypes, encoding: Encoding) -> bytes:
    """The form that the old server reads; keys of elliptic curves have one of their own."""
    return key.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, NoEncryption())


class _Export:
    """Takes the pieces of a store; what needs several of them is written at the end."""

    def __init__(self, rows: Rows, report: Report) -> None:
        self._rows, self._report = rows, report
        self._devices: dict[str, OldDevice] = {}
        self._channels: list[OldUser] = []
        self._dep = DepExport(rows, report)

    def add(self, one: Moved) -> None:
        """Take a piece."""
        rows = self._rows
        if isinstance(one, MovedEnrollment):
            self._add_enrollment(one)
        elif isinstance(one, MovedAuthority):
            serial = one.next_serial
            rows.put(DEPOT, "ca_key", _pkcs1(load_der_private_key(one.key, None), Encoding.DER))
            rows.put(DEPOT, "ca_certificate", one.certificate)
            rows.put(DEPOT, "serial", serial.to_bytes(-(-serial.bit_length() // 8), "big"))
        elif isinstance(one, MovedCertificate):
            rows.put(DEPOT, _depot_name(one), one.certificate)
        elif isinstance(one, MovedDocument):
            add_document(one, rows)
            self._dep.add(one)
        elif isinstance(one, PushCertificate):  # the old server has one: the current one, which comes last
            key = _pkcs1(load_pem_private_key(one.key, None), Encoding.PEM)
            rows.put("mdm.ServerConfig", "config", encode(OldServerConfig(one.certificate, key)))

    def finish(self) -> None:
        """Write devices, and user channels whose user has no document."""
        rows = self._rows
        self._dep.finish(self._devices, _uuid)
        for device in self._devices.values():
            rows.put("mdm.Devices", device.uuid, encode(device))
            for name in filter(None, (device.udid, device.serial_number)):
                rows.put("mdm.DeviceIdx", name, device.uuid.encode())
        for user in self._channels:
            if not rows.has("mdm.UserIdx", user.user_id):
                put_user(user, rows)

    # --- enrollments ---

    def _add_enrollment(self, moved: MovedEnrollment) -> None:
        record, push, rows = moved.record, moved.push, self._rows
        self._report.enrollments[(record.kind or "unknown").replace("_", " ")] += 1
        if record.kind is EnrollmentKind.USER_ENROLLMENT_USER:
            self._lose(record, "the old server has no such channels")
            return
        is_channel = record.kind is not None and record.kind.is_user_channel
        name = record.user_id if is_channel else record.enrollment_id
        if rows.has(QUEUES, name) or rows.has("mdm.PushInfo", name):
            self._lose(record, f"the old server knows one channel of user {name} only, and another has it")
            return
        if is_channel:
            self._channels.append(_user(record, push))
        else:
            self._add_record(record, push)
        if record.blocked:
            rows.put("mdm.RemoveDevice", name, encode(OldBlock(name)))
        if push:
            info = OldPush(name, push.token_hex, push.push_magic, push.topic)
            rows.put("mdm.PushInfo", name, encode(info))
        if moved.commands:
            rows.put(QUEUES, name, encode(_queue(name, moved.commands, self._report)))

    def _add_record(self, record: EnrollmentRecord, push: MovedPush | None) -> None:
        """What is known of a device, and of a user channel without its device."""
        name, rows = record.enrollment_id, self._rows
        if record.kind is EnrollmentKind.DEVICE:
            if record.fingerprint:
                rows.put("mdm.UDIDCertAuth", record.udid, record.fingerprint)
            if record.listed:
                self._devices[record.udid] = _device(record, push)
        elif record.kind is None and record.user_id:  # as the old server leaves it when another user comes
            rows.put("mdm.UserIdx", name, _uuid("user", name).encode())

    def _lose(self, record: EnrollmentRecord, reason: str) -> None:
        self._report.bucket(QUEUES).lose(record.enrollment_id, reason)


def _device(record: EnrollmentRecord, push: MovedPush | None) -> OldDevice:
    facts: dict[str, Any] = {name: record.facts.get(name, "") for name in DEVICE_FACTS.values()}
    return OldDevice(
        uuid=_uuid("device", record.udid),
        udid=record.udid,
        token=push.token_hex if push else "",
        push_magic=push.push_magic if push else "",
        unlock_token=record.unlock_token.hex(),
        enrolled=record.enrolled,
        awaiting_configuration=record.awaiting_configuration,
        dep_profile_status=record.dep_profile_status,
        last_seen=_nanoseconds(record.last_seen_at),
        bootstrap_token=record.bootstrap_token,
        **facts,
    )


def _user(record: EnrollmentRecord, push: MovedPush | None) -> OldUser:
    return OldUser(
        uuid=_uuid("user", record.enrollment_id),
        udid=record.device_id,
        user_id=record.user_id,
        user_shortname=record.user_short_name,
        user_longname=record.user_long_name,
        auth_token=push.token_hex if push else "",
    )


def _queue(name: str, commands: tuple[MovedCommand, ...], report: Report) -> OldQueue:
    lists: dict[str, list[OldCommand]] = {"completed": [], "failed": [], "commands": [], "not_now": []}
    for command in commands:
        report.commands[str(command.state)] += 1
        place = _PLACE.get(command.state)
        if place is None:
            continue  # withdrawn: the old server deletes such a command, and so nothing is lost
        done = _nanoseconds(command.received_at) if place == "completed" else 0
        entry = command.entry
        lists[place].append(OldCommand(entry.command_uuid, entry.payload, NEVER, NEVER, done or NEVER))
    return OldQueue(name, **{place: tuple(found) for place, found in lists.items()})


def _uuid(kind: str, name: str) -> str:
    """The private key of a record: the same at every export."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {name}"))


def _nanoseconds(at: datetime | None) -> int:
    return (at - _EPOCH) // _MICROSECOND * 1000 if at else 0


_MICROSECOND = datetime.resolution
