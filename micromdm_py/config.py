"""``Config``: every setting of the server, one line each.

A setting's flag is its field name with dashes (``http_addr`` is ``-http-addr``). Its environment variable is
``MICROMDM_`` and the name in capitals, unless its line says otherwise. The command line and ``-h`` are made
from these lines; `config_rules` checks the values.
"""

import dataclasses
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar

from micromdm_py.errors import StartupError
from micromdm_py.receivers import WebhookTarget, parse_header, parse_target

__all__ = ["Config", "Setting", "settings"]

T = TypeVar("T", bool, int, str, Path, tuple[str, ...])

_MANY = 2**31 - 1
_CENTURY_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of one setting; its value is in ``Config``.

    Attributes:
        name: field of ``Config``.
        env: environment variable; empty if there is none.
        default: value when nothing is given; its type is the type of the setting.
        help: one line for ``-h``.
        unit: what a number counts.
        secret: whether the value must never be shown.
        low, high: smallest and largest number accepted.
        separator: what separates several values in the environment variable.
    """

    name: str
    env: str
    default: bool | int | str | Path | tuple[str, ...]
    help: str
    unit: str
    secret: bool
    low: int
    high: int
    separator: str

    @property
    def flag(self) -> str:
        """The flag with its dash, ``-http-addr``."""
        return "-" + self.name.replace("_", "-")


def setting(
    default: T,
    help: str,
    *,
    env: str | None = None,
    unit: str = "",
    secret: bool = False,
    between: tuple[int, int] = (0, _MANY),
    separator: str = " ",
) -> T:
    """Declare one setting; ``Setting`` explains the parts. ``env=""`` means no environment variable."""
    about = (env, default, help, unit, secret, *between, separator)
    return dataclasses.field(default=default, repr=not secret, metadata={"about": about})


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one server process."""

    # Server
    server_url: str = setting("", "public https URL of this server (required)")
    config_path: Path = setting(Path("/var/db/micromdm"), "folder of the store and of all state")
    http_addr: str = setting(":https", "address to listen on; :8080 when TLS is off")
    tls: bool = setting(True, "serve https")
    tls_cert: str = setting("", "file with the PEM certificate chain for TLS")
    tls_key: str = setting("", "file with the PEM private key for TLS")
    disable_redirect: bool = setting(False, "do not redirect port 80 to https when listening on port 443")
    http_proxy_headers: bool = setting(False, "take client address, scheme and host from proxy headers")
    trusted_proxies: str = setting("127.0.0.0/8,::1/128", "networks whose proxy headers count, by commas")
    client_cert_header: str = setting("", "header in which a trusted proxy passes on the client certificate")
    tls_client_auth: bool = setting(False, "ask devices for their certificate, in place of Mdm-Signature")
    max_body_bytes: int = setting(64 << 20, "largest request body", unit="bytes", between=(1, 1 << 40))
    workers: int = setting(0, "web processes; 0 for one per core", between=(0, 1024))
    threads: int = setting(512, "most threads per web process", between=(1, 4096))
    store_size_gib: int = setting(64, "largest size of the store", unit="GiB", between=(1, 1 << 20))
    homepage: bool = setting(True, "answer / with a page", env="MICROMDM_HTTP_HOMEPAGE")
    filerepo: str = setting("", "folder of packages and manifests", env="MICROMDM_FILE_REPO")
    ignore_micromdm_db: bool = setting(False, "start with an empty store beside a micromdm.db not imported")

    # Administration
    api_key: str = setting("", "password of the admin API, which is off without one", secret=True)
    api_key_file: str = setting("", "file that holds the API key")
    admin: bool = setting(True, "answer /admin with pages for administrators")
    audit_retention_days: int = setting(
        365, "how long the audit log is kept; 0 is forever", unit="days", between=(0, _CENTURY_DAYS)
    )
    organization: str = setting("default", "name of the organization in API paths")

    # Devices
    queue: str = setting("builtin", "builtin or inmem; both mean the durable queue")
    strict_commands: bool = setting(False, "refuse JSON commands that break Apple's schema")
    no_command_history: bool = setting(False, "keep no record of finished commands")
    command_retention_days: int = setting(
        90, "how long finished commands are kept; 0 keeps none", unit="days", between=(0, _CENTURY_DAYS)
    )
    dm: str = setting("", "URL of the declarative management service", env="DM", secret=True)
    device_signature_skew: int = setting(0, "clock difference allowed in signatures", unit="seconds")
    udid_cert_auth_warn_only: bool = setting(False, "only log it when a device presents another certificate")
    allow_rebind: bool = setting(True, "let Authenticate bind a device to a new certificate")
    one_identity_per_enrollment: bool = setting(False, "refuse a certificate that is bound to another device")
    validate_scep_issuer: bool = setting(False, "accept every certificate issued by our own authority")
    validate_scep_expiration: bool = setting(False, "refuse expired device certificates")
    device_ca_file: str = setting(
        "", "file with the PEM authorities of device certificates; Apple's when empty"
    )
    account_enroll_hook_url: str = setting(
        "", "URL of the service that decides on account-driven enrollment", secret=True
    )
    account_enroll_allow_all: bool = setting(False, "let every user enroll their own device")

    # SCEP
    scep_client_validity: int = setting(
        365, "validity of issued certificates", unit="days", between=(0, _CENTURY_DAYS)
    )
    scep_challenge: str = setting("micromdm", "static SCEP challenge", secret=True)
    use_dynamic_challenge: bool = setting(False, "accept one-time SCEP challenges only")
    gen_dynamic_challenge: bool = setting(False, "put a one-time challenge into each enrollment profile")

    # Outgoing
    command_webhook_url: tuple[str, ...] = setting(
        (), "URL that receives events; repeatable", env="MICROMDM_WEBHOOK_URL", secret=True
    )
    webhook_header: tuple[str, ...] = setting(
        (), 'header "Name: value" to send with every event; repeatable', secret=True, separator="\n"
    )
    webhook_hmac_key: str = setting("", "key that signs events in X-Hmac-Signature", secret=True)
    webhook_hmac_key_file: str = setting("", "file that holds the key that signs events")
    webhook_retention_days: int = setting(
        7, "how long events wait for a receiver that is down", unit="days", between=(1, _CENTURY_DAYS)
    )
    event_retention_days: int = setting(
        7, "how long the feed keeps events; 0 is off", unit="days", between=(0, _CENTURY_DAYS)
    )
    apns_url: str = setting("https://api.push.apple.com", "URL of the push service")
    apns_ca_file: str = setting("", "file with the PEM authorities of the push service")
    dep_url: str = setting("https://mdmenrollment.apple.com", "URL of Apple's device assignment service")
    depsim: str = setting("", "URL of a simulator of Apple's DEP service", env="MICROMDM_DEPSIM_URL")

    # Diagnosis
    http_debug: bool = setting(False, "log requests and replies, without secrets")
    log_time: bool = setting(False, "begin log lines with the time", env="")
    print_flags: bool = setting(False, "print all flags and their values", env="")
    examples: bool = setting(False, "print an example and stop", env="")

    @property
    def webhook_targets(self) -> tuple[WebhookTarget, ...]:
        """The receivers of events. Raises: StartupError."""
        return tuple(parse_target(url) for url in self.command_webhook_url)

    @property
    def webhook_headers(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each extra header. Raises: StartupError."""
        return tuple(parse_header(line) for line in self.webhook_header)

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of ``-trusted-proxies``. Raises: StartupError."""
        try:
            return tuple(ip_network(word.strip()) for word in self.trusted_proxies.split(",") if word.strip())
        except ValueError as error:
            raise StartupError(f"-trusted-proxies: {error}") from None

    def secrets(self) -> tuple[str, ...]:
        """The values that no output may show; the default challenge is public, so not among them."""
        values = [self.api_key, self.webhook_hmac_key]
        values += [line.partition(":")[2].strip() for line in self.webhook_header]
        if self.scep_challenge != Config.__dataclass_fields__["scep_challenge"].default:
            values.append(self.scep_challenge)
        return tuple(value for value in values if value)


def settings() -> tuple[Setting, ...]:
    """All settings in alphabetical order."""
    found = []
    for field in sorted(dataclasses.fields(Config), key=lambda field: field.name):
        env, *about = field.metadata["about"]
        found.append(Setting(field.name, f"MICROMDM_{field.name.upper()}" if env is None else env, *about))
    return tuple(found)
