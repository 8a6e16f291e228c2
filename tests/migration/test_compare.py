"""Two servers side by side: every difference that counts is found, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from micromdm_py.migration.compare import Summary, differences, summarize
from micromdm_py.migration.micromdm import content
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.lifecycle import CommandState
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule, Identity, PushCertificate
from micromdm_py.storage.transfer import (
    Moved,
    MovedAuthority,
    MovedCertificate,
    MovedCommand,
    MovedDocument,
    MovedEnrollment,
)
from tests.builders import NOW, Device, command, device
from tests.migration.samples import SAMPLE, expected

MAC = "DD59209E-AB89-4C13-8679-0139C8EA7C5C"
PIN = Identity(bytes.fromhex(expected()["buckets"]["mdm.UDIDCertAuth"][MAC]), BindingRule())
Change = Callable[[Moved], Moved | None]


@pytest.fixture(scope="module")
def old() -> list[Moved]:
    with OldDatabase(SAMPLE, report := Report("")) as database:
        return list(content(database, report, NOW))


def moved(old: list[Moved]) -> MemoryStore:
    store = MemoryStore()
    store.load(old, at=NOW)
    return store


def of_mac(**changes: object) -> Change:
    """Change the record of one device."""

    def change(one: Moved) -> Moved:
        if isinstance(one, MovedEnrollment) and one.record.enrollment_id == MAC:
            return replace(one, record=replace(one.record, **changes))  # type: ignore[arg-type]
        return one

    return change


def without(kind: type, keep: Callable[[Moved], bool] = lambda _: False) -> Change:
    return lambda one: None if isinstance(one, kind) and not keep(one) else one


def found(old: list[Moved], change: Change) -> list[str]:
    new = [after for one in old if (after := change(one)) is not None]
    return list(differences(summarize(old), summarize(moved(new).content())))


def test_a_move_makes_no_difference(old: list[Moved]) -> None:
    assert found(old, lambda one: one) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (of_mac(fingerprint=b"x" * 32), f"{MAC}: is bound to another certificate"),
        (of_mac(blocked=True), f"{MAC}: was not blocked, and is now"),
        (of_mac(kind=None), f"{MAC}: was a device, is a queue only"),
        (of_mac(enrollment_id="other"), f"{MAC}: is not in the store"),
        (without(MovedAuthority), "the SCEP authority is another one"),
        (without(MovedCertificate), "9 certificates that the old server has issued are missing"),
        (without(PushCertificate), "the push certificate of com.apple.mgmt.External"),
        (
            without(MovedDocument, lambda one: getattr(one, "kind", "") != "profile"),
            "profile com.example.big is missing",
        ),
        (
            without(MovedDocument, lambda one: getattr(one, "kind", "") != "dep-token"),
            "dep token default is missing",
        ),
    ],
)
def test_differences_are_found(old: list[Moved], change: Change, line: str) -> None:
    assert any(one.startswith(line) for one in found(old, change))


def test_a_serial_number_that_went_back_is_found(old: list[Moved]) -> None:
    def change(one: Moved) -> Moved:
        return replace(one, next_serial=2) if isinstance(one, MovedAuthority) else one

    assert [line[:30] for line in found(old, change)] == ["the next serial number is 2, t"]


def test_queues_are_compared_until_a_device_has_come(old: list[Moved]) -> None:
    later = [MovedCommand(command("later"), CommandState.PENDING, NOW)]

    def change(one: Moved) -> Moved:
        is_mac = isinstance(one, MovedEnrollment) and one.record.enrollment_id == MAC
        return (
            replace(one, commands=(*one.commands, *later))
            if is_mac and isinstance(one, MovedEnrollment)
            else one
        )

    (line,) = found(old, change)
    assert line == f"{MAC}: had 3 commands waiting, has 4"
    store = moved([change(one) for one in old])
    mac = Device(store, device(MAC), PIN)
    mac.clock.move(3600)
    mac.run("Acknowledged")
    new = summarize(store.content())
    assert list(differences(summarize(old), new)) == []
    assert new.seen == 1
    assert MAC not in new.awaited
    assert len(new.awaited) == 8


def test_a_database_has_been_seen_by_nobody(old: list[Moved]) -> None:
    assert summarize(old).seen == 0
    assert Summary().awaited == []
