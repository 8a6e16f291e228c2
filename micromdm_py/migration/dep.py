"""Automated enrollment (DEP) in MicroMDM's database: keys, tokens, the rule, the devices Apple has told of.

The sync cursor is left behind: it may belong to a fetch that was never finished, so that all devices are read
again after the move.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from micromdm_py.errors import MalformedField
from micromdm_py.migration.enrollments import time_of
from micromdm_py.migration.inventory import DEVICES, Inventory, named
from micromdm_py.migration.keys import ERRORS
from micromdm_py.migration.messages import OldDevice
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.dep import documents as kept
from micromdm_py.protocol.dep.documents import DEFAULT_NAME, KnownDevice, Rule, StoredToken
from micromdm_py.protocol.dep.token import parse_token
from micromdm_py.protocol.jsonbody import Json
from micromdm_py.protocol.jsonreply import json_time
from micromdm_py.storage.transfer import MovedDocument

__all__ = ["dep_documents"]

TOKENS, CONFIG, RULES = "mdm.DEPToken", "mdm.DEPConfig", "mdm.DEPAutoAssign"
TOKEN_PREFIX = b"CK_"


def dep_documents(old: OldDatabase, inventory: Inventory, now: datetime) -> Iterator[MovedDocument]:
    """Everything of automated enrollment as documents; `now` is the time of whatever has none."""
    yield from _tokens(old)
    rule = ""
    for key, value in old.rows(RULES):
        with old.counted(RULES, key.decode("utf-8", "backslashreplace")):
            if key != b"*":
                raise ValueError("is a filter that the old server does not know")
            rule = value.decode()
            yield MovedDocument(kept.AUTOASSIGNER, DEFAULT_NAME, Rule(rule).body())
    about = old.about(CONFIG)
    about.left = sum(1 for _ in old.rows(CONFIG))
    about.why = "all devices are fetched again"
    for device in inventory.serial_only:
        with old.counted(DEVICES, device.uuid):
            if not device.serial_number:
                raise ValueError("has neither UDID nor serial number")
            named(device.serial_number, "the serial number")
            yield _device(device, rule, now)
    for device in inventory.devices.values():
        if device.serial_number and (device.dep_profile_status or device.dep_profile_uuid):
            try:
                named(device.serial_number)
            except ValueError as fault:
                old.about(DEVICES).lose(device.uuid, f"what Apple has told of it: {fault}")
                continue
            yield _device(device, rule, now)


def _tokens(old: OldDatabase) -> Iterator[MovedDocument]:
    rows = dict(old.rows(TOKENS))
    about = old.about(TOKENS)
    key, certificate = rows.pop(b"key", b""), rows.pop(b"certificate", b"")
    if key or certificate:
        try:
            yield _key_pair(key, certificate)
            about.imported += 2
        except ERRORS:
            about.lose("key", "the key pair cannot be read: upload a new public key to Apple's portal")
    used = rows.pop(b"last_added", b"")
    about.imported += bool(used)
    names = [name for name in rows if name.startswith(TOKEN_PREFIX)]
    current = used if used in names else next(iter(names), b"")
    for name, value in rows.items():
        with old.counted(TOKENS, ""):
            if name not in names:
                raise ValueError("is not known")
            try:
                token = parse_token(value)
            except MalformedField as fault:
                raise ValueError(str(fault)) from None
            is_current = name == current
            kind = kept.TOKEN if is_current else kept.OLD_TOKEN
            called = DEFAULT_NAME if is_current else token.consumer_key
            yield MovedDocument(kind, called, StoredToken(token).body())


def _key_pair(key: bytes, certificate: bytes) -> MovedDocument:
    private = load_der_private_key(key, None)
    found = x509.load_der_x509_certificate(certificate)
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return MovedDocument(
        kept.KEY, found.fingerprint(hashes.SHA256()).hex(), kept.write_key(certificate, pkcs8)
    )


def _device(device: OldDevice, rule: str, now: datetime) -> MovedDocument:
    """A device as Apple has told; one with another profile than the rule's keeps it, as before."""
    facts: dict[str, Json] = {
        "serial_number": device.serial_number,
        "model": device.model,
        "description": device.description,
        "color": device.color,
        "asset_tag": device.asset_tag,
        "profile_status": device.dep_profile_status,
        "profile_uuid": device.dep_profile_uuid,
        "profile_assign_time": _time(device.dep_profile_assign_time),
        "profile_push_time": _time(device.dep_profile_push_time),
        "device_assigned_date": _time(device.dep_profile_assigned_date),
        "device_assigned_by": device.dep_profile_assigned_by,
    }
    known = KnownDevice(DEFAULT_NAME, "", {name: value for name, value in facts.items() if value})
    if rule and known.profile_uuid not in ("", rule):
        at = time_of(device.dep_profile_assign_time) or now
        known = replace(known, by_hand=known.profile_uuid, by_hand_at=at)
    return MovedDocument(kept.DEVICE, device.serial_number, known.body())


def _time(nanoseconds: int) -> str:
    at = time_of(nanoseconds)
    return json_time(at) if at else ""
