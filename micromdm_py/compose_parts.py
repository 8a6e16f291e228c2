"""Putting together the use cases of a web worker, each made once, when something first asks for it."""

import random
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import TypedDict, cast

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from micromdm_py import lead
from micromdm_py.compose_dep import build_dep, build_devices
from micromdm_py.config import Config
from micromdm_py.errors import StartupError
from micromdm_py.http.app import Services
from micromdm_py.http.client_certificate import ClientCertificates
from micromdm_py.http.dep import Dep
from micromdm_py.http.nano import NanoServices
from micromdm_py.http.permissions import KNOWN
from micromdm_py.http.proxy import ProxyHeaders, TrustedProxies
from micromdm_py.net.apns import ApnsSender
from micromdm_py.net.ddm import HttpDeclarative
from micromdm_py.net.enrollment_hook import HttpHook
from micromdm_py.net.unlock import HttpUnlock
from micromdm_py.net.wakeup import Waker
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.password import SALT_BYTES, password_hash
from micromdm_py.receivers import show_url
from micromdm_py.service.account_enrollment import AccountDrivenEnrollment, AccountRule, AllowAll
from micromdm_py.service.apps import Apps
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.bulk import Bulk
from micromdm_py.service.ca import CertificateAuthority, ChallengeRule
from micromdm_py.service.checkin import CheckInService
from micromdm_py.service.command_records import CommandRecords
from micromdm_py.service.commands import Commands
from micromdm_py.service.connect import Connect
from micromdm_py.service.declarative import Declarative
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.enroll import Challenges, Enroll, ProfileRule
from micromdm_py.service.enrollment_hook import Hook
from micromdm_py.service.feed import Feed
from micromdm_py.service.identity import AcceptanceRule, Identities
from micromdm_py.service.inventory import Inventory
from micromdm_py.service.nano import Nano, Push
from micromdm_py.service.nano_certificate import EscrowUnlock, NanoCertificate
from micromdm_py.service.nano_migration import NanoMigration
from micromdm_py.service.organizations import OrganizationCommands
from micromdm_py.service.profiles import Profiles
from micromdm_py.service.push import PushNow
from micromdm_py.service.push_certificate import PushCertificates
from micromdm_py.service.sessions import Sessions
from micromdm_py.service.signed_enrollment import SignedEnrollment
from micromdm_py.service.tokens import Tokens
from micromdm_py.service.users import Users
from micromdm_py.service.views import Views
from micromdm_py.service.waiting import LongPolls, Wait
from micromdm_py.service.webhooks import Webhooks
from micromdm_py.service.why import Why
from micromdm_py.storage.base import Store
from micromdm_py.storage.filerepo import FileRepository
from micromdm_py.storage.lmdb.store import LmdbStore
from micromdm_py.storage.records import BindingRule
from micromdm_py.store_place import STORE
from micromdm_py.version import VERSION

__all__ = ["Parts", "device_authorities", "file_repository", "socket_path", "token_service", "user_agent"]


class _Common(TypedDict):
    """The arguments shared by everything that makes commands or events."""

    wake: Callable[[], None]
    now: Callable[[], datetime]
    make_uuid: Callable[[], str]


class Parts:
    """The parts of a web worker."""

    def __init__(self, config: Config, store: LmdbStore) -> None:
        """Take the settings and an open store; nothing is built yet."""
        self._config, self._store = config, store
        self._wake = Waker(socket_path(config))
        self._slots = max(1, config.threads // 4)  # how many threads may wait on other servers at once
        self._common: _Common = {"wake": self._wake, "now": now, "make_uuid": make_uuid}
        self._wants_idle = bool(config.command_webhook_url)
        self._wants_events = self._wants_idle or config.event_retention_days > 0

    def services(self) -> Services:
        """Build everything that the routes need."""
        config, store = self._config, self._store
        trusted = TrustedProxies(config.trusted_networks)
        return Services(
            checkin=self._checkin,
            connect=self._connect,
            enroll=self._enroll,
            signed_enrollment=self._signed_enrollment,
            authority=self._authority,
            challenges=self._challenges,
            commands=Commands(store, strict=config.strict_commands, **self._common),
            records=self._records,
            bulk=lead.waiting(Bulk(store, strict=config.strict_commands, **self._common)),
            organization_commands=self._organization_commands,
            devices=build_devices(store, self._accounts, self._slots, now=now),
            inventory=Inventory(store, Roster(store)),
            why=Why(store, now),
            profiles=Profiles(store, self._authority.sign),
            blueprints=self._blueprints,
            users=self._users,
            apps=Apps(self._files, config.server_url.rstrip("/")),
            views=Views(store, now=now, show_url=show_url),
            sessions=self._sessions,
            push=self._push,
            push_certificates=self._push_certificates,
            nano=self._nano,
            dep=self._dep,
            tokens=token_service(store),
            audit_log=store,
            quarantine=store,
            feed=Feed(store, self._polls) if config.event_retention_days else None,
            webhooks=Webhooks(store, **self._common, show_url=show_url),
            now=now,
            client_certificates=ClientCertificates(config.client_cert_header, trusted),
            proxy_headers=ProxyHeaders(trusted, enabled=config.http_proxy_headers),
            files=self._files,
            account_enrollment=self._account_enrollment,
            backup=lead.waiting(partial(store.backup, config.config_path)),
        )

    # --- the device side ---

    @cached_property
    def _checkin(self) -> CheckInService:
        declarative = Declarative(self._config.dm, HttpDeclarative(), slots=self._slots)
        return CheckInService(
            self._store,
            self._identities,
            lead.waiting(declarative),
            self._blueprints,
            self._users,
            wants_events=self._wants_events,
            **self._common,
        )

    @cached_property
    def _connect(self) -> Connect:
        return Connect(
            self._store,
            self._identities,
            wants_events=self._wants_events,
            wants_idle=self._wants_idle,
            wake=self._wake if self._wants_idle else _wake_nobody,
            now=now,
            make_uuid=make_uuid,
        )

    @cached_property
    def _identities(self) -> Identities:
        config = self._config
        binding = BindingRule(
            config.allow_rebind, config.one_identity_per_enrollment, config.udid_cert_auth_warn_only
        )
        acceptance = AcceptanceRule(config.validate_scep_issuer, config.validate_scep_expiration)
        return Identities(self._store, lambda: self._authority.certificate, acceptance, binding, now)

    @cached_property
    def _authority(self) -> CertificateAuthority:
        config = self._config
        return CertificateAuthority(
            self._store,
            ChallengeRule(config.scep_challenge, config.use_dynamic_challenge),
            validity_days=config.scep_client_validity,
            now=now,
            random_bytes=secrets.token_bytes,
        )

    @cached_property
    def _challenges(self) -> Challenges:
        return Challenges(self._store, random_bytes=secrets.token_bytes, now=now)

    @cached_property
    def _enroll(self) -> Enroll:
        return Enroll(self._store, _profile_rule(self._config), self._challenges, make_uuid)

    @cached_property
    def _signed_enrollment(self) -> SignedEnrollment:
        authorities = device_authorities(self._config.device_ca_file)
        return SignedEnrollment(self._enroll, authorities, lambda: self._authority.certificate)

    @cached_property
    def _account_enrollment(self) -> AccountDrivenEnrollment | None:
        config = self._config
        server_url, url = config.server_url.rstrip("/"), config.account_enroll_hook_url
        rule: AccountRule
        if url:
            rule = Hook(lead.waiting(HttpHook(url, config.webhook_hmac_key.encode())), slots=self._slots)
        elif config.account_enroll_allow_all:
            rule = AllowAll(server_url)
        else:
            return None
        return AccountDrivenEnrollment(rule, self._signed_enrollment, self._enroll, server_url)

    # --- the administrators' side ---

    @cached_property
    def _blueprints(self) -> Blueprints:
        return Blueprints(self._store, **self._common)

    @cached_property
    def _users(self) -> Users:
        return Users(self._store, make_uuid=make_uuid, hash_password=_hash_password)

    @cached_property
    def _accounts(self) -> Accounts:
        return Accounts(self._store, self._config.dep_url, self._config.depsim)

    @cached_property
    def _dep(self) -> Dep:
        store, accounts, slots = self._store, self._accounts, self._slots
        return build_dep(store, accounts, slots, user_agent=user_agent(), wake=self._wake, now=now)

    @cached_property
    def _files(self) -> FileRepository | None:
        return file_repository(self._config)

    @cached_property
    def _polls(self) -> Wait:
        # One for all long polls, so that together they leave threads for devices.
        wait = lead.waiting(LongPolls(self._slots))
        return cast(Wait, wait)  # `LongPolls.__call__` is generic, which `waiting` cannot express

    @cached_property
    def _records(self) -> CommandRecords:
        return CommandRecords(self._store, self._polls, now=now)

    @cached_property
    def _organization_commands(self) -> OrganizationCommands:
        config = self._config
        return OrganizationCommands(
            self._store,
            self._records,
            slug=config.organization,
            strict=config.strict_commands,
            **self._common,
        )

    @cached_property
    def _sessions(self) -> Sessions:
        tokens = token_service(self._store)
        return Sessions(self._store, tokens, self._config.api_key, now=now, make_secret=secrets.token_urlsafe)

    # --- pushes ---

    @cached_property
    def _push(self) -> Push:
        config = self._config
        sender = ApnsSender(config.apns_url, config.apns_ca_file, user_agent=user_agent())
        return lead.waiting(PushNow(self._store, sender, self._slots, now=now, draw=random.random))

    @cached_property
    def _push_certificates(self) -> PushCertificates:
        return PushCertificates(self._store, self._store, wake=self._wake, now=now)

    @cached_property
    def _nano(self) -> NanoServices:
        store, wake = self._store, self._wake
        return NanoServices(
            Nano(store, self._push, now=now, wake=wake),
            NanoCertificate(store, self._push_certificates),
            EscrowUnlock(store, lead.waiting(HttpUnlock()), slots=self._slots),
            NanoMigration(store, self._users, wake=wake, now=now),
        )


def token_service(store: Store) -> Tokens:
    """The service for API tokens, on any store."""
    return Tokens(store, known=KNOWN, now=now, make_secret=secrets.token_urlsafe)


def now() -> datetime:
    """The present time, aware UTC."""
    return datetime.now(UTC)


def make_uuid() -> str:
    """A new random UUID in lower case."""
    return str(uuid.uuid4())


def user_agent() -> str:
    """User-Agent of the server's own calls."""
    return f"micromdm/{VERSION}"


def socket_path(config: Config) -> Path:
    """Path of the courier's wake-up socket."""
    return config.config_path / "courier.sock"


def _hash_password(password: str) -> bytes:
    return password_hash(password, secrets.token_bytes(SALT_BYTES))


def file_repository(config: Config) -> FileRepository | None:
    """The file repository, None when it is off.

    It may lie in the server's own folder, so the files of the server's state are kept out of it.
    """
    if not config.filerepo:
        return None
    folder = config.config_path
    own = [folder / STORE, folder / "micromdm.db", folder / "le-certificates", socket_path(config)]
    given = (config.tls_key, config.api_key_file, config.webhook_hmac_key_file)
    private = [*own, *(Path(name) for name in given if name)]
    return FileRepository(Path(config.filerepo), private, before_wait=lead.give_up)


def device_authorities(path: str) -> list[Certificate]:
    """The authorities that sign the certificates devices are shipped with.

    Args:
        path: file of `-device-ca-file`, "" for Apple's authorities.
    Raises: StartupError.
    """
    try:
        if path:
            pem = Path(path).read_bytes()
        else:
            pem = resources.files("micromdm_py").joinpath("data/apple-device-ca.pem").read_bytes()
        found = x509.load_pem_x509_certificates(pem)
    except OSError as fault:
        raise StartupError(f"-device-ca-file: open {path}: {(fault.strerror or '').lower()}") from fault
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


def _wake_nobody() -> None:
    """For connects when there are no webhook receivers: readers of the feed look by themselves."""
