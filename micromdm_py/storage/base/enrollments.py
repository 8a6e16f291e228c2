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
    """What is known of devices and user channels.

    The check-in methods take a message, the certificate that signed it, and the webhook event that is stored
    in the same transaction, if any.
    """

    def authenticate(
        self,
        message: Authenticate,
        identity: Identity,
        event: Event | None,
        rebound: Event | None,
        *,
        at: datetime,
    ) -> bool:
        """Begin an enrollment: withdraw its queue (`ProtectionCanceled`), bind the certificate, keep facts.

        The event `rebound` is stored too if the enrollment was bound to another certificate before.

        Returns: whether it was. Raises: IdentityMismatch.
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
        """Keep the push data, which replace a dead token, and schedule a push if commands wait.

        A message without UnlockToken leaves the stored one alone. The commands of `welcome` are queued if it
        is the first TokenUpdate of a device since its Authenticate.

        Returns: whether it is. Raises: IdentityMismatch.
        """
        ...

    def check_out(self, message: CheckOut, identity: Identity, event: Event | None, *, at: datetime) -> None:
        """Mark an enrollment as not enrolled; its queue stays. Raises: IdentityMismatch."""
        ...

    def set_bootstrap_token(
        self, message: SetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bool:
        """Keep the token, or remove it when it is empty.

        Returns: false if there is no device record to keep it with. Raises: IdentityMismatch.
        """
        ...

    def get_bootstrap_token(
        self, message: GetBootstrapToken, identity: Identity, event: Event | None, *, at: datetime
    ) -> bytes:
        """The token, b"" for none. Raises: IdentityMismatch; NotFound without a device record."""
        ...

    def check_binding(self, ref: EnrollmentRef, identity: Identity, *, at: datetime) -> None:
        """Check the binding for a message that stores nothing else, and make it on first use.

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
        """Devices that match a search, by an index if it names a fact. Raises: MalformedField: cursor."""
        ...

    def fleet(self, *, since: datetime) -> Fleet:
        """Figures of all device records; reads every one of them, at some microseconds each."""
        ...

    def answers(self, api_id: str) -> list[Answer]:
        """The latest Acknowledged answer to each of `protocol.report.KEPT_ANSWERS`, by request type.

        Raises: NotFound, Conflict.
        """
        ...

    def enrolled_topics(self) -> dict[str, int]:
        """How many enrolled devices each push topic has; "" stands for devices without one."""
        ...

    def block(self, api_id: str, *, at: datetime) -> None:
        """Refuse connects of an enrollment, known or not. Raises: MalformedField; Conflict if ambiguous."""
        ...

    def unblock(self, api_id: str) -> None:
        """Lift the block. Raises: NotFound when there is none."""
        ...

    def remove_devices(self, ids: Sequence[str], *, purge: bool, at: datetime) -> None:
        """Delete device records by UDID, EnrollmentID or serial number: all or none.

        With `purge` also withdraw the queue and delete the push data, the binding and the block.
        Raises: NotFound naming the first unknown id.
        """
        ...
