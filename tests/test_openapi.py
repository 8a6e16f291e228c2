"""The description of the API: it names every route there is, and nothing else."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from micromdm_py.http.auth import ORGANIZATIONS
from micromdm_py.http.describe import ANY, BASE64, Content, describe, needed, note, schema_of
from micromdm_py.http.docs import families
from micromdm_py.http.openapi import openapi_document, operations
from micromdm_py.protocol.commands.schema import request_types
from micromdm_py.storage.filerepo import FileRepository
from tests.http.bench import API_KEY, BUILD, JSON, Bench, basic

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"one_time_challenges": False, "homepage": False, "pages": False},
    {"files": True},
]


@pytest.fixture(params=CONFIGURATIONS, ids=["usual", "less", "more"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    changes = dict(request.param)
    if changes.pop("files", False):
        changes["files"] = FileRepository(tmp_path_factory.mktemp("repo"))
    return Bench(**changes)


def document_of(bench: Bench) -> Any:
    return bench.ask("GET", "/openapi.json", key=None).json()


def described(bench: Bench) -> set[tuple[str, str]]:
    paths = document_of(bench)["paths"]
    return {(path, method.upper()) for path, methods in paths.items() for method in methods}


def test_every_responder_says_what_it_takes_and_gives(bench: Bench) -> None:
    for route, method, responder in operations(bench.routes):
        assert hasattr(responder, "operation"), (
            f"{method.upper()} {route}: {responder.__qualname__} has no declaration. Put"
            " @describe(takes=…, gives=…) in front of it, or @nothing_here if it only refuses;"
            " http/describe.py says how."
        )
        assert (responder.__doc__ or "").strip(), f"{responder.__qualname__} has no docstring for its summary"


def test_every_route_is_described_and_nothing_else(bench: Bench) -> None:
    found = described(bench)
    assert found
    routes = {re.sub(r":\w+}", "}", route): route for route in bench.routes}
    assert {path for path, _ in found} == set(routes)
    for path in sorted(routes):
        target = re.sub(r"{\w+}", "x", path)
        answers_all = hasattr(bench.routes[routes[path]], "on_any")
        for method in METHODS:
            answer = bench.ask(
                method, target, key=f"Bearer {API_KEY}" if target.startswith(ORGANIZATIONS) else basic()
            )
            unknown = answer.status == 405 or answer.body == b"404 page not found\n"
            if (path, method) in found:
                assert not unknown or path == "/repo/{path}", (method, target, answer)
            else:
                assert unknown or answers_all, (method, target, answer)


def test_the_document_is_sound(bench: Bench) -> None:
    document = document_of(bench)
    assert document["openapi"] == "3.1.0" and document["info"]["version"] == BUILD["version"]
    tags = [tag["name"] for tag in document["tags"]]
    assert len(set(tags)) == len(tags)
    names = set()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["operationId"] not in names
            names.add(operation["operationId"])
            assert re.fullmatch(r"[\w.-]+", operation["operationId"])
            assert operation["tags"][0] in tags and operation["summary"] and operation["responses"]
            fields = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"]
            assert fields == re.findall(r"{(\w+)}", path)
            assert all(answer["description"] for answer in operation["responses"].values())
            protected = path.startswith(("/v1/", "/push/", "/nano/v1/", "/nano/migration", "/boltbackup"))
            assert ("security" in operation) == protected, path
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]


def test_the_document_needs_no_credentials_and_is_json() -> None:
    answer = Bench(api_key="").ask("GET", "/openapi.json", key=None)
    assert (answer.status, answer.headers["content-type"]) == (200, JSON)


def test_the_page_shows_every_operation_and_needs_nothing_from_elsewhere(bench: Bench) -> None:
    answer = bench.ask("GET", "/docs", key=None)
    page = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert all(f"<code>{name}</code>" in page for name in request_types())
    shown = set(re.findall(r'"method \w+">(\w+)</span> <code>([^<]*)</code>', page))
    assert shown == {(method, path) for path, method in described(bench)}
    assert "multipart/form-data\n\npkg_name: …\n" in page
    assert not re.search(r"<(script|img|link|iframe)|url\(|@import|https?://", page)


def test_every_command_is_an_alternative_with_its_fields() -> None:
    operation = document_of(Bench())["paths"]["/v1/commands"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    kinds = {one["title"]: one["properties"] for one in schema["oneOf"]}
    assert set(kinds) == request_types()
    assert all(fields["request_type"] == {"const": name} for name, fields in kinds.items())
    assert kinds["DeviceInformation"]["queries"]["items"] == {"type": "string"}
    assert kinds["InstallProfile"]["payload"]["contentEncoding"] == "base64"
    items = {one["title"]: one["properties"] for one in kinds["Settings"]["settings"]["items"]["oneOf"]}
    assert items["DeviceName"]["device_name"]["type"] == "string"
    assert kinds["DeviceLock"]["pin"]["type"] == "string"


class Sample:
    """A resource of the test."""

    needs_api_key = True

    @describe(
        takes={"name": needed(str, "whose"), "sub": [{"data": BASE64, "n": int}], "free": {str: bool}},
        gives=Content("application/json", {"any": ANY, "x": float}, "What <was> found."),
        status=201,
        query={"purge": note(bool, "also more"), "id": needed(str)},
        headers={"X-Key": str},
        answers={404: "unknown"},
        about="More & more.",
    )
    def on_post(self) -> None:
        """Do it.

        More.
        """


def test_a_declaration_becomes_an_operation() -> None:
    document: Any = openapi_document({"/v1/things/{udid:segment}": Sample()}, "1")
    operation = document["paths"]["/v1/things/{udid}"]["post"]
    assert operation["operationId"] == "post_v1_things_udid"
    assert (operation["summary"], operation["description"]) == ("Do it", "More & more.")
    assert operation["tags"] == ["things"]
    assert [(one["name"], one["in"], one.get("required", False)) for one in operation["parameters"]] == [
        ("udid", "path", True),
        ("purge", "query", False),
        ("id", "query", True),
        ("X-Key", "header", False),
    ]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["name"]
    assert body["properties"]["free"] == {"type": "object", "additionalProperties": {"type": "boolean"}}
    assert set(operation["responses"]) == {"201", "400", "401", "403", "404", "413"}
    assert operation["responses"]["201"]["description"] == "What <was> found."
    assert operation["responses"]["404"]["content"]["application/json"]["schema"]["$ref"]
    (entry,) = families(document)["things"]
    assert json.loads(entry.body) == {
        "name": "…",
        "sub": [{"data": "<base64>", "n": 0}],
        "free": {"…": False},
    }
    assert ("name", "whose (required)") in entry.fields


def shapes() -> Iterator[tuple[Any, dict[str, object]]]:
    yield str, {"type": "string"}
    yield [int], {"type": "array", "items": {"type": "integer"}}
    yield {}, {"type": "object"}
    yield {"a": needed(bool)}, {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    yield note([str], "why"), {"type": "array", "items": {"type": "string"}, "description": "why"}


@pytest.mark.parametrize(("shape", "schema"), list(shapes()))
def test_shapes(shape: Any, schema: dict[str, object]) -> None:
    assert schema_of(shape) == schema
