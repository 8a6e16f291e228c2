"""Check-in: a device enrolls, sends its push data, leaves, escrows or fetches its bootstrap token.

Source: Apple, "Check-in"; the replies, and which messages make an event, are MicroMDM's.
"""

import base64
import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from micromdm_py.errors import UserChannelDeclined
from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckIn,
    CheckOut,
    DeclarativeManagement,
    GetBootstrapToken,
    SetBootstrapToken,
    TokenUpdate,
    UserAuthenticate,
    parse_checkin,
)
from micromdm_py.protocol.plist import loads
from micromdm_py.protocol.webhook import Event, checkin_event, server_event
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.identity import Identities
from micromdm_py.service.users import Users
from micromdm_py.storage.base import Enrollments
from micromdm_py.storage.records import Identity

__all__ = ["CheckInService"]

REBOUND = "mdm.server.rebound"

logger = logging.getLogger(__name__)


class CheckInService:
    """Handles one check-in message, from the signed bytes to the body of the reply."""

    def __init__(
        self,
        store: Enrollments,
        identities: Identities,
        declarative: Callable[[DeclarativeManagement], bytes],
        blueprints: Blueprints,
        users: Users,
        *,
        wants_events: bool,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_uuid: Callable[[], str],
    ) -> None:
        """Prepare.

        Args:
            store: where enrollments are.
            identities: decides which certificates are accepted.
            declarative: passes declarative management requests on.
            blueprints: gives the commands for a device that has just enrolled.
            users: keeps whom user channels belong to.
            wants_events: whether to store webhook events.
            wake: tells the courier that there is work.
            now: current time, aware UTC.
            make_uuid: makes event ids.
        """
        self._store, self._identities, self._declarative = store, identities, declarative
        self._blueprints, self._users = blueprints, users
        self._wants_events, self._wake = wants_events, wake
        self._now, self._make_uuid = now, make_uuid

    def __call__(self, body: bytes, certificate: Certificate, url_params: Mapping[str, str]) -> bytes:
        """Handle a check-in message.

        Args:
            body: the message exactly as received.
            certificate: the identity, whose signature of the body is already verified.
            url_params: query parameters of the request.
        Returns: the body of the reply, b"" for most messages.
        Raises: SignatureInvalid, IdentityMismatch, MalformedRequest, UserChannelDeclined, NotFound,
            NotConfigured, UpstreamFailed, Busy, StorageUnavailable.
        """
        identity = self._identities.accept(certificate)
        message = parse_checkin(loads(body))
        at = self._now()
        if isinstance(message, UserAuthenticate):
            self._store.check_binding(message.enrollment, identity, at=at)
            raise UserChannelDeclined("user channels are managed without authentication of the user")
        if isinstance(message, DeclarativeManagement):
            self._store.check_binding(message.enrollment, identity, at=at)
            return self._declarative(message)
        event = self._event(message, url_params, body, at)
        reply = self._store_message(message, identity, event, at)
        self._wake()
        return reply

    def _event(self, message: CheckIn, params: Mapping[str, str], body: bytes, at: datetime) -> Event | None:
        if not self._wants_events:
            return None
        topic = f"mdm.{type(message).__name__}"
        return checkin_event(topic, message.enrollment, params, body, event_id=self._make_uuid(), at=at)

    def _store_message(
        self, message: CheckIn, identity: Identity, event: Event | None, at: datetime
    ) -> bytes:
        if isinstance(message, Authenticate):
            self._authenticate(message, identity, event, at)
        elif isinstance(message, TokenUpdate):
            self._token_update(message, identity, event, at)
        elif isinstance(message, CheckOut):
            self._store.check_out(message, identity, event, at=at)
        elif isinstance(message, SetBootstrapToken):
            if not self._store.set_bootstrap_token(message, identity, event, at=at):
                logger.warning("bootstrap token of %s dropped: no such device", message.enrollment.device_id)
        elif isinstance(message, GetBootstrapToken):
            return _bootstrap_reply(self._store.get_bootstrap_token(message, identity, event, at=at))
        return b""

    def _token_update(
        self, message: TokenUpdate, identity: Identity, event: Event | None, at: datetime
    ) -> None:
        ref = message.enrollment
        if ref.kind.is_user_channel:
            self._store.token_update(message, identity, event, at=at)
            self._users.seen(ref, message.token)
            return
        welcome = self._blueprints.at_enrollment(awaiting=message.awaiting_configuration)
        self._store.token_update(message, identity, event, at=at, welcome=welcome)

    def _authenticate(
        self, message: Authenticate, identity: Identity, event: Event | None, at: datetime
    ) -> None:
        rebound = None
        if event is not None:
            inside = {
                "enrollment_id": message.enrollment.enrollment_id,
                "fingerprint": identity.fingerprint.hex(),
            }
            rebound = server_event(REBOUND, inside, event_id=self._make_uuid(), at=at)
        if self._store.authenticate(message, identity, event, rebound, at=at):
            logger.warning("%s is bound to a new certificate", message.enrollment.enrollment_id)


def _bootstrap_reply(token: bytes) -> bytes:
    """The reply to GetBootstrapToken, in the spelling devices know from MicroMDM."""
    return _BOOTSTRAP % base64.b64encode(token)


_BOOTSTRAP = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"'
    b' "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict>'
    b"<key>BootstrapToken</key><data>%s</data></dict></plist>\n"
)
