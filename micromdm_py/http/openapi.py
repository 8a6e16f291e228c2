"""The OpenAPI 3.1 document, made from the routes there are and what they say about themselves."""

import re
from collections.abc import Callable, Iterator, Mapping

from micromdm_py.http.auth import ADMIN, ORGANIZATIONS
from micromdm_py.http.describe import Content, Operation, Schema, Shape, operation_of, schema_of

__all__ = ["openapi_document", "operations"]

Responder = Callable[..., None]
METHODS = ("get", "head", "post", "put", "patch", "delete")
PATH_FIELDS = {
    "udid": "Id of an enrollment: UDID, EnrollmentID, UDID:UserID, or an unambiguous UserID.",
    "command": "Id of a command, 24 hex digits, or its CommandUUID.",
    "serial": "Serial number of a device.",
    "path": "Path of a file below the repository's folder.",
}
ALWAYS = {
    401: "No credentials, or unknown ones.",
    403: "The token has no permission for this.",
}
LAST = ("for devices", "pages", "server")
_ERRORS = {
    "Error": schema_of({"error": str}),
    "OrganizationsError": schema_of({"status": bool, "error": {"code": int, "message": str}}),
}
_SECURITY = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "User micromdm, password the API key; or any user and an issued token.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "An issued token."},
}
_FIELD = re.compile(r"{(\w+)(?::\w+)?}")


def operations(routes: Mapping[str, object]) -> Iterator[tuple[str, str, Responder]]:
    """Each route, method and responder; a resource that answers every method is listed once, with GET."""
    for route, resource in routes.items():
        for method in METHODS:
            name = "on_any" if method == "get" and not hasattr(resource, "on_get") else f"on_{method}"
            if responder := getattr(resource, name, None):
                yield route, method, responder


def openapi_document(routes: Mapping[str, object], version: str) -> dict[str, object]:
    """Make the document.

    Args:
        routes: resource of each route, as `Routes.resources` has them.
        version: of the program.
    """
    paths: dict[str, dict[str, object]] = {}
    for route, method, responder in operations(routes):
        declared = operation_of(responder)
        if declared is not None:
            path = _FIELD.sub(r"{\1}", route)
            admin = getattr(routes[route], ADMIN, False)
            paths.setdefault(path, {})[method] = _operation(route, method, responder, declared, admin)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "micromdm",
            "version": version,
            "summary": "Apple device management: the administrators' API, and what devices speak to.",
            "description": "The content type of a request is not looked at. Names of JSON fields count in any"
            " case, unknown ones are ignored.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in sorted(set(map(_tag, paths)), key=_place)],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": _ERRORS, "securitySchemes": _SECURITY},
    }


def _operation(
    route: str, method: str, responder: Responder, declared: Operation, admin: bool
) -> dict[str, object]:
    summary = (responder.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    found: dict[str, object] = {
        "operationId": "_".join([method, *re.findall(r"[\w.-]+", _FIELD.sub(r"\1", route))]),
        "tags": [_tag(route)],
        "summary": summary,
    }
    if declared.about:
        found["description"] = declared.about
    if parameters := list(_parameters(route, declared)):
        found["parameters"] = parameters
    if declared.takes:
        found["requestBody"] = {"required": True, **_body(declared.takes)}
    error = "OrganizationsError" if route.startswith(ORGANIZATIONS) else "Error"
    found["responses"] = _responses(declared, error if admin else None)
    if admin:
        found["security"] = [{"basic": []}, {"bearer": []}]
    return found


def _tag(path: str) -> str:
    """The family of a path: `/v1/devices/{udid}/block` is of "devices"."""
    parts = [part for part in path.split("/") if part and not part.startswith("{")]
    if not parts:
        return "server"
    if parts[0] in ("mdm", "ota", "scep", "repo"):
        return "for devices"
    if parts[0] == "v1" and len(parts) > 1:
        return "dep" if parts[1].startswith("dep") else parts[1]
    return {"push": "push", "admin": "pages", "nano": "nano"}.get(parts[0], "server")


def _place(tag: str) -> tuple[int, str]:
    """Where a family stands: what administrators' programs use comes first."""
    return (LAST.index(tag) if tag in LAST else -1), tag


def _parameters(route: str, declared: Operation) -> Iterator[dict[str, object]]:
    for name in _FIELD.findall(route):
        about = {"description": PATH_FIELDS[name]} if name in PATH_FIELDS else {}
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, **about}
    for place, shapes in (("query", declared.query), ("header", declared.headers)):
        for name, shape in shapes.items():
            yield _parameter(name, place, shape)


def _parameter(name: str, place: str, shape: Shape) -> dict[str, object]:
    schema = schema_of(shape)
    found: dict[str, object] = {"name": name, "in": place, "schema": schema}
    if isinstance(shape, Schema) and shape.needed:
        found["required"] = True
    if text := schema.pop("description", None):
        found["description"] = text
    return found


def _body(content: Content) -> dict[str, object]:
    if not content.media_type:
        return {}
    found: dict[str, object] = {
        "content": {content.media_type: {} if content.shape is None else {"schema": schema_of(content.shape)}}
    }
    return {"description": content.text, **found} if content.text else found


def _responses(declared: Operation, error: str | None) -> dict[str, object]:
    """The answers; `error` is the schema of refusals, None where administrators' rules do not count."""
    responses: dict[int, object] = {declared.status: {"description": "Done.", **_body(declared.gives)}}
    refusals = dict(ALWAYS if error else {})
    if error and (declared.takes or declared.query):
        refusals[400] = "Something in the request is wrong; the text names it."
    if declared.takes:
        refusals[413] = "The body is too large."
    refusals.update(declared.answers)
    document = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{error}"}}}}
    for status, text in refusals.items():
        responses[status] = {"description": text, **(document if error and status >= 400 else {})}
    return {str(status): answer for status, answer in sorted(responses.items())}
