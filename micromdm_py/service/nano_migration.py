"""NanoMDM's migration endpoint: enrollments that another server sends, message by message.

Nothing is signed here: an administrator vouches for it. So no certificate is bound; the first one that the
device itself comes with will be. An enrollment that has come by itself is not touched any more.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from micromdm_py.errors import Conflict, IdentityMismatch, MalformedField, NotFound
from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckIn,
    SetBootstrapToken,
    TokenUpdate,
    UserAuthenticate,
    parse_checkin,
)
from micromdm_py.protocol.plist import loads
from micromdm_py.service.users import Users
from micromdm_py.storage.base import Enrollments
from micromdm_py.storage.records import UNBOUND

__all__ = ["NanoMigration"]

logger = logging.getLogger(__name__)


class NanoMigration:
    """Stores check-in messages that administrators pass on."""

    def __init__(
        self, store: Enrollments, users: Users, *, wake: Callable[[], None], now: Callable[[], datetime]
    ) -> None:
        """Keep enrollments in `store`; `wake` wakes the courier when there are push data."""
        self._store, self._users, self._wake, self._now = store, users, wake, now

    def take(self, body: bytes) -> str:
        """Store one message, without an event.

        Args:
            body: an Authenticate, TokenUpdate or SetBootstrapToken as the device sent it. A UserAuthenticate
            is
                ignored.
        Returns: the id of the enrollment.
        Raises: MalformedRequest; Conflict when the device has spoken to this server itself; NotFound for a
            bootstrap token without a device record.
        """
        message = parse_checkin(loads(body))
        name = message.enrollment.enrollment_id
        if isinstance(message, UserAuthenticate):
            return name
        self._check(message)
        at = self._now()
        try:
            self._store_message(message, at)
        except IdentityMismatch as fault:
            raise Conflict(str(fault)) from None
        return name

    def _check(self, message: CheckIn) -> None:
        """Raise Conflict when the device has spoken to this server with a certificate of its own."""
        for name, _ in message.enrollment.bound_ids:
            try:
                known = self._store.enrollment(name)
            except NotFound:
                continue
            if known.fingerprint:
                raise Conflict(f"{name} is managed by this server already")

    def _store_message(self, message: CheckIn, at: datetime) -> None:
        if isinstance(message, Authenticate):
            self._store.authenticate(message, UNBOUND, None, None, at=at)
            logger.info("took over %s", message.enrollment.enrollment_id)
        elif isinstance(message, TokenUpdate):
            self._store.token_update(message, UNBOUND, None, at=at)
            if message.enrollment.kind.is_user_channel:
                self._users.seen(message.enrollment, message.token)
            self._wake()
        elif isinstance(message, SetBootstrapToken):
            if not self._store.set_bootstrap_token(message, UNBOUND, None, at=at):
                raise NotFound(f"not found: Device udid {message.enrollment.device_id}")
        else:
            raise MalformedField("MessageType", "must be Authenticate, TokenUpdate or SetBootstrapToken")
