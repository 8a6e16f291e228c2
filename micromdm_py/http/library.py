"""/v1/profiles, /v1/blueprints and /v1/users: what administrators keep on the server for devices."""

from functools import partial
from typing import TYPE_CHECKING

import falcon

from micromdm_py.http.audit import audit_note
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import BASE64, describe, needed, note
from micromdm_py.http.reply import flag, reply
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.profiles import Profiles
from micromdm_py.service.users import Users

if TYPE_CHECKING:
    from micromdm_py.http.app import App

__all__ = ["add_library"]

PROFILE = {"Identifier": str, "Mobileconfig": BASE64}
BLUEPRINT = {
    "uuid": needed(str),
    "name": needed(str),
    "install_application_manifest_urls": [str],
    "profile_ids": [str],
    "user_uuids": [str],
    "skip_primary_setup_account_creation": bool,
    "set_primary_setup_account_as_regular_user": bool,
    "apply_at": note([str], "Enroll: with the first TokenUpdate of each device"),
}
USER = {
    **dict.fromkeys(("uuid", "udid", "user_id", "user_shortname", "user_longname", "auth_token"), str),
    "password_hash": BASE64,
    "hidden": bool,
}


class ProfilesResource:
    """POST lists, PUT stores, DELETE removes."""

    needs_api_key = True

    def __init__(self, profiles: Profiles, max_body_bytes: int) -> None:
        """Work with `profiles`."""
        self._profiles, self._max = profiles, max_body_bytes

    @describe(
        takes={"id": note(str, "empty: all")},
        gives={"profiles": [PROFILE]},
        answers={404: "It is not there."},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all profiles, or one."""
        reply(resp, self._profiles.list(read_body(req, self._max)))

    @describe(
        takes={"profile": needed(PROFILE)},
        gives={},
        query={"sign": note(bool, "sign it with the key of the server's certificate authority")},
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a profile; `?sign=true` signs it first."""
        reply(
            resp,
            self._profiles.apply(
                read_body(req, self._max), sign=flag(req, "sign"), tell=partial(audit_note, req)
            ),
        )

    @describe(
        takes={"ids": [str]}, gives={}, answers={404: "One is not there.", 409: "A blueprint names one."}
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove profiles."""
        reply(resp, self._profiles.remove(read_body(req, self._max), tell=partial(audit_note, req)))


class BlueprintsResource:
    """POST lists, PUT stores, DELETE removes."""

    needs_api_key = True

    def __init__(self, blueprints: Blueprints, max_body_bytes: int) -> None:
        """Work with `blueprints`."""
        self._blueprints, self._max = blueprints, max_body_bytes

    @describe(takes={"FilterName": note(str, "empty: all")}, gives={"blueprints": [BLUEPRINT]})
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all blueprints, or one."""
        reply(resp, self._blueprints.list(read_body(req, self._max)))

    @describe(takes={"blueprint": needed(BLUEPRINT)}, gives={}, answers={409: "Another one has this name."})
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a blueprint."""
        reply(resp, self._blueprints.apply(read_body(req, self._max), tell=partial(audit_note, req)))

    @describe(takes={"names": [str]}, gives={}, answers={404: "One is not there."})
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove blueprints."""
        reply(resp, self._blueprints.remove(read_body(req, self._max), tell=partial(audit_note, req)))


class BlueprintApplyResource:
    """POST /v1/blueprints/{name}/apply."""

    needs_api_key = True

    def __init__(self, blueprints: Blueprints, max_body_bytes: int) -> None:
        """Work with `blueprints`."""
        self._blueprints, self._max = blueprints, max_body_bytes

    @describe(
        takes={"udids": needed([str])},
        gives={"udids": note({str: [str]}, "uuids of the commands for each")},
        answers={404: "The blueprint is not there."},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Queue what a blueprint says for some devices."""
        reply(
            resp,
            self._blueprints.apply_to(name, read_body(req, self._max), tell=partial(audit_note, req, name)),
        )


class UsersResource:
    """POST lists, PUT stores, DELETE removes."""

    needs_api_key = True

    def __init__(self, users: Users, max_body_bytes: int) -> None:
        """Work with `users`."""
        self._users, self._max = users, max_body_bytes

    @describe(
        takes={"filter_udid": [str], "filter_user_id": [str], "page": int, "per_page": int},
        gives={"users": [USER]},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List users."""
        reply(resp, self._users.list(read_body(req, self._max)))

    @describe(
        takes={"user": needed({**USER, "password": note(str, "in place of password_hash")})},
        gives={"user": USER},
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make or replace a user."""
        reply(resp, self._users.apply(read_body(req, self._max), tell=partial(audit_note, req)))

    @describe(takes={"uuids": [str]}, gives={}, answers={404: "One is not there."})
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove users."""
        reply(resp, self._users.remove(read_body(req, self._max), tell=partial(audit_note, req)))


def add_library(
    app: "App", profiles: Profiles, blueprints: Blueprints, users: Users, max_body_bytes: int
) -> None:
    """Add the routes."""
    app.add_route("/v1/profiles", ProfilesResource(profiles, max_body_bytes))
    app.add_route("/v1/blueprints", BlueprintsResource(blueprints, max_body_bytes))
    app.add_route("/v1/blueprints/{name:segment}/apply", BlueprintApplyResource(blueprints, max_body_bytes))
    app.add_route("/v1/users", UsersResource(users, max_body_bytes))
