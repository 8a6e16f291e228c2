"""The way back: the content of a store as a database that MicroMDM 1.13.1 opens and serves.

What the old server has no place for is said in the report: commands that were withdrawn, user channels that
it cannot tell apart, one-time challenges, of which a store keeps only hashes.
"""

import tempfile
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from micromdm_py.migration.bolt_writer import BoltWriter
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
from micromdm_py.protocol.checkin import DEVICE_FACTS
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.records import EnrollmentRecord, PushCertificate
from micromdm_py.storage.transfer import (
    Moved,
    MovedAuthority,
    MovedCertificate,
    MovedCommand,
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
        rows = _Rows(spool)
        for one in content:
            _add(one, rows, report)
        writer = BoltWriter(target, page_size)
        for name in sorted({*ALWAYS, *rows.names}):
            about = report.bucket(name)
            about.read = about.imported = writer.bucket(name.encode(), rows.of(name))
        writer.finish()


class _Rows:
    """Rows on their way to their buckets: values wait in a file, as they may be more than fits in memory."""

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._at: dict[str, dict[bytes, tuple[int, int]]] = {}

    @property
    def names(self) -> set[str]:
        return set(self._at)

    def has(self, bucket: str, key: str) -> bool:
        return key.encode() in self._at.get(bucket, {})

    def put(self, bucket: str, key: str | bytes, value: bytes) -> None:
        raw = key if isinstance(key, bytes) else key.encode()
        self._at.setdefault(bucket, {})[raw] = self._spool.tell(), len(value)
        self._spool.write(value)

    def of(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        for key, (at, size) in sorted(self._at.get(bucket, {}).items()):
            self._spool.seek(at)
            yield key, self._spool.read(size)


def _add(one: Moved, rows: _Rows, report: Report) -> None:
    if isinstance(one, MovedEnrollment):
        _add_enrollment(one, rows, report)
    elif isinstance(one, MovedAuthority):
        key = load_der_private_key(one.key, None)
        pkcs1 = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        rows.put(DEPOT, "ca_key", pkcs1)
        rows.put(DEPOT, "ca_certificate", one.certificate)
        rows.put(DEPOT, "serial", one.next_serial.to_bytes(-(-one.next_serial.bit_length() // 8), "big"))
    elif isinstance(one, MovedCertificate):
        rows.put(DEPOT, _depot_name(one), one.certificate)
    elif isinstance(
        one, PushCertificate
    ):  # of several the current one comes last, and the old server has one
        rows.put("mdm.ServerConfig", "config", encode(_server_config(one)))


def _depot_name(moved: MovedCertificate) -> bytes:
    """The old server looks for keys that begin with the last CN of a certificate, or its signature."""
    certificate = x509.load_der_x509_certificate(moved.certificate)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = names[-1].value if names else ""
    raw = name.encode() if isinstance(name, str) else name
    return (raw or certificate.signature) + f".{moved.serial}".encode()


def _server_config(certificate: PushCertificate) -> OldServerConfig:
    key = load_pem_private_key(certificate.key, None)
    pkcs1 = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return OldServerConfig(certificate.certificate, pkcs1)


# --- enrollments ---


def _add_enrollment(moved: MovedEnrollment, rows: _Rows, report: Report) -> None:
    record, push = moved.record, moved.push
    report.enrollments[(record.kind or "unknown").replace("_", " ")] += 1
    if record.kind is EnrollmentKind.USER_ENROLLMENT_USER:
        report.bucket(QUEUES).lose(record.enrollment_id, "the old server has no such channels")
        return
    name = record.user_id if record.kind and record.kind.is_user_channel else record.enrollment_id
    if rows.has(QUEUES, name) or rows.has("mdm.PushInfo", name):
        reason = f"the old server knows one channel of user {name} only, and another device has it"
        report.bucket(QUEUES).lose(record.enrollment_id, reason)
        return
    if record.kind is EnrollmentKind.DEVICE:
        _add_device(record, push, rows)
    elif name != record.enrollment_id:
        user = _user(record, push)
        rows.put("mdm.Users", user.uuid, encode(user))
        rows.put("mdm.UserIdx", user.user_id, user.uuid.encode())
        rows.put("mdm.UserIdx", user.udid, user.uuid.encode())
    if record.blocked:
        rows.put("mdm.RemoveDevice", name, encode(OldBlock(name)))
    if push:
        info = OldPush(name, push.token_hex, push.push_magic, push.topic)
        rows.put("mdm.PushInfo", name, encode(info))
    if moved.commands:
        rows.put(QUEUES, name, encode(_queue(name, moved.commands, report)))


def _add_device(record: EnrollmentRecord, push: MovedPush | None, rows: _Rows) -> None:
    if record.fingerprint:
        rows.put("mdm.UDIDCertAuth", record.udid, record.fingerprint)
    if not record.listed:
        return
    facts: dict[str, Any] = {name: record.facts.get(name, "") for name in DEVICE_FACTS.values()}
    device = OldDevice(
        uuid=_uuid("device", record.udid),
        udid=record.udid,
        token=push.token_hex if push else "",
        push_magic=push.push_magic if push else "",
        unlock_token=record.unlock_token.hex(),
        enrolled=record.enrolled,
        awaiting_configuration=record.awaiting_configuration,
        dep_profile_status=record.dep_profile_status,
        last_seen=_nanoseconds(record.last_seen_at) or NEVER,
        bootstrap_token=record.bootstrap_token,
        **facts,
    )
    rows.put("mdm.Devices", device.uuid, encode(device))
    for name in filter(None, (device.udid, device.serial_number)):
        rows.put("mdm.DeviceIdx", name, device.uuid.encode())


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
