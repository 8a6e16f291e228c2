"""The pages: the fleet, searching devices, one device, events."""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

import falcon

from micromdm_py.errors import Conflict, MalformedField, NotFound
from micromdm_py.http.admin.rendering import page, show_page
from micromdm_py.http.admin.visit import visitors_only
from micromdm_py.http.describe import HTML, Content, describe
from micromdm_py.http.reply import query_value
from micromdm_py.service.access import Caller
from micromdm_py.service.inventory import parse_search
from micromdm_py.service.sessions import Sessions
from micromdm_py.service.views import Views

__all__ = ["CommandPage", "DevicePage", "DevicesPage", "EventsPage", "OverviewPage", "StyleResource"]

PER_PAGE = 50
SEARCH_FIELDS = {
    "serial_number": "Serial number",
    "device_name": "Name",
    "model_name": "Model",
    "product_name": "Product",
    "os_version": "OS version",
}

VISITOR = {303: "To the login: there is no session.", 403: "The token lacks the permission."}


class _Page:
    def __init__(self, views: Views, sessions: Sessions, now: Callable[[], datetime]) -> None:
        """Show what `views` gathers to visitors of `sessions`."""
        self._views, self.sessions, self._now = views, sessions, now


class OverviewPage(_Page):
    """/admin."""

    @describe(gives=HTML, answers=VISITOR)
    @visitors_only("mdm.apple.device.list")
    def on_get(self, req: falcon.Request, resp: falcon.Response, visitor: Caller) -> None:
        """Show the state of the fleet."""
        show_page(resp, "overview.html", visitor=visitor, view=self._views.overview(), now=self._now())


class DevicesPage(_Page):
    """/admin/devices."""

    @describe(gives=HTML, answers=VISITOR)
    @visitors_only("mdm.apple.device.list")
    def on_get(self, req: falcon.Request, resp: falcon.Response, visitor: Caller) -> None:
        """Search devices: `field` says in what, `q` for what, `state` which ones."""
        field = query_value(req, "field") or "serial_number"
        text = (query_value(req, "q") or "").strip()
        state, cursor = query_value(req, "state") or "", query_value(req, "cursor") or ""
        wanted = {"state": state, "cursor": cursor, field if field in SEARCH_FIELDS else "": text}
        found, error = None, ""
        try:
            found = self._views.devices(parse_search(wanted.get, PER_PAGE))
        except MalformedField as fault:
            error = str(fault)
        form = {"field": field, "q": text, "state": state}
        more = urlencode({**form, "cursor": found.next}) if found and found.next else ""
        show_page(
            resp,
            "devices.html",
            400 if error else 200,
            visitor=visitor,
            fields=SEARCH_FIELDS,
            form=form,
            devices=found.devices if found else [],
            more=more,
            error=error,
            now=self._now(),
        )


class DevicePage(_Page):
    """/admin/devices/{id}."""

    @describe(gives=HTML, answers=VISITOR)
    @visitors_only("mdm.apple.device.get")
    def on_get(self, req: falcon.Request, resp: falcon.Response, visitor: Caller, id: str) -> None:
        """Show one enrollment."""
        try:
            view = self._views.device(id, query_value(req, "cursor") or "")
        except (NotFound, Conflict, MalformedField) as fault:
            return show_page(resp, "message.html", 404, visitor=visitor, text=f"No device {id}: {fault}")
        show_page(resp, "device.html", visitor=visitor, view=view, now=self._now())


class CommandPage(_Page):
    """/admin/devices/{id}/commands/{command}."""

    @describe(gives=HTML, answers=VISITOR)
    @visitors_only("mdm.apple.command.get")
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, visitor: Caller, id: str, command: str
    ) -> None:
        """Show one command with its timeline, request and answer."""
        try:
            view = self._views.command(id, command)
        except (NotFound, Conflict, MalformedField) as fault:
            text = f"No command {command} of {id}: {fault}"
            return show_page(resp, "message.html", 404, visitor=visitor, text=text)
        show_page(resp, "command.html", visitor=visitor, view=view, now=self._now())


class EventsPage(_Page):
    """/admin/events."""

    @describe(gives=HTML, answers=VISITOR)
    @visitors_only("mdm.event.get")
    def on_get(self, req: falcon.Request, resp: falcon.Response, visitor: Caller) -> None:
        """Show the newest events and how delivery stands."""
        show_page(resp, "events.html", visitor=visitor, view=self._views.overview(), now=self._now())


class StyleResource:
    """/admin/style.css."""

    @describe(gives=Content("text/css"))
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The style sheet of all pages."""
        resp.data, resp.content_type = page("style.css"), "text/css; charset=utf-8"
        resp.set_header("Cache-Control", "max-age=3600")
