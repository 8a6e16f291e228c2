"""The application: every route, and what each request passes through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import falcon

from micromdm_py.http.account import add_account
from micromdm_py.http.admin.pages import (
    CommandPage,
    DevicePage,
    DevicesPage,
    EventsPage,
    OverviewPage,
    StyleResource,
)
from micromdm_py.http.admin.visit import LoginResource, LogoutResource
from micromdm_py.http.apps import AppsResource
from micromdm_py.http.audit import AuditResource, AuditTrail
from micromdm_py.http.auth import Access
from micromdm_py.http.backup import BackupResource
from micromdm_py.http.challenge import ChallengeResource
from micromdm_py.http.client_certificate import ClientCertificates
from micromdm_py.http.command_records import CommandResource, DeviceCommandsResource
from micromdm_py.http.commands import BulkResource, CommandsResource, EnrollmentCommandsResource, QueueMany
from micromdm_py.http.config_certificate import PushCertificateResource, PushCertificatesResource
from micromdm_py.http.debug import DebugLog
from micromdm_py.http.dep import (
    Dep,
    DepAccountResource,
    DepAssignResource,
    DepDeviceResource,
    DepDevicesResource,
    DepProfilesResource,
    DepRulesResource,
    DepStatusResource,
    DepSyncResource,
    DepTokensResource,
)
from micromdm_py.http.device import DeviceResource
from micromdm_py.http.devices import (
    BlockResource,
    DeviceSearchResource,
    DevicesResource,
    InventoryResource,
    KnownDeviceResource,
    UnblockResource,
    WhyResource,
)
from micromdm_py.http.docs import ApiDescription, DocsResource, OpenApiResource
from micromdm_py.http.enroll import EnrollResource, OtaResource, PhasesResource
from micromdm_py.http.errors import register_errors
from micromdm_py.http.events import (
    DeadLettersResource,
    EventsResource,
    QuarantineResource,
    ReplayResource,
    WebhooksResource,
    WebhookTestResource,
)
from micromdm_py.http.library import add_library
from micromdm_py.http.nano import CombinedResource, NanoServices, add_nano
from micromdm_py.http.organizations import add_organizations
from micromdm_py.http.pages import HomeResource, VersionResource
from micromdm_py.http.proxy import ProxyHeaders, StrictTransport
from micromdm_py.http.push import LegacyPushResource, PushNow, PushResource
from micromdm_py.http.repo import RepositoryResource
from micromdm_py.http.request import RequestLog
from micromdm_py.http.routes import Routes
from micromdm_py.http.scep import ScepResource
from micromdm_py.http.tokens import TokenResource, TokensResource
from micromdm_py.service.account_enrollment import AccountDrivenEnrollment
from micromdm_py.service.apps import Apps
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.ca import CertificateAuthority
from micromdm_py.service.checkin import CheckInService
from micromdm_py.service.command_records import CommandRecords
from micromdm_py.service.commands import Commands
from micromdm_py.service.connect import Connect
from micromdm_py.service.devices import Devices
from micromdm_py.service.enroll import Challenges, Enroll
from micromdm_py.service.feed import Feed
from micromdm_py.service.inventory import Inventory
from micromdm_py.service.organizations import OrganizationCommands
from micromdm_py.service.profiles import Profiles
from micromdm_py.service.push_certificate import PushCertificates
from micromdm_py.service.sessions import Sessions
from micromdm_py.service.signed_enrollment import SignedEnrollment
from micromdm_py.service.tokens import Tokens
from micromdm_py.service.users import Users
from micromdm_py.service.views import Views
from micromdm_py.service.webhooks import Webhooks
from micromdm_py.service.why import Why
from micromdm_py.storage.base import AuditLog, Quarantine
from micromdm_py.storage.files import Files, StoredFile

App = falcon.App[falcon.Request, falcon.Response]

__all__ = ["AppRule", "Services", "create_app"]


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases behind the routes.

    Attributes:
        files: the file repository, None when there is none.
        backup: makes a copy of the store.
        account_enrollment: None when nobody may enroll that way.
    """

    checkin: CheckInService
    connect: Connect
    enroll: Enroll
    signed_enrollment: SignedEnrollment
    authority: CertificateAuthority
    challenges: Challenges
    commands: Commands
    records: CommandRecords
    bulk: QueueMany
    organization_commands: OrganizationCommands
    devices: Devices
    inventory: Inventory
    why: Why
    nano: NanoServices
    push: PushNow
    push_certificates: PushCertificates
    dep: Dep
    tokens: Tokens
    audit_log: AuditLog
    quarantine: Quarantine
    profiles: Profiles
    blueprints: Blueprints
    users: Users
    apps: Apps
    feed: Feed | None
    views: Views
    sessions: Sessions
    webhooks: Webhooks
    now: Callable[[], datetime]
    client_certificates: ClientCertificates
    proxy_headers: ProxyHeaders
    backup: Callable[[], StoredFile]
    files: Files | None = None
    account_enrollment: AccountDrivenEnrollment | None = None


@dataclass(frozen=True, slots=True)
class AppRule:
    """What of the application is switched on.

    Attributes:
        api_key: password of the admin API; "" for none: then only tokens open it.
        max_body_bytes: largest body of reports and commands.
        tls: the server speaks TLS itself.
        homepage: there is a page at `/`.
        one_time_challenges: there is a route that hands out challenges.
        build: what `/version` tells.
        signature_skew: how far signingTime may lie outside a certificate's validity.
        debug: outline every request in the log.
        pages: there are pages for administrators.
    """

    api_key: str
    max_body_bytes: int
    tls: bool
    homepage: bool
    one_time_challenges: bool
    build: Mapping[str, str]
    signature_skew: timedelta = timedelta(0)
    debug: bool = False
    pages: bool = True


def create_app(services: Services, rule: AppRule, log: RequestLog) -> App:
    """Build the WSGI application; `log` sees every request."""
    middleware: list[Any] = [services.proxy_headers, log]  # Any: of unlike kinds
    if rule.debug:
        middleware.append(DebugLog())
    if rule.tls:
        middleware.append(StrictTransport())
    middleware.append(Access(rule.api_key, services.tokens))
    router = Routes(AuditTrail(services.audit_log, services.now).wrap)
    app = falcon.App(middleware=middleware, router=router)
    app.resp_options.default_media_type = None  # type: ignore[assignment]  # no body, no Content-Type
    app.req_options.auto_parse_form_urlencoded = False
    app.req_options.keep_blank_qs_values = True
    app.resp_options.secure_cookies_by_default = True
    register_errors(app)
    _device_routes(app, services, rule)
    _admin_routes(app, services, rule)
    add_organizations(app, services.organization_commands, rule.max_body_bytes)
    if rule.pages:
        _pages(app, services)
    api = ApiDescription(router.resources, rule.build["version"])
    app.add_route("/openapi.json", OpenApiResource(api))
    app.add_route("/docs", DocsResource(api))
    return app


def _device_routes(app: App, services: Services, rule: AppRule) -> None:
    certificates, limit = services.client_certificates, rule.max_body_bytes
    skew = rule.signature_skew
    checkin = DeviceResource(services.checkin, certificates, limit, skew)
    connect = DeviceResource(services.connect, certificates, limit, skew)
    app.add_route("/mdm/checkin", checkin)
    app.add_route("/mdm/connect", connect)
    add_nano(app, services.nano, CombinedResource(checkin, connect), rule.build["version"], limit)
    app.add_route("/mdm/enroll", EnrollResource(services.enroll, services.signed_enrollment))
    app.add_route("/ota/enroll", OtaResource(services.enroll))
    app.add_route("/ota/phase23", PhasesResource(services.signed_enrollment))
    if services.account_enrollment:
        add_account(app, services.account_enrollment)
    app.add_route("/scep", ScepResource(services.authority))
    app.add_route("/version", VersionResource(rule.build))
    if services.files:
        app.add_route("/repo/{path:path}", RepositoryResource(services.files))
    if rule.homepage:
        app.add_route("/", HomeResource())


def _pages(app: App, services: Services) -> None:
    what = services.views, services.sessions, services.now
    app.add_route("/admin", OverviewPage(*what))
    app.add_route("/admin/devices", DevicesPage(*what))
    app.add_route("/admin/devices/{id:segment}", DevicePage(*what))
    app.add_route("/admin/devices/{id:segment}/commands/{command:segment}", CommandPage(*what))
    app.add_route("/admin/events", EventsPage(*what))
    app.add_route("/admin/login", LoginResource(services.sessions))
    app.add_route("/admin/logout", LogoutResource(services.sessions))
    app.add_route("/admin/style.css", StyleResource())


def _admin_routes(app: App, services: Services, rule: AppRule) -> None:
    limit = rule.max_body_bytes
    app.add_route("/v1/bulk/commands", BulkResource(services.bulk, limit))
    queueing = services.commands, services.records, limit
    app.add_route("/v1/commands", CommandsResource(*queueing))
    app.add_route("/v1/commands/{udid:segment}", EnrollmentCommandsResource(*queueing))
    app.add_route("/v1/commands/{udid:segment}/{command:segment}", CommandResource(services.records))
    app.add_route("/v1/devices", DevicesResource(services.devices, limit))
    app.add_route("/v1/devices/search", DeviceSearchResource(services.inventory))
    app.add_route("/v1/devices/{udid:segment}", KnownDeviceResource(services.inventory))
    app.add_route("/v1/devices/{udid:segment}/commands", DeviceCommandsResource(services.records))
    app.add_route("/v1/devices/{udid:segment}/inventory", InventoryResource(services.inventory))
    app.add_route("/v1/devices/{udid:segment}/why", WhyResource(services.why))
    app.add_route("/v1/devices/{udid:segment}/block", BlockResource(services.devices))
    app.add_route("/v1/devices/{udid:segment}/unblock", UnblockResource(services.devices))
    app.add_route("/v1/push/{udid:segment}", PushResource(services.push))
    app.add_route("/push/{udid:segment}", LegacyPushResource(services.push))
    app.add_route("/v1/config/certificate", PushCertificateResource(services.push_certificates))
    app.add_route("/v1/config/certificates", PushCertificatesResource(services.push_certificates))
    _dep_routes(app, services.dep)
    app.add_route("/v1/tokens", TokensResource(services.tokens))
    app.add_route("/v1/tokens/{name:segment}", TokenResource(services.tokens))
    app.add_route("/v1/audit", AuditResource(services.audit_log))
    add_library(app, services.profiles, services.blueprints, services.users, limit)
    app.add_route("/boltbackup", BackupResource(services.backup))
    app.add_route("/v1/apps", AppsResource(services.apps))
    if services.feed is not None:
        app.add_route("/v1/events", EventsResource(services.feed))
    app.add_route("/v1/webhooks", WebhooksResource(services.webhooks))
    app.add_route("/v1/webhooks/test", WebhookTestResource(services.webhooks))
    app.add_route("/v1/webhooks/{id:segment}/replay", ReplayResource(services.webhooks))
    app.add_route("/v1/webhooks/{id:segment}/dead-letters", DeadLettersResource(services.webhooks))
    app.add_route("/v1/quarantine", QuarantineResource(services.quarantine))
    if rule.one_time_challenges:
        app.add_route("/v1/challenge", ChallengeResource(services.challenges))


def _dep_routes(app: App, dep: Dep) -> None:
    app.add_route("/v1/dep-tokens", DepTokensResource(dep))
    app.add_route("/v1/dep/profiles", DepProfilesResource(dep))
    app.add_route("/v1/dep/assign", DepAssignResource(dep))
    app.add_route("/v1/dep/devices", DepDevicesResource(dep))
    app.add_route("/v1/dep/devices/{serial:segment}", DepDeviceResource(dep))
    app.add_route("/v1/dep/account", DepAccountResource(dep))
    app.add_route("/v1/dep/syncnow", DepSyncResource(dep))
    app.add_route("/v1/dep/autoassigners", DepRulesResource(dep))
    app.add_route("/v1/dep/status", DepStatusResource(dep))
