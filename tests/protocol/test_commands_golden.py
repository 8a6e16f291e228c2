"""The recorded conversions, replayed against the converter."""

import uuid

import pytest

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.commands import convert_json, read_raw
from tests.golden_commands import Case, body_of, cases, names_field, same_payload


def convert(case: Case, *, strict: bool = False) -> bytes:
    """The payload a case leads to."""
    if "path" in case and case["path"] != "/v1/commands":
        return read_raw(body_of(case)).payload
    return convert_json(body_of(case), strict=strict, make_uuid=lambda: str(uuid.uuid4())).payload


def wanted_of(case: Case) -> Case:
    """What a case shall lead to: the wanted result, else what was recorded."""
    if case.get("wanted"):
        return case["wanted"]
    status = case["status"] if case["status"] == 201 else 400
    return {"status": status, "plist": case.get("plist")}


CONVERSIONS = [
    case for case in cases("commands.json", "commands-schema.json") if case.get("verdict") != "either"
]


@pytest.mark.parametrize("case", CONVERSIONS, ids=lambda case: case["name"])
def test_a_recorded_request_is_converted_as_wanted(case: Case) -> None:
    wanted = wanted_of(case)
    if wanted["status"] == 201:
        assert same_payload(wanted["plist"], convert(case))
    else:
        with pytest.raises(MalformedRequest) as fault:
            convert(case)
        assert names_field(str(fault.value), wanted)


@pytest.mark.parametrize("case", list(cases("commands-strict.json")), ids=lambda case: case["name"])
def test_strict_refuses_and_permissive_accepts(case: Case) -> None:
    assert convert(case)
    with pytest.raises(MalformedRequest) as fault:
        convert(case, strict=True)
    assert names_field(str(fault.value), case["strict"])
