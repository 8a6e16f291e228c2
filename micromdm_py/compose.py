"""Putting the server together: with `compose_parts` and `compose_dep`, all that names concrete classes."""

import os
import secrets
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_der_private_key

from micromdm_py import lead
from micromdm_py.compose_parts import (
    Parts,
    device_authorities,
    file_repository,
    socket_path,
    token_service,
    user_agent,
)
from micromdm_py.config import Config
from micromdm_py.errors import MalformedRequest, StartupError
from micromdm_py.http.app import AppRule, create_app
from micromdm_py.http.request import RequestLog
from micromdm_py.logs import line_writer
from micromdm_py.net.backup import fetch_backup
from micromdm_py.net.nanomdm import send_messages
from micromdm_py.net.probe import probe
from micromdm_py.net.tls_context import outgoing_context
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.service.ca import create_authority
from micromdm_py.storage.lmdb.damage import DAMAGE
from micromdm_py.storage.lmdb.store import LmdbStore, open_store
from micromdm_py.store_place import GIB, STORE, make_folder
from micromdm_py.version import build_info

__all__ = [
    "build_app",
    "fetch_database",
    "prepare",
    "probe_server",
    "run_courier",
    "send_to_nanomdm",
    "store_path",
    "token_service",
]


def store_path(config: Config) -> Path:
    """The folder of the store."""
    return config.config_path / STORE


def prepare(config: Config) -> bytes | None:
    """Create what the server needs before its processes start: folder, store, certificate authority.

    Returns: PEM of the authority whose certificates TLS asks clients for, None to ask for none.
    Raises: StartupError.
    """
    device_authorities(config.device_ca_file)  # here and below: report a bad file now, once
    if config.apns_ca_file:
        _outgoing(config.apns_ca_file, "-apns-ca-file")
    store = _open(config)
    try:
        create_authority(store, datetime.now(UTC))
        for target in config.webhook_targets:
            store.receiver(target.url)  # registered now, so that it gets the very first events too
        authority = store.authority()
        if authority:
            load_certificate(authority[0])
            load_der_private_key(authority[1], None)
    except (*DAMAGE, MalformedRequest) as fault:
        reason = f"{type(fault).__name__}: {fault}"
        raise StartupError(f"store {store_path(config)} is damaged: {reason}; restore a backup") from fault
    finally:
        store.close()
    if files := file_repository(config):
        files.sweep()
    if not (config.tls and config.tls_client_auth and authority):
        return None
    return ssl.DER_cert_to_PEM_cert(authority[0]).encode()


def fetch_database(url: str, api_key: str, ca_file: str, target: Path) -> None:
    """Download the database of a running MicroMDM server to a new file.

    Raises: StartupError, UpstreamFailed.
    """
    context = _outgoing(ca_file)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        fetch_backup(url, api_key, file, context)


def send_to_nanomdm(
    url: str, api_key: str, ca_file: str, messages: Iterable[tuple[str, bytes, str]]
) -> Iterator[tuple[str, int]]:
    """Send messages to NanoMDM.

    Args:
        url: the server, without path.
        api_key: its API key.
        ca_file: PEM file of the authority to trust, "" for the usual ones.
        messages: name, body and path of each.
    Yields: name and HTTP status of each.
    Raises: StartupError, UpstreamFailed.
    """
    return send_messages(url, api_key, messages, _outgoing(ca_file))


def probe_server(url: str, ca_file: str) -> tuple[str, bytes]:
    """Version and SCEP authority (DER) of a server, as devices see them.

    Raises: StartupError, UpstreamFailed.
    """
    return probe(url, _outgoing(ca_file))


def _outgoing(ca_file: str, flag: str = "-ca-file") -> ssl.SSLContext:
    try:
        return outgoing_context(ca_file)
    except ssl.SSLError as fault:
        raise StartupError(f"{flag}: {ca_file} holds no PEM certificates") from fault
    except OSError as fault:
        raise StartupError(f"{flag}: open {ca_file}: {(fault.strerror or str(fault)).lower()}") from fault


def build_app(
    config: Config,
) -> Any:  # a falcon.App of any request class, with the `close` that the worker calls
    """Build the WSGI application; called in each web worker, so that each opens the store for itself."""
    store = _open(config)
    log = RequestLog(_request_id, line_writer(config))
    return _App(create_app(Parts(config, store).services(), _rule(config), log), store.close)


def run_courier(config: Config, stop: threading.Event) -> None:
    """Do the courier's work until `stop` is set; called in the courier's own process."""
    from micromdm_py import (
        courier,
    )  # only here: web workers do without asyncio and the courier's clients

    store = _open(config)
    settings = courier.CourierSettings(
        socket_path=socket_path(config),
        user_agent=user_agent(),
        targets=config.webhook_targets,
        headers=config.webhook_headers,
        hmac_key=config.webhook_hmac_key.encode(),
        webhook_retention=timedelta(days=config.webhook_retention_days),
        event_retention=timedelta(days=config.event_retention_days),
        command_retention=timedelta(days=0 if config.no_command_history else config.command_retention_days),
        audit_retention=timedelta(days=config.audit_retention_days) if config.audit_retention_days else None,
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
    """The application, and how to release what it holds when its worker ends."""

    app: Callable[..., Any]
    close: Callable[[], None]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return self.app(environ, start_response)


def _open(config: Config) -> LmdbStore:
    make_folder(config.config_path)
    return open_store(store_path(config), map_size_bytes=config.store_size_gib * GIB, turns=lead)


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


def _request_id() -> str:
    return secrets.token_hex(8)
