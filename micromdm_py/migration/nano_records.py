"""What a NanoMDM server keeps, in a form for both of its storages: a folder of files and an SQL database."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

__all__ = ["NanoCommand", "NanoEnrollment", "NanoPushCertificate", "NanoStorage"]


@dataclass(frozen=True, slots=True)
class NanoPushCertificate:
    """A push certificate and its key, both PEM, under the name that a report calls it by."""

    name: str
    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NanoEnrollment:
    """A device or a user channel.

    Attributes:
        name: NanoMDM's id of it.
        message: Authenticate of a device, TokenUpdate of a user channel, as it came.
        certificate: DER that it enrolled with, b"" when there is none.
        certificate_hash: SHA-256 that it is bound to, in hexadecimal digits; "" when there is none.
        unlock_token, bootstrap_token, token: raw bytes, b"" when there is none.
        push_magic, topic: of its last TokenUpdate.
        enabled: whether it has a TokenUpdate since its last Authenticate or CheckOut.
        last_seen_at, enrolled_at: aware, None when unknown.
    """

    name: str
    message: bytes
    certificate: bytes = b""
    certificate_hash: str = ""
    unlock_token: bytes = field(default=b"", repr=False)
    bootstrap_token: bytes = field(default=b"", repr=False)
    token: bytes = field(default=b"", repr=False)
    push_magic: str = field(default="", repr=False)
    topic: str = ""
    enabled: bool = True
    last_seen_at: datetime | None = None
    enrolled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NanoCommand:
    """A command in the queue of one enrollment.

    Attributes:
        payload: the command as devices get it, b"" when it is lost.
        status: of the last answer, "" when there is none.
        report: the last answer, b"" when there is none.
        created_at, answered_at: aware, None when unknown.
    """

    uuid: str
    request_type: str
    payload: bytes = field(repr=False)
    status: str = ""
    report: bytes = field(default=b"", repr=False)
    created_at: datetime | None = None
    answered_at: datetime | None = None


class NanoStorage(Protocol):
    """A storage of a server that is stopped; every method may raise BadDatabase."""

    def push_certificates(self) -> Iterator[NanoPushCertificate]:
        """All push certificates."""

    def devices(self) -> Iterator[NanoEnrollment]:
        """All devices, also those that have not sent a TokenUpdate."""

    def users(self) -> Iterator[NanoEnrollment]:
        """All user channels that have sent a TokenUpdate."""

    def queues(self) -> Iterator[str]:
        """Ids that have a queue, enrolled or not."""

    def commands(self, name: str) -> Iterator[NanoCommand]:
        """The queue of an id and what it has answered, in the order in which it was or will be sent."""
