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
        """The push to make to an enrollment at once, whether one is scheduled or not. Raises: NotFound."""
        ...

    def schedule_push(self, api_id: str, *, at: datetime) -> None:
        """Schedule a push. Raises: NotFound without push data."""
        ...

    def due_pushes(self, *, at: datetime, limit: int) -> tuple[list[DuePush], datetime | None]:
        """Pushes that are due, the longest due first, and when the next one is due (None: none is scheduled).

        A repetition is dropped if no command waits any more or the device was seen since the last push.
        """
        ...

    def record_push(self, due: DuePush, outcome: PushOutcome) -> None:
        """Keep the result with the enrollment, and in the timeline of the commands the push was for.

        The time of the first accepted push becomes their `sent_at`. What comes next, the first that applies:

        * The token is dead: nothing before the next TokenUpdate.
        * A command was queued or the token changed since `due` was read: another push, due now.
        * `outcome.retry_at` is given: another push then.
        * `outcome.again_at` is given and a command waits: a repetition then.
        """
        ...

    def store_push_certificate(self, certificate: PushCertificate) -> None:
        """Keep a certificate with its key, replacing the one of its topic; it becomes the current one."""
        ...

    def push_certificate(self, topic: str = "") -> PushCertificate:
        """The certificate of a topic, or the current one for "". Raises: NotConfigured."""
        ...

    def push_certificates(self) -> list[PushCertificate]:
        """The certificates of all topics, sorted by topic."""
        ...
