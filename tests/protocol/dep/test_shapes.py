"""Answers of the service in the shapes of MicroMDM."""

import json
from typing import Any

import pytest

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.dep import shapes
from micromdm_py.protocol.dep.faults import DepFault

ZERO = "0001-01-01T00:00:00Z"


def test_a_device_has_the_fields_that_clients_expect() -> None:
    assert shapes.device(
        {"serial_number": "S", "response_status": "NOT_ACCESSIBLE", "os": "", "color": None}
    ) == {
        "serial_number": "S",
        "model": "",
        "description": "",
        "color": "",
        "profile_status": "",
        "profile_assign_time": ZERO,
        "profile_push_time": ZERO,
        "device_assigned_date": ZERO,
        "op_date": ZERO,
        "response_status": "NOT_ACCESSIBLE",
    }


def test_a_profile_keeps_what_was_said_and_what_is_new() -> None:
    found = {
        "profile_uuid": "p",
        "allow_pairing": False,
        "department": "",
        "newer": 1,
        "skip_setup_items": [],
    }
    assert shapes.profile(found) == {
        "profile_name": "",
        "profile_uuid": "p",
        "url": "",
        "allow_pairing": False,
        "is_mdm_removable": False,
        "org_magic": "",
        "devices": None,
        "newer": 1,
    }


def test_a_profile_is_sent_as_it_was_given() -> None:
    given = {"Profile_Name": "x", "URL": "https://x.example.com", "allow_pairing": False, "newer": {"a": 1}}
    assert shapes.profile_request(given) == {
        "newer": {"a": 1},
        "profile_name": "x",
        "url": "https://x.example.com",
        "allow_pairing": False,
        "is_mdm_removable": False,
        "org_magic": "",
        "devices": [],
    }


@pytest.mark.parametrize(
    "given",
    [{"url": 1}, {"is_supervised": "yes"}, {"devices": "S"}, {"devices": [1]}, {"anchor_certs": [None]}],
)
def test_a_profile_with_wrong_types_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(MalformedField, match=next(iter(given))):
        shapes.profile_request(given)


def test_a_page_is_in_the_order_of_what_happened() -> None:
    listed = [
        {"serial_number": "A", "op_type": "deleted", "op_date": "2026-11-23T08:00:02Z"},
        {"serial_number": "A", "op_type": "added", "op_date": "2026-11-23T08:00:01Z"},
        {"serial_number": ""},
        "nonsense",
    ]
    page = shapes.page_of({"devices": listed, "cursor": "c", "more_to_follow": True})
    assert [one["op_type"] for one in page.devices] == ["added", "deleted"]
    assert (page.cursor, page.more) == ("c", True)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"[" * 99_999])
def test_an_answer_that_is_no_object_is_a_fault(body: bytes) -> None:
    with pytest.raises(DepFault):
        shapes.read_answer(body)


@pytest.mark.parametrize("found", [{}, {"cursor": ""}, {"cursor": 1}])
def test_a_page_without_cursor_is_a_fault(found: dict[str, Any]) -> None:
    with pytest.raises(DepFault, match="no cursor"):
        shapes.page_of(found)


def test_a_result_that_is_no_text_is_left_out() -> None:
    found = {"devices": {"A": "SUCCESS", "B": {"why": "?"}, "C": None}}
    assert shapes.results_of(found) == {"A": "SUCCESS"}


@pytest.mark.parametrize("junk", [None, 1, "x", [], [1], {"a": 1}])
def test_junk_in_an_answer_does_no_harm(junk: Any) -> None:
    names = (
        "devices",
        "urls",
        "op_date",
        "serial_number",
        "limit",
        "server_name",
        "profile_name",
        "org_type",
    )
    found = dict.fromkeys(names, junk)
    for shaped in (
        shapes.device(found),
        shapes.profile(found),
        shapes.account(found),
        shapes.devices_of(found),
    ):
        json.dumps(shaped)
    shapes.results_of(found)
    shapes.page_of(found | {"cursor": "c"})
