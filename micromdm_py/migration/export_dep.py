"""Automated enrollment of a store as rows of MicroMDM's database."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from micromdm_py.migration.messages import NEVER, OldDevice
from micromdm_py.migration.report import Report
from micromdm_py.migration.rows import Rows
from micromdm_py.protocol.dep import documents as kept
from micromdm_py.protocol.dep.documents import DEFAULT_NAME, KnownDevice, Rule, StoredToken, read_key
from micromdm_py.protocol.dep.token import read_time
from micromdm_py.storage.transfer import MovedDocument

__all__ = ["DepExport"]

TOKENS, RULES = "mdm.DEPToken", "mdm.DEPAutoAssign"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FACTS = ("model", "description", "color", "asset_tag")


class DepExport:
    """Takes documents of automated enrollment; the old server has one key pair, one used token, one rule."""

    def __init__(self, rows: Rows, report: Report) -> None:
        """Write into `rows`; what does not fit is lost in `report`."""
        self._rows, self._report = rows, report
        self._pairs: list[tuple[datetime, bytes, bytes]] = []
        self._devices: dict[str, KnownDevice] = {}

    def add(self, one: MovedDocument) -> None:
        """Take a document; those of other kinds count for nothing here."""
        if one.kind == kept.KEY:
            certificate, key = read_key(one.body)
            began = x509.load_der_x509_certificate(certificate).not_valid_before_utc
            self._pairs.append((began, certificate, key))
        elif one.kind in (kept.TOKEN, kept.OLD_TOKEN):
            self._add_token(one)
        elif one.kind == kept.AUTOASSIGNER and self._is_default(one, RULES):
            self._rows.put(RULES, "*", Rule.of(one.body).profile_uuid.encode())
        elif one.kind == kept.DEVICE:
            self._devices[one.name] = KnownDevice.of(one.body)

    def _add_token(self, one: MovedDocument) -> None:
        token = StoredToken.of(one.body)
        name = token.token.consumer_key
        if one.kind == kept.TOKEN:
            if not self._is_default(one, TOKENS):
                return
            self._rows.put(TOKENS, "last_added", name.encode())
        self._rows.put(TOKENS, name, json.dumps(token.fields(), separators=(",", ":")).encode())

    def _is_default(self, one: MovedDocument, bucket: str) -> bool:
        if one.name != DEFAULT_NAME:
            self._report.bucket(bucket).lose(one.name, "the old server has one token only")
        return one.name == DEFAULT_NAME

    def finish(self, devices: dict[str, OldDevice], make_uuid: Callable[[str, str], str]) -> None:
        """Write the newest key pair, and what Apple has told into the device records.

        Args:
            devices: records by UDID; those that Apple knows are replaced, those without UDID are added under
                their serial number.
            make_uuid: gives the private key of a new record.
        """
        if self._pairs:
            _, certificate, key = max(self._pairs)
            private = load_der_private_key(key, None)
            pkcs1 = private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            self._rows.put(TOKENS, "key", pkcs1)
            self._rows.put(TOKENS, "certificate", certificate)
        for udid, device in devices.items():
            known = self._devices.pop(device.serial_number, None)
            if known is not None:
                devices[udid] = _told(device, known)
        for serial, known in self._devices.items():
            if known.listed:
                new = OldDevice(make_uuid("serial", serial), serial_number=serial)
                devices[serial] = _told(new, known)


def _told(device: OldDevice, known: KnownDevice) -> OldDevice:
    """A record with what Apple says; what the device itself says comes first."""
    facts = {name: str(known.facts.get(name) or "") for name in known.facts}
    changes: dict[str, Any] = {name: getattr(device, name) or facts.get(name, "") for name in _FACTS}
    return dataclasses.replace(
        device,
        **changes,
        dep_profile_status=known.profile_status,
        dep_profile_uuid=known.profile_uuid,
        dep_profile_assign_time=_nanoseconds(facts.get("profile_assign_time", "")),
        dep_profile_push_time=_nanoseconds(facts.get("profile_push_time", ""), unset=0),
        dep_profile_assigned_date=_nanoseconds(facts.get("device_assigned_date", "")),
        dep_profile_assigned_by=facts.get("device_assigned_by", ""),
    )


def _nanoseconds(text: str, unset: int = NEVER) -> int:
    at = read_time(text)
    return (at - _EPOCH) // datetime.resolution * 1000 if at else unset
