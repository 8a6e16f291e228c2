"""Searching devices, and the last answers that are kept with them."""

import plistlib
from datetime import timedelta

import pytest

from micromdm_py.errors import MalformedField, NotFound
from micromdm_py.protocol.report import Report, parse_report
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import DeviceSearch
from tests.builders import NOW, Device, command


def enrol(store: Store, udid: str, **facts: str) -> Device:
    made = Device(store, udid)
    made.enrolls(**{"serial_number": f"S-{udid}", **facts})
    return made


def found(store: Store, limit: int = 100, **starts: str) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    cursor = ""
    while True:
        page = store.search_devices(DeviceSearch(starts, cursor=cursor, limit=limit))
        assert len(page.devices) <= limit
        ids += [one.enrollment_id for one in page.devices]
        if not (cursor := page.next):
            return ids


def answer(device: Device, uuid: str, responses: dict[str, object]) -> Report:
    message = {"UDID": device.id, "Status": "Acknowledged", "CommandUUID": uuid, "QueryResponses": responses}
    return parse_report(message, plistlib.dumps(message))


def tell(
    device: Device, request_type: str, responses: dict[str, object], status: str = "Acknowledged"
) -> bytes:
    """Have a command of a type queued, handed out and answered; returns the raw report."""
    store, uuid = device.store, f"{request_type} {device.clock()}"
    store.enqueue(device.id, command(uuid, request_type), at=device.clock.move(1))
    while device.says("Idle") != uuid:
        pass
    report = answer(device, uuid, responses)
    store.record_report(report, device.who, None, at=device.clock.move(1))
    return report.raw


def test_search_goes_by_the_beginning_of_facts_in_any_letter_case(store: Store) -> None:
    enrol(store, "A", serial_number="C02XX", model="Mac14,2", os_version="14.1")
    enrol(store, "B", serial_number="c02ab", model="Mac14,7", os_version="14.2")
    enrol(store, "C", serial_number="F9", model="iPhone15,2", os_version="17.0")
    assert found(store, serial_number="C02") == ["B", "A"]
    assert found(store, serial_number="c02XX") == ["A"]
    assert found(store, model="mac14") == ["A", "B"]
    assert found(store, model="mac14", os_version="14.2") == ["B"]
    assert found(store, os_version="1", serial_number="") == ["B", "A", "C"]
    assert found(store, device_name="nobody") == []
    assert found(store, serial_number="C02XX" + "X" * 300) == []


def test_search_without_facts_goes_by_first_mention_and_in_pages(store: Store) -> None:
    for udid in ("C", "A", "B", "E", "D"):
        enrol(store, udid)
    store.enqueue("only-queued", command("c"), at=NOW)
    assert found(store, limit=2) == ["C", "A", "B", "E", "D"]
    assert found(store, limit=2, serial_number="S-") == ["A", "B", "C", "D", "E"]


def test_search_by_state_and_time(store: Store) -> None:
    enrol(store, "A")
    enrol(store, "B")
    store.block("B", at=NOW)
    enrol(store, "C").checks_out()
    late = enrol(store, "D")
    late.clock.move(3600)
    late.says("Idle")

    def ids(**wanted: object) -> list[str]:
        return [one.enrollment_id for one in store.search_devices(DeviceSearch(**wanted)).devices]  # type: ignore[arg-type]  # its fields

    assert ids(enrolled=True) == ["A", "B", "D"]
    assert ids(enrolled=False) == ["C"]
    assert ids(blocked=True) == ["B"]
    assert ids(seen_after=NOW + timedelta(minutes=30)) == ["D"]
    assert ids(seen_before=NOW + timedelta(minutes=30)) == ["A", "B", "C"]


@pytest.mark.parametrize("cursor", ["x", "zz", "-"])
def test_cursor_of_somebody_else_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(MalformedField, match="cursor: "):
        store.search_devices(DeviceSearch(cursor=cursor))


def test_what_a_device_tells_later_is_found_and_replaces_what_it_told(store: Store) -> None:
    phone = enrol(store, "A", device_name="old", os_version="17.0")
    tell(
        phone, "DeviceInformation", {"DeviceName": "Kiosk 7", "OSVersion": "17.1", "Wired": True, "Model": 7}
    )
    assert found(store, device_name="kiosk") == ["A"]
    assert found(store, device_name="old") == []
    assert store.enrollment("A").facts["os_version"] == "17.1"
    assert store.enrollment("A").facts["serial_number"] == "S-A"
    tell(phone, "SecurityInfo", {"DeviceName": "not this one"})
    assert found(store, device_name="Kiosk") == ["A"]
    phone.enrolls(serial_number="S-A", device_name="fresh")
    assert found(store, device_name="kiosk") == []
    assert found(store, device_name="fresh") == ["A"]


def test_removed_device_is_not_found(store: Store) -> None:
    phone = enrol(store, "A", model="Mac")
    tell(phone, "DeviceInformation", {"DeviceName": "n"})
    store.remove_devices(["A"], purge=False, at=NOW)
    assert found(store) == found(store, model="Mac") == found(store, device_name="n") == []
    assert store.answers("A") == []


def test_last_acknowledged_answers_are_kept(store: Store) -> None:
    phone = enrol(store, "A")
    assert store.answers("A") == []
    tell(phone, "SecurityInfo", {"x": 1})
    newest = tell(phone, "SecurityInfo", {"x": 2})
    tell(phone, "RestartDevice", {})
    kept = tell(phone, "CertificateList", {"y": 1})
    assert [(one.request_type, one.report) for one in store.answers("A")] == [
        ("CertificateList", kept),
        ("SecurityInfo", newest),
    ]
    with pytest.raises(NotFound):
        store.answers("nobody")


def test_refused_and_failed_answers_are_not_kept(store: Store) -> None:
    phone = enrol(store, "A")
    store.enqueue("A", command("u", "SecurityInfo"), at=NOW)
    assert phone.says("Idle") == "u"
    for status in ("NotNow", "Error"):
        phone.says(status, "u")
    assert store.answers("A") == []


def test_devices_that_do_not_fit_do_not_make_a_page_endless(store: Store) -> None:
    for number in range(12):
        enrol(store, f"U{number:02}", model="Mac" if number % 4 else "iPad")
    page = store.search_devices(DeviceSearch({"serial_number": "S-", "model": "iPad"}, limit=2))
    assert [one.enrollment_id for one in page.devices] == ["U00", "U04"]
    rest = store.search_devices(DeviceSearch({"serial_number": "S-", "model": "iPad"}, cursor=page.next))
    assert [one.enrollment_id for one in rest.devices] == ["U08"]
    assert rest.next == ""
