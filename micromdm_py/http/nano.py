"""NanoMDM's API under /nano: for programs written for NanoMDM, whose base URL is a setting."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import falcon

from micromdm_py.http.audit import audit_note
from micromdm_py.http.body import read_body
from micromdm_py.http.commands import permit
from micromdm_py.http.describe import TIME, Content, describe, needed, note
from micromdm_py.http.device import ANSWER, MESSAGE, REFUSALS, DeviceResource
from micromdm_py.http.reply import flag, query_value
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.service.nano import Nano
from micromdm_py.service.nano_certificate import EscrowUnlock, NanoCertificate
from micromdm_py.service.nano_migration import NanoMigration

if TYPE_CHECKING:
    from micromdm_py.http.app import App

__all__ = ["CombinedResource", "NanoServices", "add_nano"]

CHECK_IN = "application/x-apple-aspen-mdm-checkin"
JSON = "application/json"
FORM_BYTES = 1 << 16
RESULTS = note(
    {"status": {str: {"push_result": str, "push_error": str, "command_error": str}}, "command_uuid": str},
    "By id.",
)
PARTLY = {207: "It went well for some ids.", 500: "It went well for none."}
CERTIFICATE = {"topic": str, "not_after": TIME}


class CombinedResource:
    """PUT /nano/mdm: check-in and connect at one URL, told apart by their content type."""

    def __init__(self, checkin: DeviceResource, connect: DeviceResource) -> None:
        """Pass on to one of these."""
        self._checkin, self._connect = checkin, connect

    @describe(takes=MESSAGE, gives=ANSWER, answers=REFUSALS)
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take one message of a device."""
        is_checkin = (req.env.get("CONTENT_TYPE") or "").startswith(CHECK_IN)
        (self._checkin if is_checkin else self._connect).on_put(req, resp)


class EnqueueResource:
    """PUT or POST /nano/v1/enqueue/{ids}."""

    needs_api_key = True

    def __init__(self, nano: Nano, max_body_bytes: int) -> None:
        """Queue with `nano`."""
        self._nano, self._max = nano, max_body_bytes

    @describe(
        takes=Content("application/xml", text="A command as a property list."),
        gives=RESULTS,
        query={"nopush": note(bool, "do not push")},
        answers=PARTLY,
        about="Ids are divided by commas.",
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, ids: str) -> None:
        """Queue a command for several enrollments; `?nopush=1` does not push."""
        body = read_body(req, self._max)
        nopush = bool(query_value(req, "nopush"))
        _answer(resp, *self._nano.enqueue(ids, body, permit(req), nopush=nopush))

    on_post = on_put


class NanoPushResource:
    """GET or PUT /nano/v1/push/{ids}."""

    needs_api_key = True

    def __init__(self, nano: Nano) -> None:
        """Push with `nano`."""
        self._nano = nano

    @describe(gives=RESULTS, answers=PARTLY, about="Ids are divided by commas.")
    def on_get(self, req: falcon.Request, resp: falcon.Response, ids: str) -> None:
        """Push to several enrollments."""
        _answer(resp, *self._nano.push(ids))

    on_put = on_get
    on_post = on_get


class NanoCertificateResource:
    """/nano/v1/pushcert."""

    needs_api_key = True

    def __init__(self, certificates: NanoCertificate) -> None:
        """Work with `certificates`."""
        self._certificates = certificates

    @describe(gives=CERTIFICATE, query={"topic": needed(str)}, answers={404: "There is none of this topic."})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show topic and end of the certificate of a topic."""
        _answer(resp, 200, self._certificates.show(query_value(req, "topic") or ""))

    @describe(
        takes=Content("application/x-pem-file", text="Certificate and key."),
        gives=CERTIFICATE,
        query={"force": note(bool, "store it even with another topic than enrolled devices have")},
        answers={409: "Devices are enrolled with another topic."},
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store certificate and key, one PEM file."""
        body = read_body(req, FORM_BYTES)
        _answer(resp, 200, self._certificates.store(body, force=flag(req, "force")))


class EscrowUnlockResource:
    """POST /nano/v1/escrowkeyunlock."""

    needs_api_key = True

    def __init__(self, unlock: EscrowUnlock) -> None:
        """Unlock with `unlock`."""
        self._unlock = unlock

    @describe(
        takes=Content("application/x-www-form-urlencoded", {str: str}, "As Apple's service wants it."),
        gives=Content("application/octet-stream", text="Apple's answer, with its own status."),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Pass the form on to Apple and its answer back."""
        text = read_body(req, FORM_BYTES).decode("utf-8", "replace")
        form = dict(parse_qsl(text, keep_blank_values=True, errors="replace"))
        status, content_type, body = self._unlock(form)
        _answer(resp, status, body, content_type or "application/octet-stream")


class NanoMigrationResource:
    """PUT or POST /nano/migration."""

    needs_api_key = True

    def __init__(self, migration: NanoMigration, max_body_bytes: int) -> None:
        """Hand messages to `migration`."""
        self._migration, self._max = migration, max_body_bytes

    @describe(
        takes=Content("application/xml", text="A check-in message of a device, as a property list."),
        answers={409: "The device has come to this server itself."},
        about="For programs that move enrollments between servers, nano2nano for instance.",
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take an Authenticate, TokenUpdate or SetBootstrapToken in the name of a device."""
        audit_note(req, self._migration.take(read_body(req, self._max)))
        _answer(resp, 200, b"")

    on_post = on_put


class NanoVersionResource:
    """GET /nano/version."""

    def __init__(self, version: str) -> None:
        """Tell this version."""
        self._document = json_reply({"version": version})

    @describe(gives={"version": str})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tell the version."""
        _answer(resp, 200, self._document)


@dataclass(frozen=True, slots=True)
class NanoServices:
    """The use cases behind these routes."""

    commands: Nano
    certificates: NanoCertificate
    unlock: EscrowUnlock
    migration: NanoMigration


def add_nano(
    app: "App", services: NanoServices, device: CombinedResource, version: str, max_body_bytes: int
) -> None:
    """Add the routes; `device` serves check-in and connect."""
    app.add_route("/nano/mdm", device)
    app.add_route("/nano/version", NanoVersionResource(version))
    app.add_route("/nano/v1/enqueue/{ids:segment}", EnqueueResource(services.commands, max_body_bytes))
    app.add_route("/nano/v1/push/{ids:segment}", NanoPushResource(services.commands))
    app.add_route("/nano/v1/pushcert", NanoCertificateResource(services.certificates))
    app.add_route("/nano/migration", NanoMigrationResource(services.migration, max_body_bytes))
    app.add_route("/nano/v1/escrowkeyunlock", EscrowUnlockResource(services.unlock))


def _answer(resp: falcon.Response, status: int, body: bytes, content_type: str = JSON) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.data, resp.content_type = body, content_type
