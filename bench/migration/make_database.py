"""Make a large micromdm.db, to measure imports with: ``make_database.py FILE [DEVICES [COMMANDS_EACH]]``.

Of each device's commands a quarter has been answered, one has failed and one was put off with NotNow.
"""

import hashlib
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from micromdm_py.migration.bolt_writer import BoltWriter
from micromdm_py.migration.messages import NEVER, OldCommand, OldDevice, OldPush, OldQueue, encode

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NANOSECONDS = int(NOW.timestamp()) * 10**9
TOPIC = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"
PAYLOAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>Command</key><dict><key>Queries</key><array><string>UDID</string>
<string>OSVersion</string><string>DeviceName</string></array><key>RequestType</key>
<string>DeviceInformation</string></dict><key>CommandUUID</key><string>%s</string></dict></plist>
"""

Rows = dict[bytes, bytes]


def name(kind: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {number}"))


def certificates(count: int) -> Rows:
    """A depot; all devices have one key, as making keys takes long."""
    key = rsa.generate_private_key(65537, 2048)
    issuer = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "MICROMDM SCEP CA")])
    rows = {
        b"ca_key": key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        b"serial": (count + 2).to_bytes(4, "big"),
    }
    for serial in range(1, count + 2):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Identity ({serial})")])
        builder = x509.CertificateBuilder(issuer, subject if serial > 1 else issuer, key.public_key(), serial)
        builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=3650))
        label = f"Identity ({serial}).{serial}" if serial > 1 else "ca_certificate"
        rows[label.encode()] = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return rows


def queue(udid: str, number: int, commands: int) -> OldQueue:
    made = []
    for one in range(commands):
        command_uuid = name(f"command {one}", number)
        answered = NANOSECONDS if one < commands // 4 else NEVER
        made.append(OldCommand(command_uuid, (PAYLOAD % command_uuid).encode(), NEVER, NEVER, answered))
    done = commands // 4
    return OldQueue(udid, tuple(made[done + 2 :]), tuple(made[:done]), (made[done],), (made[done + 1],))


def make(path: Path, devices: int, commands: int) -> None:
    records, index, pushes, queues, pins = {}, {}, {}, {}, {}
    depot = certificates(devices)
    issued = [value for key, value in depot.items() if key.startswith(b"Identity")]
    for number in range(devices):
        udid, record, serial = name("udid", number).upper(), name("record", number), f"C{number:011}"
        token = hashlib.sha256(udid.encode()).hexdigest()
        records[record.encode()] = encode(
            OldDevice(record, udid, serial, "15.1", "24B83", "Mac14,2", token=token, enrolled=True,
                      push_magic=name("magic", number), device_name=f"Mac {number}", last_seen=NANOSECONDS)
        )  # fmt: skip
        index[udid.encode()] = index[serial.encode()] = record.encode()
        pushes[udid.encode()] = encode(OldPush(udid, token, name("magic", number), TOPIC))
        queues[udid.encode()] = encode(queue(udid, number, commands))
        pins[udid.encode()] = hashlib.sha256(issued[number]).digest()
    with path.open("xb") as file:
        writer = BoltWriter(file)
        for bucket, rows in (
            (b"mdm.DeviceCommands", queues),
            (b"mdm.DeviceIdx", index),
            (b"mdm.Devices", records),
            (b"mdm.PushInfo", pushes),
            (b"mdm.UDIDCertAuth", pins),
            (b"scep_certificates", depot),
        ):
            writer.bucket(bucket, sorted(rows.items()))
        writer.finish()


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[2:4]]
    make(Path(sys.argv[1]), *counts, *(10_000, 20)[len(counts) :])
