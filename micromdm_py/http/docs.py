"""/openapi.json and /docs: the API described, for programs and for people.

Both are made from the routes of this very server at the first request for them. They need no credentials:
nothing in them is secret, and what reads them (generators, browsers) should not be given the API key.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import falcon

from micromdm_py.http.admin.rendering import page
from micromdm_py.http.describe import HTML, Content, describe
from micromdm_py.http.reply import reply
from micromdm_py.protocol.jsonreply import json_reply

__all__ = ["ApiDescription", "DocsResource", "OpenApiResource"]

Document = dict[str, Any]  # an OpenAPI document
JSON = "application/json"
OPENAPI = Content(JSON, {}, "An OpenAPI 3.1 document.")


class ApiDescription:
    """The document of an application, made when it is first asked for: not every worker is."""

    def __init__(self, routes: Mapping[str, object], version: str) -> None:
        """Describe these routes, which may still grow."""
        self._routes, self._version = routes, version

    @functools.cached_property
    def document(self) -> Document:
        """The OpenAPI document."""
        from micromdm_py.http.openapi import openapi_document  # only here: few requests ever need it

        return openapi_document(self._routes, self._version)

    @functools.cached_property
    def raw(self) -> bytes:
        """The same as JSON."""
        return json_reply(self.document)

    @functools.cached_property
    def page(self) -> bytes:
        """The same as HTML."""
        return page("docs.html", families=families(self.document), info=self.document["info"])


class OpenApiResource:
    """GET /openapi.json."""

    def __init__(self, api: ApiDescription) -> None:
        """Hand out what `api` says."""
        self._api = api

    @describe(gives=OPENAPI)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Describe every route of this server, for programs."""
        reply(resp, self._api.raw)


class DocsResource:
    """GET /docs."""

    def __init__(self, api: ApiDescription) -> None:
        """Show what `api` says."""
        self._api = api

    @describe(gives=HTML)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Describe every route of this server, for people."""
        resp.data, resp.content_type = self._api.page, "text/html; charset=utf-8"
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation as the page shows it.

    Attributes:
        method, path, summary, about: of the operation.
        open: it needs no credentials.
        parameters: name, where it stands, what it is.
        body, answer: examples, as JSON or as the media type; "" for none.
        about_body: what there is to say about the body.
        fields: name and meaning of the fields in both that have a word about them.
        kinds: name and fields of each alternative that the body has.
        answers: status and meaning.
    """

    method: str
    path: str
    summary: str
    about: str
    open: bool
    parameters: list[tuple[str, str, str]]
    about_body: str
    body: str
    answer: str
    fields: list[tuple[str, str]]
    kinds: list[tuple[str, str]]
    answers: list[tuple[str, str]]


def families(document: Document) -> dict[str, list[Entry]]:
    """The operations of each tag, in the order of the routes."""
    found: dict[str, list[Entry]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].append(_entry(method, path, operation))
    return found


def _entry(method: str, path: str, operation: Document) -> Entry:
    responses = operation["responses"]
    body: Document = operation.get("requestBody", {})
    answer: Document = next((one for status, one in responses.items() if status < "300"), {})
    return Entry(
        method.upper(),
        path,
        operation["summary"],
        operation.get("description", ""),
        "security" not in operation,
        [(one["name"], one["in"], one.get("description", "")) for one in operation.get("parameters", ())],
        body.get("description", ""),
        _shown(body),
        _shown(answer),
        list(dict.fromkeys([*_fields(body), *_fields(answer)])),
        list(_kinds(body)),
        [(status, one["description"]) for status, one in responses.items()],
    )


def _schemas(body: Document) -> Iterator[tuple[str, Document | None]]:
    for media_type, content in body.get("content", {}).items():
        yield media_type, content.get("schema")


def _shown(body: Document) -> str:
    for media_type, schema in _schemas(body):
        if schema is None:
            return media_type
        example = _example(schema)
        if media_type != JSON and isinstance(example, dict):  # a form
            return "\n".join([media_type, "", *(f"{name}: {value}" for name, value in example.items())])
        return json.dumps(example, indent=2, ensure_ascii=False)
    return ""


def _example(schema: Document) -> object:
    match schema.get("type"):
        case "object" if "additionalProperties" in schema:
            return {"…": _example(schema["additionalProperties"])}
        case "object":
            return {name: _example(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_example(schema["items"])]
        case "integer" | "number":
            return 0
        case "boolean":
            return False
    if "type" not in schema:
        return "<any>"
    if "contentEncoding" in schema:
        return "<base64>"
    return {"date-time": "<time>", "uuid": "<uuid>"}.get(schema.get("format", ""), "…")


def _fields(body: Document) -> Iterator[tuple[str, str]]:
    for _, schema in _schemas(body):
        yield from _noted(schema or {})


def _kinds(body: Document) -> Iterator[tuple[str, str]]:
    for _, schema in _schemas(body):
        for kind in (schema or {}).get("oneOf", ()):
            yield kind["title"], ", ".join(name for name in kind["properties"] if name != "request_type")


def _noted(schema: Document) -> Iterator[tuple[str, str]]:
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        words = [inner.get("description", ""), "(required)" if name in required else ""]
        if text := " ".join(word for word in words if word):
            yield name, text
        yield from _noted(inner)
    for key in schema.keys() & {"items", "additionalProperties"}:
        yield from _noted(schema[key])
