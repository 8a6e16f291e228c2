"""/v1/devices over HTTP; what filters and removal mean is tested with the service."""

import pytest

from tests.builders import Device
from tests.http.bench import Bench, Unreadable

ALL = ["A", "B"]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for letter in ALL:
        Device(bench.store, letter).enrolls(serial_number=f"S-{letter}")
    return bench


def udids(bench: Bench, body: bytes = b"{}", **how: object) -> list[str]:
    answer = bench.ask("POST", "/v1/devices", body, **how)  # type: ignore[arg-type]  # passed on
    assert answer.status == 200
    return [one["udid"] for one in answer.json()["devices"] or []]


def test_the_list_comes_by_post_in_any_framing(bench: Bench) -> None:
    assert udids(bench) == ALL
    assert udids(bench, b'{"filter_serial": ["S-B"]}', chunked=True) == ["B"]
    assert udids(bench, content_type="application/x-www-form-urlencoded") == ALL
    assert udids(bench, b'{"filter_serial": ["NOPE"]}') == []


def test_no_body_is_an_error_not_everything(bench: Bench) -> None:
    assert bench.ask("POST", "/v1/devices").error.startswith("body: ")
    assert bench.ask("POST", "/v1/devices").status == 400


def test_a_device_is_removed_by_a_delete_with_a_body(bench: Bench) -> None:
    for chunked, serial in ((True, b"S-A"), (False, b"S-B")):
        body = b'{"Opts": {"udids": null, "serials": ["%s"]}}' % serial
        answer = bench.ask("DELETE", "/v1/devices", body, chunked=chunked)
        assert (answer.status, answer.body) == (200, b"{}\n")
    assert udids(bench) == []


def test_an_unknown_device_is_404_and_nothing_is_removed(bench: Bench) -> None:
    answer = bench.ask("DELETE", "/v1/devices", b'{"udids": ["A", "NOPE"]}')
    assert (answer.status, answer.error) == (404, "not found: Device key NOPE")
    assert udids(bench) == ALL


def test_purging_is_asked_for_by_query(bench: Bench) -> None:
    device = Device(bench.store, "A")
    device.queue("one")
    assert bench.ask("DELETE", "/v1/devices?purge=true", b'{"udids": ["A"]}').status == 200
    assert device.waiting() == []
    assert bench.ask("GET", "/v1/audit").json()["entries"][0]["target"] == "A"
    assert bench.ask("DELETE", "/v1/devices?purge=x", b'{"udids": ["B"]}').error.startswith("purge: ")
    assert udids(bench) == ["B"]


def test_blocking_and_unblocking_need_no_body(bench: Bench) -> None:
    for _ in range(2):
        answer = bench.ask("POST", "/v1/devices/NEW/block", source=Unreadable())
        assert (answer.status, answer.body) == (200, b"{}\n")
    assert bench.ask("POST", "/v1/devices/NEW/unblock").status == 200
    again = bench.ask("POST", "/v1/devices/NEW/unblock")
    assert (again.status, again.error) == (404, "delete device with udid NEW: not found: Device udid NEW")


@pytest.mark.parametrize("udid", ["%00", "%FE", "x" * 256])
def test_an_id_that_cannot_be_is_400(bench: Bench, udid: str) -> None:
    for act in ("block", "unblock"):
        answer = bench.ask("POST", f"/v1/devices/{udid}/{act}")
        assert answer.status == 400
        assert answer.error.startswith("udid: ")
