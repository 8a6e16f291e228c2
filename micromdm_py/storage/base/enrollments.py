"""What is known of devices and user channels."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from micromdm_py.protocol.checkin import (
    Authenticate,
    CheckOut,
    GetBootstrapToken,
    SetBootstrapToken,
    TokenUpdate,
)
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.webhook import Event
from micromdm_py.storage.records import (
    Answer,
    DeviceFilter,
    DevicePage,
    DeviceSearch,
    EnrollmentRecord,
    Fleet,
    Identity,
    NewEntry,
)

__all__ = ["Enrollments"]


class Enrollments(Protocol):
    """What is known of devices and user channels."""

    def authenticate(
        self,
        message: Authenticate,
        identity: Identity,
        event: Event | None,
        rebound: Event | None,
        *,
        at: datetime,
    ) -> bool:
        """Begin an enrollment.

        Withdraw its queue (`ProtectionCanceled`), bind the certificate, keep the facts.

        The event `rebound` is stored too when the enrollment was bound to another certificate before.
        Returns: whether that was so. Raises: IdentityMismatch.
        """
        ...

    def token_update(
        self,
        message: TokenUpdate,
        identity: Identity,
        event: Event | None,
        *,
        at: datetime,
        welcome: Sequence[NewEntry] = (),
    ) -> bool:
        """Keep push data; revive a dead token.

        When it is the first since Authenticate, `welcome` is queued with it.

        Returns whether it is the first since Authenticate (device channels).

        A message without UnlockToken leaves the stored one. Raises: IdentityMismatch.
        """
        ...

    def check_out(self, message: CheckOut, identity: Identity, event: Event | None, *, at: datetime) -> None:
        """Mark as not enrolled; the queue stays. Raises: IdentityMismatch."""
        ...

    def set_bootstrap_token(
        self, message: SetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bool:
        """Keep or (empty) remove the token; false, with nothing kept, when there is no device record.

        Raises: IdentityMismatch.
        """
        ...

    def get_bootstrap_token(
        self, message: GetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bytes:
        """The token, b"" when none. Raises: IdentityMismatch; NotFound without a device record."""
        ...

    def check_binding(self, ref: EnrollmentRef, identity: Identity, *, at: datetime) -> None:
        """Check (and on first use make) the binding for a message that stores nothing else.

        Raises: IdentityMismatch.
        """
        ...

    def enrollment(self, api_id: str) -> EnrollmentRecord:
        """One enrollment. Raises: NotFound, Conflict."""
        ...

    def devices(self, wanted: DeviceFilter) -> list[EnrollmentRecord]:
        """Device records, sorted by enrollment id. Serial and UDID filters use an index."""
        ...

    def search_devices(self, search: DeviceSearch) -> DevicePage:
        """Devices that fit a search, by an index where it names a fact. Raises: MalformedField: cursor."""
        ...

    def fleet(self, *, since: datetime) -> Fleet:
        """Figures of all device records; looks at every one of them, some microseconds each."""
        ...

    def answers(self, api_id: str) -> list[Answer]:
        """The last Acknowledged answers of the kinds in `protocol.report.KEPT_ANSWERS`, by request type.

        Raises: NotFound, Conflict.
        """
        ...

    def enrolled_topics(self) -> dict[str, int]:
        """How many enrolled devices each push topic has."""
        ...

    def block(self, udid: str, *, at: datetime) -> None:
        """Refuse connects of an API id, known or not. Raises: MalformedField, Conflict if it is ambiguous."""
        ...

    def unblock(self, udid: str) -> None:
        """Lift the block. Raises: NotFound when there is none."""
        ...

    def remove_devices(self, ids: Sequence[str], *, purge: bool, at: datetime) -> None:
        """Delete device records by UDID, EnrollmentID or serial number: all or none.

        With purge also withdraw the queue and delete push data, binding and block mark.
        Raises: NotFound naming the first unknown id.
        """
        ...
