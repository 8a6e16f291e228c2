"""What a route says about itself: read by `/openapi.json`, `/docs` and the tests.

Every responder carries one declaration, and its docstring's first line is the summary::

    @describe(
        takes={"udids": [str], "serials": [str]},
        gives={},
        query={"purge": note(bool, "also withdraw the queue and delete push data")},
        answers={404: "an id is unknown; nothing was removed"},
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        \"\"\"Remove device records.\"\"\"

A body is a *shape*: a type (`str`, `int`, `bool`, `float`), a list with the shape of its items, a dict from
names to shapes, ``{str: shape}`` for a dict with free names, a function that makes a shape when somebody asks
for the document, or a schema made by `note` and `needed` (a field
that must be there) or taken from the constants here. What is no JSON is a `Content`. Path fields, credentials
and the answers that all routes of a kind have (401, 403, 413, 503) are added by themselves, so most
declarations need one line. A responder that only says that there is nothing here has ``@nothing_here``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = [
    "ANY",
    "BASE64",
    "HTML",
    "NOTHING",
    "PLIST",
    "TIME",
    "UUID",
    "Content",
    "Operation",
    "Schema",
    "Shape",
    "describe",
    "needed",
    "note",
    "nothing_here",
    "operation_of",
    "schema_of",
]

R = TypeVar("R", bound=Callable[..., None])

DECLARATION = "operation"
"""Attribute of a responder that holds its declaration."""

_TYPES = {str: "string", int: "integer", bool: "boolean", float: "number"}


@dataclass(frozen=True, slots=True)
class Schema:
    """A shape in the words of JSON Schema.

    Attributes:
        words: the schema.
        needed: the field must be there.
    """

    words: Mapping[str, object]
    needed: bool = False


Shape = type | Schema | list[Any] | dict[Any, Any] | Callable[[], Any]  # Any: shapes again

ANY = Schema({})
BASE64 = Schema({"type": "string", "contentEncoding": "base64"})
TIME = Schema({"type": "string", "format": "date-time"})
UUID = Schema({"type": "string", "format": "uuid"})


@dataclass(frozen=True, slots=True)
class Content:
    """A body that is no JSON, or JSON with something to say about it.

    Attributes:
        media_type: its type; "" for no body at all.
        shape: of JSON; None where only bytes are to be seen.
        text: what it is.
    """

    media_type: str
    shape: Shape | None = None
    text: str = ""


HTML = Content("text/html")
PLIST = Content("application/xml", text="a property list")
NOTHING = Content("")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    Attributes:
        takes: the request's body, None if it has none or is not looked at.
        gives: the body of the answer when all went well.
        status: its status.
        query: parameters of the query.
        headers: headers of the request that count.
        answers: further statuses and when they come.
        about: what the summary leaves open.
    """

    takes: Content | None = None
    gives: Content = NOTHING
    status: int = 200
    query: Mapping[str, Shape] = field(default_factory=dict)
    headers: Mapping[str, Shape] = field(default_factory=dict)
    answers: Mapping[int, str] = field(default_factory=dict)
    about: str = ""


def describe(
    *,
    takes: Content | Shape | None = None,
    gives: Content | Shape = NOTHING,
    status: int = 200,
    query: Mapping[str, Shape] | None = None,
    headers: Mapping[str, Shape] | None = None,
    answers: Mapping[int, str] | None = None,
    about: str = "",
) -> Callable[[R], R]:
    """Declare what a responder takes and gives; see the module's text and `Operation`."""
    made = Operation(
        None if takes is None else _content(takes),
        _content(gives),
        status,
        query or {},
        headers or {},
        answers or {},
        about,
    )

    def declare(responder: R) -> R:
        setattr(responder, DECLARATION, made)
        return responder

    return declare


def nothing_here(responder: R) -> R:
    """Declare that a responder only refuses: it appears nowhere."""
    setattr(responder, DECLARATION, None)
    return responder


def operation_of(responder: Callable[..., None]) -> Operation | None:
    """The declaration of a responder, None for one that only refuses. Raises: AttributeError without one."""
    found: Operation | None = getattr(responder, DECLARATION)
    return found


def note(shape: Shape, text: str) -> Schema:
    """A shape with a word about it."""
    return Schema({**schema_of(shape), "description": text})


def needed(shape: Shape, text: str = "") -> Schema:
    """The shape of a field that must be there."""
    return Schema(note(shape, text).words if text else schema_of(shape), needed=True)


def schema_of(shape: Shape) -> dict[str, object]:
    """A shape as JSON Schema."""
    if not isinstance(shape, type) and callable(shape):
        return schema_of(shape())
    if isinstance(shape, Schema):
        return dict(shape.words)
    if isinstance(shape, list):
        return {"type": "array", "items": schema_of(shape[0])}
    if isinstance(shape, dict):
        if set(shape) == {str}:
            return {"type": "object", "additionalProperties": schema_of(shape[str])}
        found: dict[str, object] = {"type": "object"}
        if shape:
            found["properties"] = {name: schema_of(inner) for name, inner in shape.items()}
        if wanted := [name for name, inner in shape.items() if isinstance(inner, Schema) and inner.needed]:
            found["required"] = wanted
        return found
    return {"type": _TYPES[shape]}


def _content(body: Content | Shape) -> Content:
    return body if isinstance(body, Content) else Content("application/json", body)
