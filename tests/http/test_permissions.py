"""The table of permissions against the routes there are."""

from collections.abc import Iterator
from typing import Any

import pytest
from falcon.constants import COMBINED_METHODS

from micromdm_py.http.auth import ADMIN
from micromdm_py.http.permissions import OTHER, PERMISSIONS, permission_of
from tests.http.bench import Bench


def nodes(roots: list[Any]) -> Iterator[Any]:
    """Every node of the router that a route ends at."""
    for node in roots:
        if node.resource is not None:
            yield node
        yield from nodes(node.children)


def responders() -> list[tuple[str, str]]:
    """(route, method) of everything that only administrators may do."""
    found = []
    for node in nodes(Bench().router_roots()):
        if getattr(node.resource, ADMIN, False):
            names = {name.lower(): name for name in COMBINED_METHODS}
            own = [names[n] for name in dir(node.resource) if (n := name.removeprefix("on_")) in names]
            found += [(str(node.uri_template), method) for method in own]
    return found


@pytest.mark.parametrize(("route", "method"), responders(), ids=lambda part: part)
def test_every_route_asks_for_a_permission_of_its_own(route: str, method: str) -> None:
    assert permission_of(route, method) != OTHER, f"give {method} {route} a line in http/permissions.py"


def test_the_table_names_no_route_that_there_is_not() -> None:
    there = set(responders())
    assert len(there) > 40
    named = {(route, method) for route, methods in PERMISSIONS.items() for method in methods}
    assert named - there == set()
