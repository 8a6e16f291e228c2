"""Listing, blocking and removing devices for administrators."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from micromdm_py.protocol.dep.documents import KnownDevice
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import strings
from micromdm_py.protocol.jsonreply import json_reply, json_time
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.request import Tell, page_number, read_fields, tell_nobody
from micromdm_py.storage.base import Enrollments
from micromdm_py.storage.records import DeviceFilter, EnrollmentRecord

__all__ = ["Devices"]

Shown = Mapping[str, object]

logger = logging.getLogger(__name__)


class Devices:
    """What an administrator does with device records; replies are JSON documents in bytes."""

    def __init__(
        self,
        store: Enrollments,
        roster: Roster,
        now: Callable[[], datetime],
        first_sync: Callable[[], None] = lambda: None,
    ) -> None:
        """Work on `store`, and on the devices of `roster`, which need not have enrolled yet.

        Args:
            store: where device records are.
            roster: the devices that Apple has assigned to this server.
            now: current time, aware UTC.
            first_sync: waits for the first synchronization of the roster.
        """
        self._store, self._roster, self._now = store, roster, now
        self._first_sync = first_sync

    def list(self, body: bytes) -> bytes:
        """The device records that match the filter in the body.

        Args:
            body: JSON with `filter_serial`, `filter_udid` (any of these; if both are given, both must match),
                `page` (the first is 0) and `per_page` (0: all), at the top or inside `Opts`.
        Returns: the reply. Its list is sorted by id; devices that have not enrolled yet come last, by serial
            number. It is null when nothing matches, as MicroMDM has it.
        Raises: MalformedField.
        """
        found = read_fields(body)
        page, size = page_number(found, "page"), page_number(found, "per_page")
        filters = strings(found, "filter_serial"), strings(found, "filter_udid")
        if any(values and not any(values) for values in filters):
            return json_reply({"devices": None})  # nothing but empty texts, which match no device
        serials, udids = (tuple(filter(None, values)) for values in filters)
        _check_ids("filter_serial", serials)
        _check_ids("filter_udid", udids)
        wanted = DeviceFilter(serials, udids, page * size, size or None)
        self._first_sync()
        return json_reply({"devices": self._matching(wanted) or None})

    def _matching(self, wanted: DeviceFilter) -> Sequence[Shown]:
        if wanted.udids or self._roster.is_empty():
            return self._merged(self._store.devices(wanted))
        if wanted.limit and not wanted.serials:
            records = self._store.devices(wanted)
            if len(records) == wanted.limit:  # the page is full without those that have not enrolled
                return self._merged(records)
        records = self._store.devices(DeviceFilter(wanted.serials))
        if wanted.serials:
            known = {serial: one for serial in set(wanted.serials) if (one := self._roster.get(serial))}
        else:
            known = dict(self._roster.all())
        end = None if wanted.limit is None else wanted.offset + wanted.limit
        return self._merged(records, known)[wanted.offset : end]

    def _merged(
        self, records: Sequence[EnrollmentRecord], known: Mapping[str, KnownDevice] | None = None
    ) -> Sequence[Shown]:
        """Enrolled devices with what Apple says of them, then those of `known` that are not among them."""
        find = self._roster.get if known is None else known.get
        shown = [_shown(record, find(record.serial_number)) for record in records]
        if known:
            enrolled = {record.serial_number for record in records}
            waiting = (serial for serial in sorted(known) if known[serial].listed and serial not in enrolled)
            shown += [_not_enrolled(serial, known[serial]) for serial in waiting]
        return shown

    def remove(self, body: bytes, *, purge: bool, tell: Tell = tell_nobody) -> bytes:
        """Delete device records by id or serial number: all or none.

        Devices that have not enrolled are left out of lists until Apple mentions them again.

        Args:
            body: JSON with `udids` and `serials`, at the top or inside `Opts`.
            purge: also withdraw the queue and delete push data, binding and block.
            tell: learns the ids.
        Raises: MalformedField, NotFound.
        """
        found = read_fields(body)
        udids, serials = strings(found, "udids"), strings(found, "serials")
        _check_ids("udids", udids)
        _check_ids("serials", serials)
        ids = udids + serials
        tell(", ".join(ids))
        enrolled = self._enrolled(ids)
        known = [one for one in {*ids, *enrolled} if (device := self._roster.get(one)) and device.listed]
        named = [one for one in ids if one in enrolled or one not in known]
        self._store.remove_devices(named, purge=purge, at=self._now())
        self._roster.hide(known)
        logger.info("removed %d device records%s", len(ids), " with everything they had" if purge else "")
        return json_reply({})

    def _enrolled(self, ids: Sequence[str]) -> set[str]:
        """Ids and serial numbers of the device records that ids or serial numbers name."""
        if not ids or self._roster.is_empty():
            return set()
        filters = (DeviceFilter(udids=tuple(ids)), DeviceFilter(serials=tuple(ids)))
        records = [record for wanted in filters for record in self._store.devices(wanted)]
        return {name for record in records for name in (record.enrollment_id, record.serial_number)}

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


def _shown(record: EnrollmentRecord, known: KnownDevice | None) -> Shown:
    return {
        "serial_number": record.serial_number,
        "udid": record.udid or record.enrollment_id,  # a User Enrollment has no UDID
        "enrollment_status": record.enrolled,
        "last_seen": json_time(record.last_seen_at),
        "dep_profile_status": known.profile_status if known else record.dep_profile_status,
    }


def _not_enrolled(serial: str, known: KnownDevice) -> Shown:
    return {
        "serial_number": serial,
        "udid": "",
        "enrollment_status": False,
        "last_seen": json_time(None),
        "dep_profile_status": known.profile_status,
    }
