"""Push data, scheduled pushes and push certificates."""

from datetime import datetime
from typing import Protocol

from micromdm_py.storage.records import DuePush, PushCertificate, PushOutcome, PushTarget

__all__ = ["PushBook"]


class PushBook(Protocol):
    """Push data, scheduled pushes and push certificates."""

    def push_target(self, api_id: str) -> PushTarget:
        """Push data of an enrollment. Raises: NotFound."""
        ...

    def due_push(self, api_id: str) -> DuePush:
        """Push data of an enrollment as a push to be made at once, scheduled or not. Raises: NotFound."""
        ...

    def schedule_push(self, api_id: str, *, at: datetime) -> None:
        """Ask the courier for a push. Raises: NotFound without push data."""
        ...

    def due_pushes(self, *, at: datetime, limit: int) -> tuple[list[DuePush], datetime | None]:
        """Pushes due now, oldest first, and when the next one is due (None: none is scheduled).

        A repetition is dropped when no command waits any more or the device was seen since the push.
        """
        ...

    def record_push(self, due: DuePush, outcome: PushOutcome) -> None:
        """Keep a result with the enrollment and, when accepted, as `sent_at` of the commands it was for.

        A dead token is not pushed to again before the next TokenUpdate. The push is scheduled again at
        `outcome.retry_at`, or earlier when a command was queued meanwhile; or, accepted and with a command
        that waits, at `outcome.again_at` as a repetition; else it is done.
        """
        ...

    def store_push_certificate(self, certificate: PushCertificate) -> None:
        """Keep a certificate with its key, replacing the one of the same topic.

        It becomes the current one.
        """
        ...

    def push_certificate(self, topic: str = "") -> PushCertificate:
        """The certificate of a topic, or the one stored last. Raises: NotConfigured."""
        ...

    def push_certificates(self) -> list[PushCertificate]:
        """The certificates of all topics, sorted by topic."""
        ...
