"""No cost grows with the number of commands there have been, nor with the number that wait.

Counted are the calls into LMDB and the rows that change, not time.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import pytest

from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.records import CommandFilter
from tests.builders import NOW, Device, command, event, report
from tests.storage.observing import contents

MANY = 600

Operation = Callable[[LmdbStore, Device], object]


def connect(status: str, uuid: str = "") -> Operation:
    return lambda store, phone: store.record_report(
        report(phone.ref, status, uuid), phone.who, event("e"), at=NOW
    )


OPERATIONS: dict[str, Operation] = {
    "enqueue": lambda store, phone: store.enqueue(phone.id, command("another"), at=NOW),
    "Idle": connect("Idle"),
    "Acknowledged": connect("Acknowledged", "head"),
    "NotNow": connect("NotNow", "head"),
    "answer to nothing": connect("Acknowledged", "nobody's"),
    "late answer": connect("Acknowledged", "old"),
    "cancel": lambda store, phone: store.cancel(phone.id, "head", at=NOW),
    "page of records": lambda store, phone: store.commands(phone.id, CommandFilter(limit=2)),
    "forget": lambda store, phone: store.forget_commands(before=NOW + timedelta(days=1), limit=1),
    "expire": lambda store, phone: store.expire_commands(at=NOW, limit=1),
    "record by uuid": lambda store, phone: store.command(phone.id, "head"),
    "idle without a write": lambda store, phone: store.nothing_to_do(
        report(phone.ref, "Idle"), phone.who, at=NOW
    ),
}


@dataclass(frozen=True)
class Cost:
    calls: int
    rows: int


def cost(store: LmdbStore, phone: Device, operation: Operation) -> Cost:
    calls = 0

    def count(frame: FrameType, what: str, function: object) -> None:
        nonlocal calls
        owner = type(getattr(function, "__self__", None))
        calls += what == "c_call" and owner.__name__ in ("Cursor", "Transaction", "_Database", "Environment")

    before = contents(store)
    sys.setprofile(count)
    try:
        operation(store, phone)
    finally:
        sys.setprofile(None)
    after = contents(store)
    changed = sum(len(set(rows(before, name)) ^ set(rows(after, name))) for name in after)
    return Cost(calls, changed)


def rows(tables: dict[str, object], name: str) -> list[tuple[bytes, bytes]]:
    found = tables[name]
    assert isinstance(found, list)
    return found


def prepared(store: LmdbStore, udid: str, past: int, waiting: int, refused: int) -> Device:
    """A device with commands of the past, one handed out, and others that wait."""
    phone = Device(store, udid).enrolls()
    phone.queue("old")
    phone.run("Acknowledged")
    for _ in range(past):
        phone.queue("same")
        phone.run("Acknowledged")
    phone.queue(*["refused"] * refused)
    phone.run(*["NotNow"] * refused)
    phone.queue("head")
    assert phone.says("Later") == "head"
    phone.queue("next", *["waits"] * waiting)
    return phone


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_cost_does_not_grow(lmdb: LmdbStore, operation: Operation) -> None:
    one = cost(lmdb, prepared(lmdb, "UDID-1", 1, 1, 1), operation)
    many = cost(lmdb, prepared(lmdb, "UDID-2", MANY // 4, MANY, MANY // 4), operation)
    assert one.calls > 0
    assert many == one


def test_meter_sees_a_cost_that_grows(lmdb: LmdbStore) -> None:
    few, many = (prepared(lmdb, f"UDID-{waiting}", 1, waiting, 1) for waiting in (1, 50))
    assert cost(lmdb, many, listing).calls > cost(lmdb, few, listing).calls + 50
    assert cost(lmdb, many, clearing).rows > cost(lmdb, few, clearing).rows + 50


def listing(store: LmdbStore, phone: Device) -> object:
    return store.waiting(phone.id)


def clearing(store: LmdbStore, phone: Device) -> object:
    return store.clear(phone.id, at=NOW)
