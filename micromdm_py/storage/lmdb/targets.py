"""Finding an enrollment by whatever name an administrator has for it."""

from micromdm_py.storage.lmdb.enrollments import EnrollmentPart
from micromdm_py.storage.lmdb.facts import IMEI, SHORT_NAME, fact_prefix
from micromdm_py.storage.lmdb.transactions import Txn
from micromdm_py.storage.records import EnrollmentRecord
from micromdm_py.storage.targets import choose_target, plain_imei

__all__ = ["TargetPart"]


class TargetPart(EnrollmentPart):
    """Implements `storage.base.CommandHistory.find_target`."""

    def find_target(self, name: str, *, user: bool) -> EnrollmentRecord:
        """See `storage.base.CommandHistory`."""
        with self._env.read() as txn:
            records = [self._record(txn, number) for number in sorted(self._numbers_named(txn, name, user))]
        return choose_target(name, records, user=user)

    def _numbers_named(self, txn: Txn, name: str, user: bool) -> set[int]:
        """Numbers of enrollments that may be meant, too many rather than too few."""
        found = {self._number(txn, name)}
        if len(name) == 24 and set(name.lower()) <= set("0123456789abcdef"):
            found.add(int(name[8:], 16))
        if user:
            found |= {*self._numbers(txn, self._t.user, name), *self._with_fact(txn, SHORT_NAME, name)}
        else:
            found |= {
                *self._numbers(txn, self._t.serial, name),
                *self._with_fact(txn, IMEI, plain_imei(name)),
            }
        return {number for number in found if number is not None and self._fields(txn, number)}

    def _with_fact(self, txn: Txn, name: str, value: str) -> list[int]:
        return self._numbers_at(txn, self._t.fact, fact_prefix(name, value) + b"\0")
