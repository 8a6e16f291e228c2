"""Putting the server together: the only module that names concrete classes."""

import os
import random
import secrets
import ssl
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from micromdm_py import lead
from micromdm_py.compose_dep import build_dep, build_devices
from micromdm_py.config import Config
from micromdm_py.errors import StartupError
from micromdm_py.http.app import AppRule, Services, create_app
from micromdm_py.http.client_certificate import ClientCertificates
from micromdm_py.http.nano import NanoServices
from micromdm_py.http.proxy import ProxyHeaders, TrustedProxies
from micromdm_py.http.request import RequestLog
from micromdm_py.logs import line_writer
from micromdm_py.net.apns import ApnsSender
from micromdm_py.net.backup import fetch_backup
from micromdm_py.net.ddm import HttpDeclarative
from micromdm_py.net.nanomdm import send_checkins
from micromdm_py.net.probe import probe
from micromdm_py.net.tls_context import outgoing_context
from micromdm_py.net.unlock import HttpUnlock
from micromdm_py.net.wakeup import Waker
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.password import SALT_BYTES, password_hash
from micromdm_py.receivers import show_url
from micromdm_py.service.apps import Apps
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.bulk import Bulk
from micromdm_py.service.ca import CertificateAuthority, ChallengeRule, create_authority
from micromdm_py.service.checkin import CheckInService
from micromdm_py.service.command_records import CommandRecords
from micromdm_py.service.commands import Commands
from micromdm_py.service.connect import Connect
from micromdm_py.service.declarative import Declarative
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.enroll import Challenges, Enroll, ProfileRule
from micromdm_py.service.family import Family
from micromdm_py.service.feed import Feed
from micromdm_py.service.identity import AcceptanceRule, Identities
from micromdm_py.service.inventory import Inventory
from micromdm_py.service.nano import Nano
from micromdm_py.service.nano_certificate import EscrowUnlock, NanoCertificate
from micromdm_py.service.nano_migration import NanoMigration
from micromdm_py.service.profiles import Profiles
from micromdm_py.service.push import PushNow
from micromdm_py.service.push_certificate import PushCertificates
from micromdm_py.service.sessions import Sessions
from micromdm_py.service.signed_enrolment import SignedEnrolment
from micromdm_py.service.tokens import Tokens
from micromdm_py.service.users import Users
from micromdm_py.service.views import Views
from micromdm_py.service.waiting import LongPolls
from micromdm_py.service.webhooks import Webhooks
from micromdm_py.service.why import Why
from micromdm_py.storage.base import Store
from micromdm_py.storage.filerepo import FileRepository
from micromdm_py.storage.lmdb.store import LmdbStore, open_store
from micromdm_py.storage.records import BindingRule
from micromdm_py.store_place import GIB, STORE, make_folder
from micromdm_py.version import VERSION, build_info

__all__ = [
    "build_app",
    "device_authorities",
    "fetch_database",
    "look_at",
    "prepare",
    "run_courier",
    "send_to_nanomdm",
    "store_path",
    "token_service",
]


def store_path(config: Config) -> Path:
    """The folder of the store."""
    return config.config_path / STORE


def prepare(config: Config) -> bytes | None:
    """Make what the server needs before any process of it runs: folder, store, certificate authority.

    Returns: PEM of the authority whose certificates TLS shall ask clients for, None for none.
    Raises: StartupError.
    """
    store = _open(config)
    try:
        create_authority(store, _now())
        for target in config.webhook_targets:
            store.receiver(target.url)  # now, so that no event of the first moments lies before its beginning
        authority = store.authority()
    finally:
        store.close()
    if files := _files(config):
        files.sweep()
    if not (config.tls and config.tls_client_auth and authority):
        return None
    return ssl.DER_cert_to_PEM_cert(authority[0]).encode()


def fetch_database(url: str, api_key: str, ca_file: str, target: Path) -> None:
    """Get the database of a running MicroMDM server into a new file. Raises: StartupError, UpstreamFailed."""
    context = _outgoing(ca_file)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        fetch_backup(url, api_key, file, context)


def send_to_nanomdm(
    url: str, api_key: str, ca_file: str, messages: Iterable[tuple[str, bytes]]
) -> Iterator[tuple[str, int]]:
    """Send named check-in messages to NanoMDM; gives names and statuses.

    Raises: StartupError, UpstreamFailed.
    """
    return send_checkins(url, api_key, messages, _outgoing(ca_file))


def look_at(url: str, ca_file: str) -> tuple[str, bytes]:
    """Version and SCEP authority (DER) of a server, as devices find it.

    Raises: StartupError, UpstreamFailed.
    """
    return probe(url, _outgoing(ca_file))


def _outgoing(ca_file: str) -> ssl.SSLContext:
    try:
        return outgoing_context(ca_file)
    except OSError as fault:
        raise StartupError(f"-ca-file: {ca_file}: {fault.strerror or fault}") from fault


def token_service(store: Store) -> Tokens:
    """The tokens of a store."""
    return Tokens(store, now=_now, make_secret=secrets.token_urlsafe)


def build_app(
    config: Config,
) -> Any:  # a falcon.App of any request class; with `close`, as the worker wants it
    """Build the WSGI application; called in each web worker, which so opens the store for itself."""
    store = _open(config)
    log = RequestLog(_request_id, line_writer(config))
    return _App(create_app(_services(config, store), _rule(config), log), store.close)


def run_courier(config: Config, stop: threading.Event) -> None:
    """Do the courier's work until `stop` is set; called in the courier's own process."""
    from micromdm_py import courier  # only here: web workers need neither an event loop nor what it calls

    store = _open(config)
    settings = courier.CourierSettings(
        socket_path=_socket(config),
        user_agent=_user_agent(),
        targets=config.webhook_targets,
        headers=config.webhook_headers,
        hmac_key=config.webhook_hmac_key.encode(),
        retention=timedelta(days=config.webhook_retention_days),
        feed=timedelta(days=config.event_retention_days),
        commands=timedelta(days=0 if config.no_command_history else config.command_retention_days),
        audit=timedelta(days=config.audit_retention_days) if config.audit_retention_days else None,
        apns_url=config.apns_url,
        apns_ca_file=config.apns_ca_file,
        dep_url=config.dep_url,
        depsim=config.depsim,
    )
    try:
        courier.run(store, settings, stop)
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class _App:
    """The application with what has to be done when its worker ends."""

    app: Callable[..., Any]
    close: Callable[[], None]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return self.app(environ, start_response)


def _open(config: Config) -> LmdbStore:
    make_folder(config.config_path)
    return open_store(store_path(config), map_size_bytes=config.store_size_gib * GIB, turns=lead)


def _services(config: Config, store: LmdbStore) -> Services:
    accounts = Accounts(store, config.dep_url, config.depsim)
    wake, slots = Waker(_socket(config)), max(1, config.threads // 4)
    trusted = TrustedProxies(config.trusted_networks)
    challenges = Challenges(store, random_bytes=secrets.token_bytes, now=_now)
    authority = CertificateAuthority(
        store,
        ChallengeRule(config.scep_challenge, config.use_dynamic_challenge),
        validity_days=config.scep_client_validity,
        now=_now,
        random_bytes=secrets.token_bytes,
    )
    binding = BindingRule(
        config.allow_rebind, config.one_identity_per_enrollment, config.udid_cert_auth_warn_only
    )
    acceptance = AcceptanceRule(config.validate_scep_issuer, config.validate_scep_expiration)
    identities = Identities(store, lambda: authority.certificate, acceptance, binding, _now)
    declarative = lead.waiting(Declarative(config.dm, HttpDeclarative(), slots=slots))
    enroll = Enroll(store, _profile_rule(config), challenges, _uuid)
    blueprints = Blueprints(store, wake=wake, now=_now, make_uuid=_uuid)
    users = Users(store, make_uuid=_uuid, hash_password=_hash_password)
    wants_idle = bool(config.command_webhook_url)
    wants_events = wants_idle or config.event_retention_days > 0
    polls = lead.waiting(LongPolls(slots))  # one for all, so that they leave threads for devices
    records = CommandRecords(store, polls, now=_now)
    push = lead.waiting(
        PushNow(
            store,
            ApnsSender(config.apns_url, config.apns_ca_file, user_agent=_user_agent()),
            slots,
            clock=_now,
            draw=random.random,
        )
    )
    push_certificates = PushCertificates(store, store, wake=wake, now=_now)
    nano = NanoServices(
        Nano(store, push, now=_now, wake=wake),
        NanoCertificate(store, push_certificates),
        EscrowUnlock(store, lead.waiting(HttpUnlock()), slots=slots),
        NanoMigration(store, users, wake=wake, now=_now),
    )
    files = _files(config)
    return Services(
        checkin=CheckInService(
            store,
            identities,
            declarative,
            blueprints,
            users,
            wants_events=wants_events,
            wake=wake,
            now=_now,
            make_uuid=_uuid,
        ),
        connect=Connect(
            store,
            identities,
            wants_events=wants_events,
            wants_idle=wants_idle,
            wake=wake if wants_idle else _nobody_waits,
            now=_now,
            make_uuid=_uuid,
        ),
        enroll=enroll,
        signed_enrolment=SignedEnrolment(
            enroll, device_authorities(config.device_ca_file), lambda: authority.certificate
        ),
        authority=authority,
        challenges=challenges,
        commands=Commands(store, strict=config.strict_commands, wake=wake, now=_now, make_uuid=_uuid),
        records=records,
        bulk=lead.waiting(Bulk(store, strict=config.strict_commands, wake=wake, now=_now, make_uuid=_uuid)),
        family=Family(
            store,
            records,
            slug=config.organization,
            strict=config.strict_commands,
            wake=wake,
            now=_now,
            make_uuid=_uuid,
        ),
        devices=build_devices(store, accounts, slots, now=_now),
        inventory=Inventory(store, Roster(store)),
        why=Why(store, _now),
        profiles=Profiles(store, authority.sign),
        blueprints=blueprints,
        users=users,
        apps=Apps(files, config.server_url.rstrip("/")),
        views=Views(store, now=_now, show_url=show_url),
        sessions=Sessions(
            store, token_service(store), config.api_key, now=_now, make_secret=secrets.token_urlsafe
        ),
        push=push,
        push_certificates=push_certificates,
        nano=nano,
        dep=build_dep(store, accounts, slots, user_agent=_user_agent(), wake=wake, now=_now),
        tokens=token_service(store),
        audit_log=store,
        quarantine=store,
        feed=Feed(store, polls) if config.event_retention_days else None,
        webhooks=Webhooks(store, wake=wake, now=_now, make_uuid=_uuid, show=show_url),
        now=_now,
        client_certificates=ClientCertificates(config.client_cert_header, trusted),
        proxy_headers=ProxyHeaders(trusted, enabled=config.http_proxy_headers),
        files=files,
        backup=lead.waiting(partial(store.backup, config.config_path)),
    )


def _files(config: Config) -> FileRepository | None:
    """The file repository; some have the server's own folder for it, whose state must not get out."""
    if not config.filerepo:
        return None
    folder = config.config_path
    own = [store_path(config), folder / "micromdm.db", folder / "le-certificates", _socket(config)]
    given = (config.tls_key, config.api_key_file, config.webhook_hmac_key_file)
    private = [*own, *(Path(name) for name in given if name)]
    return FileRepository(Path(config.filerepo), private, before_wait=lead.give_up)


def device_authorities(path: str) -> list[Certificate]:
    """Who signs the certificates that devices have from the factory. Raises: StartupError."""
    try:
        if path:
            pem = Path(path).read_bytes()
        else:
            pem = resources.files("micromdm_py").joinpath("data/apple-device-ca.pem").read_bytes()
        found = x509.load_pem_x509_certificates(pem)
    except OSError as fault:
        raise StartupError(f"-device-ca-file: open {path}: {fault.strerror}") from fault
    except ValueError as fault:
        raise StartupError(f"-device-ca-file: {path} holds no PEM certificates") from fault
    return [load_certificate(one.public_bytes(serialization.Encoding.DER)) for one in found]


def _profile_rule(config: Config) -> ProfileRule:
    try:
        certificate = Path(config.tls_cert).read_bytes() if config.tls_cert else None
    except OSError as fault:
        reason = f"open {config.tls_cert}: {fault.strerror}"
        raise StartupError(f"setting up enrollment service: {reason}") from fault
    static = None if config.use_dynamic_challenge else config.scep_challenge
    one_time = config.use_dynamic_challenge and config.gen_dynamic_challenge
    return ProfileRule(config.server_url.rstrip("/"), certificate, static, one_time)


def _nobody_waits() -> None:
    """What a connect wakes without webhook receivers: those who read the feed look by themselves."""


def _rule(config: Config) -> AppRule:
    return AppRule(
        api_key=config.api_key,
        max_body_bytes=config.max_body_bytes,
        tls=config.tls,
        homepage=config.homepage,
        one_time_challenges=config.use_dynamic_challenge,
        build=build_info(),
        signature_skew=timedelta(seconds=config.device_signature_skew),
        debug=config.http_debug,
        pages=config.admin,
    )


def _socket(config: Config) -> Path:
    return config.config_path / "courier.sock"


def _now() -> datetime:
    return datetime.now(UTC)


def _user_agent() -> str:
    return f"micromdm/{VERSION}"


def _hash_password(password: str) -> bytes:
    return password_hash(password, secrets.token_bytes(SALT_BYTES))


def _uuid() -> str:
    return str(uuid.uuid4())


def _request_id() -> str:
    return secrets.token_hex(8)
