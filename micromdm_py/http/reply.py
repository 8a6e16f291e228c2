"""JSON answers and flags in the query, the same for every route of the API."""

from urllib.parse import parse_qs

import falcon

from micromdm_py.errors import MalformedField

__all__ = ["flag", "query_number", "query_value", "reply"]

JSON = "application/json; charset=utf-8"
_FLAGS = {"true": True, "1": True, "yes": True, "": True, "false": False, "0": False, "no": False}


def reply(resp: falcon.Response, document: bytes, status: int = 200) -> None:
    """Answer with a JSON document."""
    resp.data, resp.content_type = document, JSON
    if status != 200:
        resp.status = falcon.code_to_http_status(status)


def query_value(req: falcon.Request, name: str) -> str | None:
    """First value of a query parameter, None when absent."""
    query: str = req.env.get("QUERY_STRING", "")
    return parse_qs(query, keep_blank_values=True).get(name, [None])[0] if query else None


def query_number(req: falcon.Request, name: str, low: int, high: int, *, default: int) -> int:
    """A number of the query. Raises: MalformedField unless it lies between `low` and `high`."""
    text = query_value(req, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and low <= int(text[:20]) <= high):
        raise MalformedField(name, f"must be a number from {low} to {high}")
    return int(text)


def flag(req: falcon.Request, name: str) -> bool:
    """A yes-or-no query parameter; `?name` alone means yes. Raises: MalformedField."""
    value = query_value(req, name)
    if value is None:
        return False
    found = _FLAGS.get(value.lower())
    if found is None:
        raise MalformedField(name, "must be true or false")
    return found
