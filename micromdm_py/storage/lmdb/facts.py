"""What devices say about themselves: facts, with an index for searches, and their latest answers."""

from micromdm_py.protocol.report import DEVICE_INFORMATION, KEPT_ANSWERS, Report
from micromdm_py.storage.lmdb.base import Part
from micromdm_py.storage.lmdb.tables import Fields, from_ms, text_key, u64, unu64
from micromdm_py.storage.lmdb.transactions import Txn, rows
from micromdm_py.storage.records import SEARCHED, Answer, folded
from micromdm_py.storage.targets import plain_imei

__all__ = ["IMEI", "SHORT_NAME", "FactPart", "fact_prefix", "facts_of"]

IMEI, SHORT_NAME = "imei", "user_short_name"
"""Names in the index, besides those of `SEARCHED`."""

MAX_VALUE_BYTES = 200
"""How much of a fact is in the index; a longer search looks for as much, then at the record."""


class FactPart(Part):
    """What connect and check-in do with facts."""

    def _index_facts(self, txn: Txn, number: int, old: dict[str, str], new: dict[str, str]) -> None:
        """Keep the indexes in step with facts that are about to change."""
        before, after = old.get("serial_number", ""), new.get("serial_number", "")
        if before and before != after:
            txn.delete(text_key(before, number), db=self._t.serial)
        if after:
            txn.put(text_key(after, number), b"", db=self._t.serial)
        for name in SEARCHED:
            self._index_fact(txn, number, name, old.get(name), new.get(name))
        self._index_fact(
            txn, number, IMEI, *(plain_imei(facts.get(IMEI, "")) or None for facts in (old, new))
        )

    def _index_fact(self, txn: Txn, number: int, name: str, old: str | None, new: str | None) -> None:
        if old == new:
            return
        if old is not None:
            txn.delete(_key(name, old, number), db=self._t.fact)
        if new is not None:
            txn.put(_key(name, new, number), b"", db=self._t.fact)

    def _learn(self, txn: Txn, number: int, request_type: str, report: Report, at_ms: int) -> None:
        """Keep an answer that says what a device is like, and the facts in it."""
        if request_type not in KEPT_ANSWERS:
            return
        txn.put(u64(number) + request_type.encode(), u64(at_ms) + report.raw, db=self._t.answer)
        if request_type != DEVICE_INFORMATION or report.enrollment.kind.is_user_channel:
            return
        fields = self._fields(txn, number)
        old = facts_of(fields)
        new = {**old, **report.facts}
        if new != old:
            self._index_facts(txn, number, old, new)
            fields["facts"] = new
            self._put_fields(txn, number, fields)

    def _forget_answers(self, txn: Txn, number: int) -> None:
        for request_type in KEPT_ANSWERS:
            txn.delete(u64(number) + request_type.encode(), db=self._t.answer)

    def answers(self, api_id: str) -> list[Answer]:
        """See `storage.base.Enrollments`."""
        with self._env.read() as txn:
            _, number = self._known(txn, api_id)
            return [
                Answer(key[8:].decode(), from_ms(unu64(row)), row[8:])
                for key, row in rows(txn, self._t.answer, u64(number))
            ]


def facts_of(fields: Fields) -> dict[str, str]:
    """The facts among the fields of an enrollment."""
    facts = fields.get("facts")
    return facts if isinstance(facts, dict) else {}


def fact_prefix(name: str, start: str) -> bytes:
    """How the index keys of facts begin whose values begin with `start`."""
    return name.encode() + b"\0" + _folded(start)


def _key(name: str, value: str, number: int) -> bytes:
    return fact_prefix(name, value) + b"\0" + u64(number)


def _folded(text: str) -> bytes:
    return folded(text).encode("utf-8", "replace")[:MAX_VALUE_BYTES]
