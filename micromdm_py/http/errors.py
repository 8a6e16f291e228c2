"""From errors to answers: one table for devices, one for everybody else."""

import logging
from typing import Any
from urllib.parse import quote

import falcon

from micromdm_py import errors as e
from micromdm_py.http.auth import ORGANIZATIONS
from micromdm_py.http.request import clean_path, path_of, request_id_of
from micromdm_py.protocol.jsonreply import json_reply

__all__ = ["register_errors"]

API = {
    e.MalformedRequest: 400,
    e.Unauthenticated: 401,
    e.Forbidden: 403,
    e.NotFound: 404,
    e.Conflict: 409,
    e.TooLarge: 413,
    e.UpstreamFailed: 502,
    e.UpstreamBusy: 503,
    e.Busy: 503,
    e.NotConfigured: 503,
    e.StorageUnavailable: 503,
}
DEVICE = {
    # Never 400 or 403, and 401 for a blocked device alone: a device that reads one of them may drop its
    # enrollment.
    e.Unenroll: 401,
    e.UserChannelDeclined: 410,
    e.TooLarge: 413,
    e.Busy: 503,
    e.StorageUnavailable: 503,
}
DEVICE_PATHS = frozenset({"/mdm/checkin", "/mdm/connect", "/nano/mdm"})
BACKUP_PATH = "/boltbackup"
TEXT_PATHS = ("/mdm/", "/ota/", "/scep")
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
RETRY_AFTER_S = "5"
PATH_MARKS = "/:@!$&'()*+,;=~"

logger = logging.getLogger(__name__)


def register_errors(app: falcon.App[Any, Any]) -> None:  # Any: whatever request and response class
    """Have every error of an application answered here; nothing gets through to the server's own pages."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _http_error)
    app.add_error_handler(falcon.HTTPStatus, _http_status)
    app.add_error_handler(e.MdmError, _mdm_error)


def _status(table: dict[type[e.MdmError], int], error: Exception) -> int | None:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


def _mdm_error(req: falcon.Request, resp: falcon.Response, error: Exception, _params: object) -> None:
    path = path_of(req)
    if path.startswith(ORGANIZATIONS):
        return _organizations_error(req, resp, error, _params)
    device = path in DEVICE_PATHS
    as_text = not device and path.startswith(TEXT_PATHS)
    status = _status(DEVICE if device or as_text else API, error)
    if status is None:
        if not (device or as_text):
            return _unexpected(req, resp, error, _params)
        status = 500
    _answer(resp, status, b"")
    if status == 503:
        resp.set_header("Retry-After", str(getattr(error, "retry_after_s", 0) or RETRY_AFTER_S))
    if device or status >= 500:
        logger.warning("%s %s refused: %s: %s", req.method, path, type(error).__name__, error)
    if device:
        return
    if as_text:
        resp.data, resp.content_type = f"{error}\n".encode("utf-8", "replace"), TEXT
        resp.set_header("X-Content-Type-Options", "nosniff")
    else:
        resp.data, resp.content_type = json_reply({"error": str(error)}), JSON
        if status == 401:
            resp.set_header("Www-Authenticate", 'Basic realm="micromdm"')
            resp.set_header("X-Content-Type-Options", "nosniff")
            if path == BACKUP_PATH:
                resp.data, resp.content_type = b"Authorization Required\n", TEXT


def _organizations_error(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: object
) -> None:
    """An error in the form of the organizations' API; what that API does not know has its status as code."""
    status = _status(API, error)
    if status is None:
        return _unexpected(req, resp, error, params)
    status, code, message = _ORGANIZATIONS_ERRORS.get(type(error), (status, status, str(error)))
    if isinstance(error, e.MalformedField):
        status, code, message = 400, 3002, f"Invalid {error.field}"
        message += f": {error.reason}" if error.reason else ""
    _answer(resp, status, b"")
    resp.data = json_reply({"status": False, "error": {"code": code, "message": message}})
    resp.content_type = JSON
    if status == 401:
        resp.set_header("Www-Authenticate", "Bearer")
    if status == 503:
        resp.set_header("Retry-After", RETRY_AFTER_S)


_ORGANIZATIONS_ERRORS: dict[type[Exception], tuple[int, int, str]] = {
    e.NoCredentials: (401, 4002, "No auth token"),
    e.Unauthenticated: (401, 4004, "Invalid Token"),
    e.Forbidden: (403, 4003, "Permission denied"),
    e.NotFound: (404, 3001, "Entity not found"),
    e.CommandDone: (400, 5106, "AdmCommand not status pending or tried"),
}


def _http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: object) -> None:
    """What the framework refuses by itself: unknown paths, wrong methods."""
    status = error.status_code
    _answer(resp, 405 if status == 400 else status, b"")  # 400: a method that is none at all
    for name, value in dict(error.headers or {}).items():
        resp.set_header(name, value)
    if status != 404:
        return
    path = req.env["PATH_INFO"]
    clean = clean_path(path)
    if clean != path and path.startswith("/"):
        resp.status = falcon.HTTP_301
        resp.set_header("Location", _location(clean, req.env.get("QUERY_STRING", "")))
        return
    resp.data, resp.content_type = b"404 page not found\n", TEXT
    resp.set_header("X-Content-Type-Options", "nosniff")


def _http_status(
    req: falcon.Request, resp: falcon.Response, status: falcon.HTTPStatus, _params: object
) -> None:
    _answer(resp, status.status_code, b"")


def _unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, _params: object) -> None:
    """A fault of ours: the caller learns an id to ask about, the log the rest."""
    path = path_of(req)
    logger.error("%s %s failed", req.method, path, exc_info=error)
    _answer(resp, 500, b"")
    if path not in DEVICE_PATHS:
        resp.data = json_reply({"error": f"internal error, request {request_id_of(req)}"})
        resp.content_type = JSON


def _answer(resp: falcon.Response, status: int, body: bytes) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.data, resp.text, resp.media, resp.stream = body, None, None, None
    resp.content_type = None


def _location(path: str, query: str) -> str:
    """A decoded path as a reference; escaped, lest it begin another header or name another host."""
    escaped = quote(path.encode("latin-1"), safe=PATH_MARKS)
    return f"{escaped}?{query}" if query else escaped
