"""Searching and counting devices."""

from datetime import datetime

from micromdm_py.errors import MalformedField
from micromdm_py.storage.lmdb.enrollments import EnrollmentPart
from micromdm_py.storage.lmdb.facts import fact_prefix
from micromdm_py.storage.lmdb.pushbook import has_dead_token
from micromdm_py.storage.lmdb.tables import BLOCKED, ENROLLED, LISTED, ms, unu64
from micromdm_py.storage.lmdb.transactions import Cursor, Txn
from micromdm_py.storage.records import SEARCHED, DevicePage, DeviceSearch, EnrollmentRecord, Fleet

__all__ = ["SearchPart"]

MAX_LOOKED_AT = 5000
"""Most devices read for one page: a search that few of many match is answered in several pages."""


class SearchPart(EnrollmentPart):
    """Implements `storage.base.Enrollments.search_devices`."""

    def search_devices(self, search: DeviceSearch) -> DevicePage:
        """See `storage.base.Enrollments`."""
        try:
            begin = bytes.fromhex(search.cursor)
        except ValueError:
            raise MalformedField("cursor", "must be the `next` of an earlier page") from None
        name = next((name for name in SEARCHED if name in search.starts), None)
        with self._env.read() as txn:
            if name is None:
                return self._found(txn, txn.cursor(self._t.enrollment), b"", begin, search)
            prefix = fact_prefix(name, search.starts[name])
            return self._found(txn, txn.cursor(self._t.fact), prefix, begin, search)

    def fleet(self, *, since: datetime) -> Fleet:
        """See `storage.base.Enrollments`."""
        counts = dict.fromkeys(("devices", "enrolled", "blocked", "seen", "waiting", "unreachable"), 0)
        with self._env.read() as txn:
            for number in range(1, self._env.number(txn, b"enrollment") + 1):
                contact = self._contact(txn, number)
                if not contact.has(LISTED):
                    continue
                counts["devices"] += 1
                counts["enrolled"] += contact.has(ENROLLED)
                counts["blocked"] += contact.has(BLOCKED)
                counts["seen"] += contact.seen_ms >= ms(since)
                counts["waiting"] += self._head(txn, number) is not None
                counts["unreachable"] += has_dead_token(self._t, txn, number)
        return Fleet(**counts)

    def _found(
        self, txn: Txn, cursor: Cursor, prefix: bytes, begin: bytes, search: DeviceSearch
    ) -> DevicePage:
        """The devices that match, along an index whose keys end with the number of the enrollment."""
        found: list[EnrollmentRecord] = []
        looked_at = 0
        last = b""
        more = cursor.set_range(max(prefix, begin + b"\0" if begin else b""))
        while more and (key := cursor.key()).startswith(prefix):
            if len(found) == search.limit or looked_at == MAX_LOOKED_AT:
                return DevicePage(found, last.hex())
            looked_at, last = looked_at + 1, key
            record = self._record(txn, unu64(key[-8:]))
            if search.fits(record):
                found.append(record)
            more = cursor.next()
        return DevicePage(found)
