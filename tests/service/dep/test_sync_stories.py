"""Whatever happens to fleet and calls: after one good round nothing is missed and nothing is left over."""

from collections.abc import Callable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.service.dep.rules import rule_of
from tests.service.dep.test_sync import Site

PATHS = ("/server/devices", "/devices/sync", "/profile/devices", "/session")
REFUSALS = (
    (400, "EXPIRED_CURSOR"),
    (400, "INVALID_CURSOR"),
    (401, "UNAUTHORIZED"),
    (429, ""),
    (500, ""),
)


def vanish(site: Site, serial: str) -> None:
    """The change is older than any cursor: no sync tells of it."""
    del site.apple.devices[serial]
    site.apple.expire_cursors()


def fail(site: Site, number: int) -> None:
    status, code = REFUSALS[number % len(REFUSALS)]
    site.fail(PATHS[number % len(PATHS)], status, code, skip=number % 3)


TO_DEVICES: Mapping[str, Callable[[Site, str], object]] = {
    "remove": lambda site, serial: site.apple.remove(serial),
    "vanish": vanish,
    "assign": lambda site, serial: site.apple.assign(serial, "elsewhere"),
    "unassign": lambda site, serial: site.apple.assign(serial, ""),
}
OTHERS: Mapping[str, Callable[[Site, int], object]] = {
    "expire": lambda site, _: site.apple.expire_cursors(),
    "end sessions": lambda site, _: site.apple.end_sessions(),
    "rule": lambda site, _: site.rule(),
    "restart": lambda site, _: site.restart(),
    "fail": fail,
    "round": lambda site, _: site.later(minutes=61),
}


def happen(site: Site, what: str, number: int) -> None:
    serial = f"S{number % 9:05}"
    if what in OTHERS:
        OTHERS[what](site, number)
    elif serial not in site.apple.devices:
        site.apple.add(serial)
    else:
        TO_DEVICES[what](site, serial)


@given(
    st.lists(st.tuples(st.sampled_from([*TO_DEVICES, *OTHERS]), st.integers(0, 71)), min_size=2, max_size=25)
)
def test_nothing_is_missed(story: list[tuple[str, int]]) -> None:
    site = Site(devices=5, page=2)
    site.rule()
    site.step()
    for what, number in story:
        happen(site, what, number)
    site.apple.faults.clear()
    site.later(minutes=61)
    rule = rule_of(site.store, "default")
    assert rule
    assert site.state.error == ""
    assert site.known == site.real == dict.fromkeys(site.apple.devices, rule.profile_uuid)
