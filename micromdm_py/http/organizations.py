"""/v1/organizations/…: commands as the organizations' API has them."""

from functools import partial
from typing import TYPE_CHECKING

import falcon

from micromdm_py.http.body import read_body
from micromdm_py.http.command_records import DEFAULT_LIMIT, FILTER, MAX_LIMIT, may_read_secrets
from micromdm_py.http.commands import options, permit
from micromdm_py.http.describe import ANY, describe, needed, note
from micromdm_py.http.reply import query_number, query_value, reply
from micromdm_py.service.command_records import parse_filter
from micromdm_py.service.organizations import OrganizationCommands

if TYPE_CHECKING:
    App = falcon.App[falcon.Request, falcon.Response]

__all__ = ["add_organizations"]

MAX_PAGE = 1_000_000

ANSWER = {"status": bool, "data": ANY}
PAGE = {"status": bool, "data": {"items": [ANY], "next": str}}
CREATION = {
    "command": needed({"RequestType": needed(str)}, "keys as in the property list"),
    "targetIds": note([str], "where the path names no target"),
    "confirm": note(int, "how many targets; needed to erase or lock more than ten"),
}
ERRORS = {404: "Organization, target or command is unknown."}


class _Resource:
    needs_api_key = True

    def __init__(self, commands: OrganizationCommands, max_body_bytes: int) -> None:
        """Work with `commands`."""
        self._commands, self._max = commands, max_body_bytes

    def _create(self, req: falcon.Request, resp: falcon.Response, path: dict[str, str]) -> None:
        document = self._commands.create(
            path,
            read_body(req, self._max),
            permit=permit(req),
            query=options(req),
            secrets=may_read_secrets(req),
        )
        reply(resp, document)


class OrganizationTypeResource(_Resource):
    """…/commands/{targetType}."""

    @describe(takes=CREATION, gives=ANSWER, answers=ERRORS)
    def on_post(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """Queue a command for several targets."""
        self._create(req, resp, path)


class OrganizationTargetResource(_Resource):
    """…/commands/{targetType}/{targetId}."""

    @describe(gives=PAGE, query=FILTER, answers=ERRORS)
    def on_get(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """List the commands of a target, newest first."""
        limit = query_number(req, "limit", 1, MAX_LIMIT, default=DEFAULT_LIMIT)
        wanted = parse_filter(partial(query_value, req), limit)
        reply(resp, self._commands.page(path, wanted, secrets=may_read_secrets(req)))

    @describe(takes=CREATION, gives=ANSWER, answers=ERRORS)
    def on_post(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """Queue a command."""
        self._create(req, resp, path)


class OrganizationGroupsResource(_Resource):
    """…/commands/{targetType}/{targetId}/grouped."""

    @describe(gives=ANSWER, query={"groupName": str, "types": str, "limit": int, "page": int}, answers=ERRORS)
    def on_get(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """Count the commands of a target by group."""
        names = {"group": "groupName", "request_type": "types"}

        def query(name: str) -> str | None:
            return query_value(req, names[name]) if name in names else None

        wanted = parse_filter(query, query_number(req, "limit", 1, MAX_LIMIT, default=DEFAULT_LIMIT))
        number = query_number(req, "page", 1, MAX_PAGE, default=1)
        reply(resp, self._commands.grouped(path, wanted, number, secrets=may_read_secrets(req)))


class OrganizationCommandResource(_Resource):
    """…/commands/{targetType}/{targetId}/{admCommandId}."""

    @describe(gives=ANSWER, answers=ERRORS)
    def on_get(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """Show a command."""
        reply(resp, self._commands.one(path, secrets=may_read_secrets(req)))


class OrganizationCancelResource(_Resource):
    """…/commands/{targetType}/{targetId}/{admCommandId}/cancel."""

    @describe(gives=ANSWER, answers=ERRORS)
    def on_post(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """Withdraw a command."""
        reply(resp, self._commands.cancel(path))


def add_organizations(app: "App", commands: OrganizationCommands, limit: int) -> None:
    """Add the routes."""
    app.add_route(
        "/v1/organizations/{organizationId:segment}/mdm/apple/enterprise/commands/{targetType:segment}",
        OrganizationTypeResource(commands, limit),
    )
    app.add_route(
        "/v1/organizations/{organizationId:segment}/mdm/apple/enterprise/commands/{targetType:segment}/{targetId:segment}",
        OrganizationTargetResource(commands, limit),
    )
    app.add_route(
        "/v1/organizations/{organizationId:segment}/mdm/apple/enterprise/commands/{targetType:segment}/{targetId:segment}/grouped",
        OrganizationGroupsResource(commands, limit),
    )
    app.add_route(
        "/v1/organizations/{organizationId:segment}/mdm/apple/enterprise/commands/{targetType:segment}/{targetId:segment}/{admCommandId:segment}",
        OrganizationCommandResource(commands, limit),
    )
    app.add_route(
        "/v1/organizations/{organizationId:segment}/mdm/apple/enterprise/commands/{targetType:segment}/{targetId:segment}/{admCommandId:segment}/cancel",
        OrganizationCancelResource(commands, limit),
    )
