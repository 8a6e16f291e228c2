"""Account-driven enrollment: where a device learns whom to enroll with, signs in, and gets its profile."""

from typing import TYPE_CHECKING

import falcon

from micromdm_py.errors import Forbidden, NotFound
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import Content, describe
from micromdm_py.http.enroll import MAX_BODY_BYTES, PROFILE_TYPE, SIGNED
from micromdm_py.http.reply import query_value, reply
from micromdm_py.protocol.account import AccountEnrollment, SignIn, refusal
from micromdm_py.service.account_enrollment import AccountDrivenEnrollment

if TYPE_CHECKING:
    App = falcon.App[falcon.Request, falcon.Response]

__all__ = ["add_account"]

USER = "user-identifier"


class DiscoveryResource:
    """/.well-known/com.apple.remotemanagement."""

    def __init__(self, enrollment: AccountDrivenEnrollment) -> None:
        """Ask `enrollment`."""
        self._enrollment = enrollment

    @describe(
        gives={"Servers": [{"Version": str, "BaseURL": str}]},
        query={USER: str, "model-family": str},
        answers={403: "The user may not enroll this device."},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Where the device of a user is to enroll."""
        try:
            user, family = query_value(req, USER), query_value(req, "model-family")
            reply(resp, self._enrollment.discover(user or "", family or ""))
        except Forbidden as fault:
            reply(resp, refusal(str(fault)), 403)


class AccountEnrollResource:
    """/account/enroll/byod and /account/enroll/adde."""

    def __init__(self, enrollment: AccountDrivenEnrollment) -> None:
        """Hand out what `enrollment` makes."""
        self._enrollment = enrollment

    @describe(
        takes=SIGNED,
        gives=Content(PROFILE_TYPE),
        answers={
            401: "The user has to sign in first; WWW-Authenticate says how.",
            403: "The user may not enroll, or the request is not signed by a device.",
        },
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, kind: str) -> None:
        """Hand out the enrollment profile of a user, known by the access token in `Authorization: Bearer`."""
        found = self._enrollment.profile(_kind(kind), read_body(req, MAX_BODY_BYTES), _bearer(req))
        if isinstance(found, SignIn):
            resp.status = falcon.HTTP_401
            resp.set_header("WWW-Authenticate", found.challenge)
            return
        resp.data, resp.content_type = found, PROFILE_TYPE


class SignInResource:
    """A page to sign in at that asks nothing; only where everybody may enroll."""

    def __init__(self, enrollment: AccountDrivenEnrollment) -> None:
        """Let in whom `enrollment` lets in."""
        self._enrollment = enrollment

    @describe(status=308, query={USER: str})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Send the device on with an access token."""
        resp.status = falcon.HTTP_308
        resp.set_header("Location", self._enrollment.sign_in(query_value(req, USER) or ""))


def add_account(app: "App", enrollment: AccountDrivenEnrollment) -> None:
    """Add the routes of account-driven enrollment."""
    app.add_route("/.well-known/com.apple.remotemanagement", DiscoveryResource(enrollment))
    app.add_route("/account/enroll/{kind:segment}", AccountEnrollResource(enrollment))
    if enrollment.open_to_all:
        app.add_route("/account/sign-in", SignInResource(enrollment))


def _kind(name: str) -> AccountEnrollment:
    for kind in AccountEnrollment:
        if kind.name.lower() == name:
            return kind
    raise NotFound(f"not found: account-driven enrollment {name}")


def _bearer(req: falcon.Request) -> str:
    scheme, _, token = str(req.env.get("HTTP_AUTHORIZATION", "")).partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
