"""Listing, blocking and removing devices for administrators."""

import logging
from collections.abc import Callable
from datetime import datetime

from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import strings
from micromdm_py.protocol.jsonreply import json_reply, json_time
from micromdm_py.service.wrapped import number, options
from micromdm_py.storage.base import Enrollments
from micromdm_py.storage.records import DeviceFilter, EnrollmentRecord

__all__ = ["Devices"]

logger = logging.getLogger(__name__)


class Devices:
    """What an administrator does with device records; replies are JSON documents in bytes."""

    def __init__(self, store: Enrollments, now: Callable[[], datetime]) -> None:
        """Work on `store`."""
        self._store, self._now = store, now

    def list(self, body: bytes) -> bytes:
        """The device records that match the filter in the body.

        Args:
            body: JSON with `filter_serial`, `filter_udid` (any of; both must match when both are given),
                `page` (the first is 0) and `per_page` (0: all), at the top or inside `Opts`.
        Returns: the reply; its list is sorted by id, and null, as MicroMDM has it, when nothing matches.
        Raises: MalformedField.
        """
        found = options(body)
        page, size = number(found, "page"), number(found, "per_page")
        filters = strings(found, "filter_serial"), strings(found, "filter_udid")
        if any(values and not any(values) for values in filters):
            return json_reply({"devices": None})  # nothing but empty texts, which fit no device
        serials, udids = (tuple(filter(None, values)) for values in filters)
        _check_ids("filter_serial", serials)
        _check_ids("filter_udid", udids)
        wanted = DeviceFilter(serials, udids, page * size, size or None)
        listed = [_shown(record) for record in self._store.devices(wanted)]
        return json_reply({"devices": listed or None})

    def remove(self, body: bytes, *, purge: bool) -> bytes:
        """Delete device records by id or serial number: all or none.

        Args:
            body: JSON with `udids` and `serials`, at the top or inside `Opts`.
            purge: also withdraw the queue and delete push data, binding and block mark.
        Raises: MalformedField, NotFound.
        """
        found = options(body)
        udids, serials = strings(found, "udids"), strings(found, "serials")
        _check_ids("udids", udids)
        _check_ids("serials", serials)
        ids = udids + serials
        self._store.remove_devices(ids, purge=purge, at=self._now())
        logger.info("removed %d device records%s", len(ids), " with everything they had" if purge else "")
        return json_reply({})

    def block(self, udid: str) -> bytes:
        """Refuse the connects of a device from now on; it will drop its enrollment."""
        self._store.block(check_id("udid", udid), at=self._now())
        logger.info("blocked %s", udid)
        return json_reply({})

    def unblock(self, udid: str) -> bytes:
        """Lift a block. Raises: NotFound."""
        self._store.unblock(check_id("udid", udid))
        logger.info("unblocked %s", udid)
        return json_reply({})


def _check_ids(name: str, values: tuple[str, ...]) -> None:
    for position, value in enumerate(values):
        check_id(f"{name}[{position}]", value)


def _shown(record: EnrollmentRecord) -> dict[str, object]:
    return {
        "serial_number": record.serial_number,
        "udid": record.udid,
        "enrollment_status": record.enrolled,
        "last_seen": json_time(record.last_seen_at),
        "dep_profile_status": record.dep_profile_status,
    }
