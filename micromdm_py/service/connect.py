"""Connect: a device reports and fetches its next command.

Source: Apple, "Sending MDM commands to a device"; the answers to refused reports are MicroMDM's.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from micromdm_py.errors import MalformedRequest
from micromdm_py.logs import request_id
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.plist import loads, parse_flat
from micromdm_py.protocol.report import Status, parse_report
from micromdm_py.protocol.webhook import connect_event, server_event
from micromdm_py.service.identity import Identities
from micromdm_py.storage.base import CommandQueue, Quarantine
from micromdm_py.storage.records import Identity

__all__ = ["Connect", "ConnectStore"]

QUARANTINED = "mdm.server.quarantined"

logger = logging.getLogger(__name__)


class ConnectStore(CommandQueue, Quarantine, Protocol):
    """What a connect needs of the store."""


class Connect:
    """Handles one connect, from the signed bytes to the bytes of the next command."""

    def __init__(
        self,
        store: ConnectStore,
        identities: Identities,
        *,
        wants_events: bool,
        wants_idle: bool,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_uuid: Callable[[], str],
    ) -> None:
        """Prepare.

        Args:
            store: the queues, and the quarantine.
            identities: decides which certificates are accepted.
            wants_events: whether to store webhook events.
            wants_idle: also store those of connects that bring and fetch nothing; each then costs a commit.
            wake: tells the courier that there is an event.
            now: current time, aware UTC.
            make_uuid: makes event ids.
        """
        self._store, self._identities = store, identities
        self._wants_events, self._wants_idle, self._wake = wants_events, wants_idle, wake
        self._now, self._make_uuid = now, make_uuid

    def __call__(self, body: bytes, certificate: Certificate, url_params: Mapping[str, str]) -> bytes:
        """Handle a connect.

        Args:
            body: the report exactly as received.
            certificate: the identity, whose signature of the body is already verified.
            url_params: query parameters of the request.
        Returns: the property list of the next command as queued, b"" for none.
        Raises: SignatureInvalid, IdentityMismatch, MalformedRequest, Unenroll, StorageUnavailable.
        """
        identity = self._identities.accept(certificate)
        at = self._now()
        try:
            message = parse_flat(body)
            report = parse_report(loads(body) if message is None else message, body)
        except MalformedRequest as fault:
            return self._undecodable(body, identity, fault, at)
        if report.status is Status.UNKNOWN:
            logger.warning("unknown status %r from %s", report.sent_status, report.enrollment.enrollment_id)
        # Such an Idle is an event only if a webhook receiver wants it: the feed would be full of them.
        if not self._wants_idle and self._store.nothing_to_do(report, identity, at=at):
            return b""
        name = request_id.get()
        if not self._wants_events:
            return self._store.record_report(report, identity, None, at=at, request_id=name).payload
        event = connect_event(report, url_params, event_id=self._make_uuid(), at=at)
        served = self._store.record_report(report, identity, event, at=at, request_id=name)
        self._wake()
        return served.payload

    def _undecodable(self, body: bytes, identity: Identity, fault: MalformedRequest, at: datetime) -> bytes:
        """Refuse a report that cannot be decoded; put it aside when it comes again and again.

        Returns: the empty reply that lets the device go on. Raises: `fault` until the report is put aside.
        """
        fingerprint = identity.fingerprint.hex()
        event = None
        if self._wants_events:
            inside = {"fingerprint": fingerprint, "reason": str(fault)}
            event = server_event(QUARANTINED, inside, event_id=self._make_uuid(), at=at)
        if not self._store.note_undecodable(identity.fingerprint, body, event, at=at):
            raise fault
        logger.error("report of identity %s is in quarantine: %s", fingerprint, fault)
        self._wake()
        return b""
