"""Requests to the service and its answers, in the form that MicroMDM's clients know.

A field that MicroMDM always shows has Go's zero value if Apple leaves it out. Fields that MicroMDM does not
know are passed on in both directions, so that a profile that is fetched, edited and defined again loses none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.dep.faults import DepFault, Meaning
from micromdm_py.protocol.dep.token import read_time
from micromdm_py.protocol.jsonbody import Json, field
from micromdm_py.protocol.jsonreply import json_time

__all__ = [
    "MAX_SERIALS",
    "DevicePage",
    "account",
    "device",
    "devices_of",
    "page_of",
    "profile",
    "profile_request",
    "read_answer",
    "results_of",
]

MAX_SERIAL_CHARS = 64
MAX_SERIALS = 1000
"""Most serial numbers in one call, and most devices on one page."""

_PROFILE: Mapping[str, Any] = {
    "profile_name": "",
    "profile_uuid": None,
    "url": "",
    "allow_pairing": None,
    "is_supervised": None,
    "is_multi_user": None,
    "is_mandatory": None,
    "await_device_configured": None,
    "is_mdm_removable": False,
    "support_phone_number": None,
    "auto_advance_setup": None,
    "support_email_address": None,
    "org_magic": "",
    "anchor_certs": None,
    "supervising_host_certs": None,
    "skip_setup_items": None,
    "department": None,
    "devices": None,
    "language": None,
    "region": None,
    "configuration_web_url": None,
}
"""MicroMDM's fields in its order, with the zero values of those that are always shown (`devices`: null)."""

_FLAGS = ("allow_pairing", "await_device_configured", "auto_advance_setup")
_LISTS = ("anchor_certs", "supervising_host_certs", "skip_setup_items", "devices")

_DEVICE = ("serial_number", "model", "description", "color", "profile_status")
_TIMES = ("profile_assign_time", "profile_push_time", "device_assigned_date", "op_date")
_ACCOUNT = ("server_name", "server_uuid", "admin_id")
_ORGANIZATION = ("org_name", "org_email", "org_phone", "org_address", "org_id", "org_id_hash")


@dataclass(frozen=True, slots=True)
class DevicePage:
    """One answer of a fetch or a sync.

    Attributes:
        devices: Apple's descriptions, in the order of the changes.
        cursor: where the next call continues.
        more: whether there is another page now.
    """

    devices: tuple[Mapping[str, Json], ...]
    cursor: str
    more: bool


def read_answer(body: bytes) -> dict[str, Json]:
    """The JSON object of an answer. Raises: DepFault."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DepFault(200, "the answer is not a JSON object", Meaning.UNAVAILABLE)
    return found


def page_of(found: Mapping[str, Json]) -> DevicePage:
    """A page of devices; those without a serial number are left out. Raises: DepFault without a cursor."""
    cursor = found.get("cursor")
    if not isinstance(cursor, str) or not cursor:
        raise DepFault(200, "the answer has no cursor", Meaning.UNAVAILABLE)
    listed = [one for one in _list(found.get("devices")) if isinstance(one, dict) and _is_named(one)]
    listed.sort(key=_op_date)  # Apple promises no order, and a device may be listed more than once
    return DevicePage(tuple(listed), cursor, found.get("more_to_follow") is True)


def device(found: Mapping[str, Json]) -> dict[str, Json]:
    """A device in MicroMDM's form."""
    shaped: dict[str, Json] = {name: _text(found, name) for name in _DEVICE}
    shaped |= {name: json_time(read_time(_text(found, name))) for name in _TIMES}
    return shaped | {name: value for name, value in found.items() if name not in shaped and _is_set(value)}


def devices_of(found: Mapping[str, Json]) -> dict[str, Json]:
    """The devices in the answer of a details call, in MicroMDM's form, by serial number."""
    listed = found.get("devices")
    items = listed.items() if isinstance(listed, dict) else ()
    return {serial: device(one) for serial, one in items if isinstance(one, dict)}


def results_of(found: Mapping[str, Json]) -> dict[str, str]:
    """The result by serial number: SUCCESS, NOT_ACCESSIBLE, FAILED or another word of Apple's."""
    listed = found.get("devices")
    items = listed.items() if isinstance(listed, dict) else ()
    return {serial: result for serial, result in items if isinstance(result, str)}


def profile(found: Mapping[str, Json]) -> dict[str, Json]:
    """A profile in MicroMDM's form."""
    shaped: dict[str, Json] = {}
    for name, default in _PROFILE.items():
        value = found.get(name)
        if _is_set(value):
            shaped[name] = value
        elif default is not None or name == "devices":
            shaped[name] = default
    return shaped | {name: value for name, value in found.items() if name not in _PROFILE and _is_set(value)}


def profile_request(found: Mapping[str, Json]) -> dict[str, Json]:
    """A caller's profile in Apple's form: known fields are checked, others are passed on unchanged.

    Raises: MalformedField.
    """
    known = {name.lower() for name in _PROFILE}
    request: dict[str, Json] = {name: value for name, value in found.items() if name.lower() not in known}
    for name, default in _PROFILE.items():
        kind = bool if name.startswith("is_") or name in _FLAGS else list if name in _LISTS else str
        value = field(found, name, kind)
        if kind is list and not all(isinstance(one, str) for one in value or ()):  # type: ignore[attr-defined]
            raise MalformedField(name, "must be an array of strings")
        if value is None:
            value = [] if name == "devices" else default
        if value is not None:
            request[name] = value
    return request


def account(found: Mapping[str, Json]) -> dict[str, Json]:
    """An account in MicroMDM's form."""
    shaped: dict[str, Json] = {name: _text(found, name) for name in _ACCOUNT}
    if facilitator := _text(found, "facilitator_id"):
        shaped["facilitator_id"] = facilitator
    shaped |= {name: _text(found, name) for name in _ORGANIZATION}
    urls = [_url(one) for one in _list(found.get("urls")) if isinstance(one, dict)]
    shaped |= {
        "urls": urls or None,
        "org_type": _text(found, "org_type"),
        "org_version": _text(found, "org_version"),
    }
    return shaped | {name: value for name, value in found.items() if name not in shaped and _is_set(value)}


def _url(found: Mapping[str, Json]) -> dict[str, Json]:
    limit = found.get("limit")
    numbers = limit if isinstance(limit, dict) else {}
    return {
        "uri": _text(found, "uri"),
        "http_method": found.get("http_method"),
        "limit": {name: _number(numbers.get(name)) for name in ("default", "maximum")},
    }


def _is_named(found: Mapping[str, Json]) -> bool:
    serial = _text(found, "serial_number")
    return 0 < len(serial) <= MAX_SERIAL_CHARS and serial.isprintable()


def _op_date(found: Mapping[str, Json]) -> float:
    at: datetime | None = read_time(_text(found, "op_date"))
    return at.timestamp() if at else 0.0


def _text(found: Mapping[str, Json], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _is_set(value: Json) -> bool:
    return value not in (None, "", [], {})
