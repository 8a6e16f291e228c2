"""The table of permissions against the routes there are."""

import json
import plistlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from falcon.constants import COMBINED_METHODS

from micromdm_py.http.auth import ADMIN
from micromdm_py.http.permissions import OTHER, PERMISSIONS, permission_of
from micromdm_py.service.access import CREATE
from tests.builders import Device
from tests.http.bench import Bench
from tests.storage.observing import contents


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


ORGANIZATIONS = "/v1/organizations/default/mdm/apple/enterprise/commands/device"


def requests(kind: str) -> list[tuple[str, str, object]]:
    """(method, path, body) of every way to queue a command of a kind."""
    raw = plistlib.dumps({"CommandUUID": "c", "Command": {"RequestType": kind}})
    command, inner = {"request_type": kind}, {"command": {"RequestType": kind}}
    return [
        ("POST", "/v1/commands", {"udid": "UDID-1", **command}),
        ("POST", "/v1/commands/UDID-1", raw),
        ("PUT", "/v1/commands/UDID-1", raw),
        ("POST", "/v1/bulk/commands", {"udids": ["UDID-1"], "command": command}),
        ("POST", ORGANIZATIONS, {**inner, "targetIds": ["UDID-1"]}),
        ("POST", f"{ORGANIZATIONS}/UDID-1", inner),
        ("PUT", "/nano/v1/enqueue/UDID-1?nopush=1", raw),
        ("POST", "/nano/v1/enqueue/UDID-1?nopush=1", raw),
    ]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    Device(bench.store, "UDID-1").enrolls().queue("c1")
    return bench


@pytest.fixture
def narrowed(bench: Bench) -> str:
    body = json.dumps({"name": "narrowed", "permissions": [f"{CREATE}:SecurityInfo"]}).encode()
    return str(bench.ask("POST", "/v1/tokens", body).json()["token"])


def test_a_token_narrowed_to_security_info_queues_that_everywhere(bench: Bench, narrowed: str) -> None:
    def send(method: str, path: str, body: object) -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return bench.ask(method, path, content, key=f"Bearer {narrowed}").status

    for method, path, body in requests("SecurityInfo"):
        before = len(bench.store.waiting("UDID-1"))
        assert send(method, path, body) in (200, 201), (method, path)
        assert len(bench.store.waiting("UDID-1")) == before + 1
    before = len(bench.store.waiting("UDID-1"))
    for method, path, body in requests("EraseDevice"):
        assert send(method, path, body) == 403, (method, path)
    assert len(bench.store.waiting("UDID-1")) == before
    ways = {(method, re.sub("/UDID-1|/default|/device", "/*", path)) for method, path, _ in requests("x")}
    named = {(method, route) for route, methods in PERMISSIONS.items() for method in methods}
    assert len(ways) == sum(permission_of(route, method) == CREATE for method, route in named)


@pytest.mark.parametrize(("route", "method"), responders(), ids=lambda part: part)
def test_a_token_narrowed_to_security_info_does_nothing_else(
    bench: Bench, narrowed: str, route: str, method: str
) -> None:
    if permission_of(route, method) == CREATE:
        return
    path = re.sub(r"\{targetType.*?\}", "device", re.sub(r"\{organizationId.*?\}", "default", route))
    path = re.sub(r"\{admCommandId.*?\}", bench.store.command("UDID-1", "c1").command_id, path)
    path = re.sub(r"\{command.*?\}", "c1", path)
    path = re.sub(r"\{name.*?\}", "narrowed", path)
    path = re.sub(r"\{.*?\}", "UDID-1", path)
    before = contents(bench.store)
    assert bench.ask(method, path, b"{}", key=f"Bearer {narrowed}").status == 403, path
    assert contents(bench.store) == before


def test_a_token_narrowed_to_security_info_sees_no_page(bench: Bench, narrowed: str) -> None:
    login = bench.ask("POST", "/admin/login", f"token={narrowed}".encode(), key=None)
    assert login.status == 303
    cookie = login.headers["set-cookie"].partition(";")[0]
    for page in ("", "/devices", "/devices/UDID-1", "/devices/UDID-1/commands/c1", "/events"):
        assert bench.ask("GET", f"/admin{page}", key=None, cookie=cookie).status == 403, page
