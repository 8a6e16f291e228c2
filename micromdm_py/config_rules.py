"""The rules that the settings must obey before the server starts; a broken rule is reported in one line."""

import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

from micromdm_py.config import Config, settings
from micromdm_py.errors import StartupError
from micromdm_py.receivers import show_url, url_fault

__all__ = ["validate"]

_ORGANIZATION = re.compile(r"[a-zA-Z0-9-]{3,}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")


def validate(config: Config) -> None:
    """Check everything that can be checked before the store is opened.

    Raises: StartupError for the first broken rule, worded as MicroMDM words it where it has the same rule.
    """
    _server_url(config)
    _tls(config)
    _queue(config)
    _numbers(config)
    _urls(config)
    _words(config)
    _files(config)
    _old_database(config)


def _server_url(config: Config) -> None:
    if not config.server_url:
        raise StartupError("must supply -server-url")
    if not config.server_url.startswith("https://"):
        raise StartupError("-server-url must begin with https://")
    reason = url_fault(config.server_url)
    if not reason and "@" in urlsplit(config.server_url).netloc:
        reason = "user name in URL"
    if not reason and ("?" in config.server_url or "#" in config.server_url):
        reason = "query or fragment in URL"
    if reason:
        raise StartupError(f'parsing serverURL "{show_url(config.server_url)}": {reason}')


def _tls(config: Config) -> None:
    if not config.tls:
        if config.tls_cert or config.tls_key:
            raise StartupError("cannot set -tls=false and supply -tls-cert or -tls-key")
        if config.tls_client_auth:
            raise StartupError("-tls-client-auth needs TLS; behind a proxy use -client-cert-header")
        return
    if not config.tls_cert and not config.tls_key:
        raise StartupError(
            "no TLS certificate: supply -tls-cert and -tls-key, or -tls=false behind a proxy with one"
        )
    if not config.tls_key:
        raise StartupError("-tls-cert needs -tls-key, the private key of the certificate")
    if not config.tls_cert:
        raise StartupError("-tls-key needs -tls-cert, the certificate of the key")


def _queue(config: Config) -> None:
    if not config.queue:
        raise StartupError("empty command queue type")
    if config.queue not in ("builtin", "inmem"):
        raise StartupError(f"invalid command queue type: {config.queue}")


def _numbers(config: Config) -> None:
    for setting in settings():
        value = getattr(config, setting.name)
        if isinstance(setting.default, bool) or not isinstance(setting.default, int):
            continue
        if not setting.low <= value <= setting.high:
            unit = f" {setting.unit}" if setting.unit else ""
            raise StartupError(
                f"{setting.flag} must be from {setting.low} to {setting.high}{unit}, not {value}"
            )


def _urls(config: Config) -> None:
    for url, action in (
        (config.dm, "setting up declarative management"),
        (config.account_enroll_hook_url, "setting up -account-enroll-hook-url"),
        (config.depsim, "setting up -depsim"),
        (config.dep_url, "setting up -dep-url"),
        (config.apns_url, "setting up -apns-url"),
    ):
        if url and (reason := url_fault(url)):
            raise StartupError(f'{action}: parse "{show_url(url)}": {reason}')
    if not config.apns_url:
        raise StartupError("-apns-url must not be empty")
    if not config.dep_url:
        raise StartupError("-dep-url must not be empty")
    _ = config.webhook_targets, config.webhook_headers, config.trusted_networks  # reading them checks them


def _words(config: Config) -> None:
    if not config.scep_challenge:
        raise StartupError("-scep-challenge must not be empty")
    if not _ORGANIZATION.fullmatch(config.organization):
        raise StartupError("-organization must be three or more letters, digits or dashes")
    if config.client_cert_header and not _HEADER_NAME.fullmatch(config.client_cert_header):
        raise StartupError("-client-cert-header must be a header name")
    if config.account_enroll_hook_url and config.account_enroll_allow_all:
        raise StartupError("-account-enroll-allow-all and -account-enroll-hook-url cannot be used together")
    if not config.http_addr:
        raise StartupError("-http-addr must not be empty")


def _files(config: Config) -> None:
    if config.tls_cert:
        _readable(config.tls_cert, "setting up enrollment service")
    if config.tls_key:
        _readable(config.tls_key, "setting up TLS")
    if config.apns_ca_file:
        _readable(config.apns_ca_file, "setting up -apns-ca-file")
    if config.filerepo:
        try:
            mode = Path(config.filerepo).stat().st_mode
        except (OSError, ValueError) as error:
            raise StartupError(f"stat {config.filerepo}: {_reason(error)}") from error
        if not stat.S_ISDIR(mode):
            raise StartupError(f"-filerepo: {config.filerepo} is not a folder")


def _readable(path: str, action: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        raise StartupError(f"{action}: open {path}: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _old_database(config: Config) -> None:
    old, own = config.config_path / "micromdm.db", config.config_path / "micromdm.lmdb"
    try:
        if config.ignore_micromdm_db or own.exists() or not old.exists():
            return
    except (OSError, ValueError) as error:
        raise StartupError(f"creating config directory {config.config_path}: {_reason(error)}") from error
    raise StartupError(
        f"{old} has not been imported: run micromdm import-micromdm -from {old}"
        f" -config-path {config.config_path}, or start with -ignore-micromdm-db and an empty store"
    )
