"""Who looks at a page: the session cookie, and the pages that begin and end a session."""

import functools
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeVar
from urllib.parse import parse_qs

import falcon

from micromdm_py.errors import Forbidden, Unauthenticated
from micromdm_py.http.admin.rendering import show_page
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import HTML, Content, describe, needed
from micromdm_py.service.sessions import LIFETIME, Sessions

__all__ = ["LoginResource", "LogoutResource", "visitors_only"]

COOKIE = "micromdm_session"
HOME, LOGIN = "/admin", "/admin/login"
MAX_FORM_BYTES = 4096
MAX_COOKIE_CHARS = 16_384
"""Longest Cookie header that is looked at; browsers keep 4 KiB for a cookie."""
Responder = Callable[..., None]
R = TypeVar("R", bound=Responder)


def visitors_only(permission: str) -> Callable[[R], R]:
    """Have a responder run only for visitors with a permission; who has no session is sent to the login."""

    def decorate(responder: R) -> R:
        @functools.wraps(responder)
        def run(
            self: Any, req: falcon.Request, resp: falcon.Response, **fields: Any
        ) -> None:  # Any: any page
            sessions: Sessions = self.sessions
            try:
                visitor = sessions.caller(_cookie(req))
            except Unauthenticated:
                return _go(resp, LOGIN)
            try:
                visitor.require(permission)
            except Forbidden:
                return show_page(
                    resp, "message.html", 403, visitor=visitor, text=f"Your token lacks {permission}."
                )
            return responder(self, req, resp, visitor, **fields)

        return run  # type: ignore[return-value]  # the same but for the visitor, who is put in here

    return decorate


class LoginResource:
    """The form that asks for a token, and what it sends."""

    def __init__(self, sessions: Sessions) -> None:
        """Open sessions."""
        self._sessions = sessions

    @describe(gives=HTML)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the form."""
        show_page(resp, "login.html", visitor=None, error="")

    @describe(
        takes=Content("application/x-www-form-urlencoded", {"token": needed(str)}),
        status=303,
        answers={403: "The token is unknown."},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Open a session, or say why not."""
        form = parse_qs(read_body(req, MAX_FORM_BYTES).decode("utf-8", "replace"))
        secret = form.get("token", [""])[0].strip()
        try:
            if not _same_origin(req):
                raise Unauthenticated
            cookie = self._sessions.open(secret)
        except Unauthenticated:
            return show_page(resp, "login.html", 403, visitor=None, error="This token is not known.")
        _set_cookie(req, resp, cookie, int(LIFETIME.total_seconds()))
        _go(resp, HOME)


class LogoutResource:
    """Ends a session."""

    def __init__(self, sessions: Sessions) -> None:
        """Close sessions."""
        self._sessions = sessions

    @describe(status=303)
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Close the session of the cookie."""
        if _same_origin(req):
            self._sessions.close(_cookie(req))
            _set_cookie(req, resp, "", 0)
        _go(resp, LOGIN)


def _cookie(req: falcon.Request) -> str:
    sent = req.env.get("HTTP_COOKIE", "")
    if len(sent) > MAX_COOKIE_CHARS:  # to take it apart costs much
        return ""
    try:
        found = SimpleCookie(sent).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _set_cookie(req: falcon.Request, resp: falcon.Response, value: str, seconds: int) -> None:
    resp.set_cookie(
        COOKIE,
        value,
        max_age=seconds,
        path=HOME,
        secure=req.scheme == "https",
        http_only=True,
        same_site="Strict",
    )


def _go(resp: falcon.Response, place: str) -> None:
    resp.status = falcon.HTTP_303
    resp.set_header("Location", place)
    resp.set_header("Cache-Control", "no-store")


def _same_origin(req: falcon.Request) -> bool:
    """Whether a form was sent from a page of ours; browsers that say nothing are believed the cookie rule."""
    if req.env.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none"):
        return False
    origin = req.env.get("HTTP_ORIGIN", "")
    # Not taken apart: what is no URL has no host that could be ours.
    return not origin or origin.partition("://")[2] == req.env.get("HTTP_HOST", "")
