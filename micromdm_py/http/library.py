"""/v1/profiles, /v1/blueprints and /v1/users: what administrators keep on the server for devices."""

from typing import TYPE_CHECKING

import falcon

from micromdm_py.http.body import read_body
from micromdm_py.http.reply import flag, reply
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.profiles import Profiles
from micromdm_py.service.users import Users

if TYPE_CHECKING:
    from micromdm_py.http.app import App

__all__ = ["add_library"]


class ProfilesResource:
    """POST lists, PUT stores, DELETE removes."""

    needs_api_key = True

    def __init__(self, profiles: Profiles, max_body_bytes: int) -> None:
        """Work with `profiles`."""
        self._profiles, self._max = profiles, max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all profiles, or one."""
        reply(resp, self._profiles.list(read_body(req, self._max)))

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a profile; `?sign=true` signs it first."""
        reply(resp, self._profiles.apply(read_body(req, self._max), sign=flag(req, "sign")))

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove profiles."""
        reply(resp, self._profiles.remove(read_body(req, self._max)))


class BlueprintsResource:
    """POST lists, PUT stores, DELETE removes."""

    needs_api_key = True

    def __init__(self, blueprints: Blueprints, max_body_bytes: int) -> None:
        """Work with `blueprints`."""
        self._blueprints, self._max = blueprints, max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all blueprints, or one."""
        reply(resp, self._blueprints.list(read_body(req, self._max)))

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a blueprint."""
        reply(resp, self._blueprints.apply(read_body(req, self._max)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove blueprints."""
        reply(resp, self._blueprints.remove(read_body(req, self._max)))


class BlueprintApplyResource:
    """POST /v1/blueprints/{name}/apply."""

    needs_api_key = True

    def __init__(self, blueprints: Blueprints, max_body_bytes: int) -> None:
        """Work with `blueprints`."""
        self._blueprints, self._max = blueprints, max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Queue what a blueprint says for some devices."""
        reply(resp, self._blueprints.apply_to(name, read_body(req, self._max)))


class UsersResource:
    """POST lists, PUT stores, DELETE removes."""

    needs_api_key = True

    def __init__(self, users: Users, max_body_bytes: int) -> None:
        """Work with `users`."""
        self._users, self._max = users, max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List users."""
        reply(resp, self._users.list(read_body(req, self._max)))

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make or replace a user."""
        reply(resp, self._users.apply(read_body(req, self._max)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove users."""
        reply(resp, self._users.remove(read_body(req, self._max)))


def add_library(
    app: "App", profiles: Profiles, blueprints: Blueprints, users: Users, max_body_bytes: int
) -> None:
    """Add the routes."""
    app.add_route("/v1/profiles", ProfilesResource(profiles, max_body_bytes))
    app.add_route("/v1/blueprints", BlueprintsResource(blueprints, max_body_bytes))
    app.add_route("/v1/blueprints/{name:segment}/apply", BlueprintApplyResource(blueprints, max_body_bytes))
    app.add_route("/v1/users", UsersResource(users, max_body_bytes))
