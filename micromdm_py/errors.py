"""The errors raised on purpose; a module that needs more detail derives its own from one of these.

::

    MdmError                      base; its text may be shown to the caller, it never holds a secret
    ├── MalformedRequest          the bytes or fields of a request are wrong (400; device routes 500)
    │   └── MalformedField        one named field is wrong: text "<field>: <reason>"
    ├── Unauthenticated           no or wrong credentials (401; never on device routes)
    │   └── NoCredentials         none at all
    ├── Forbidden                 known caller, but not allowed (403; never on device routes)
    ├── SignatureInvalid          Mdm-Signature missing, broken or made by an unaccepted certificate
    ├── IdentityMismatch          the certificate is bound to another enrollment
    ├── Unenroll                  the device is blocked: 401 on connect makes it drop its enrollment
    ├── UserChannelDeclined       UserAuthenticate refused: 410
    ├── NotFound                  the named thing does not exist (404)
    ├── Conflict                  the request contradicts what is stored (409)
    │   ├── CommandDone           the command has reached a final state (409)
    │   └── TokenDead             APNs has refused this push token for good (409)
    ├── TooLarge                  a body above its limit (413)
    ├── Busy                      no room for another outgoing call now (503, Retry-After)
    ├── NotConfigured             a needed certificate or token has not been stored yet (503)
    ├── UpstreamFailed            APNs or another service refused or did not answer (502)
    │   └── UpstreamBusy          the service asks to be left alone for a while (503, Retry-After)
    ├── StorageUnavailable        disk or map full, store not writable (503)
    ├── BadDatabase               the database of another server cannot be read or imported
    └── StartupError              the program cannot start; one line and an exit code
        └── StoreInUse            another server runs on the same store
"""

import re

__all__ = [
    "BadDatabase",
    "Busy",
    "CommandDone",
    "Conflict",
    "Forbidden",
    "IdentityMismatch",
    "MalformedField",
    "MalformedRequest",
    "MdmError",
    "NoCredentials",
    "NotConfigured",
    "NotFound",
    "SignatureInvalid",
    "StartupError",
    "StorageUnavailable",
    "StoreInUse",
    "TokenDead",
    "TooLarge",
    "Unauthenticated",
    "Unenroll",
    "UpstreamBusy",
    "UpstreamFailed",
    "UserChannelDeclined",
    "in_words",
]

_NOISE = re.compile(r"^\[(?:Errno -?\d+|SSL: \w+|SSL)\] | \(_ssl\.c:\d+\)$")


def in_words(fault: Exception) -> str:
    """A library's message about a failed call, without error numbers and source positions."""
    return _NOISE.sub("", str(fault)) or type(fault).__name__


class MdmError(Exception):
    """Base of every error raised on purpose; its text may be shown to the caller and never holds a secret."""


class MalformedRequest(MdmError):
    """The bytes or the fields of a request are wrong."""


class MalformedField(MalformedRequest):
    """One field is wrong; the text is ``<field>: <reason>``."""

    def __init__(self, field: str, reason: str) -> None:
        """Name the field in the caller's own spelling and say what is wrong with it."""
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Unauthenticated(MdmError):
    """No or wrong credentials."""


class NoCredentials(Unauthenticated):
    """The caller did not say who it is."""


class Forbidden(MdmError):
    """The caller is known but not allowed to do this."""


class SignatureInvalid(MdmError):
    """Mdm-Signature is missing, broken or made by a certificate that is not accepted."""


class IdentityMismatch(MdmError):
    """The certificate is bound to another enrollment, or the enrollment to another certificate."""


class Unenroll(MdmError):
    """The device is blocked and is to drop its enrollment."""


class UserChannelDeclined(MdmError):
    """The user channel is not managed (answer to UserAuthenticate)."""


class NotFound(MdmError):
    """The named thing does not exist."""


class Conflict(MdmError):
    """The request contradicts what is stored."""


class CommandDone(Conflict):
    """The command has reached a final state."""


class TokenDead(Conflict):
    """APNs has refused this push token for good."""


class TooLarge(MdmError):
    """A body is above its limit."""


class Busy(MdmError):
    """The limit of simultaneous calls of this kind is reached; the caller may try again soon."""


class NotConfigured(MdmError):
    """A certificate or token that is needed has not been stored yet."""


class UpstreamFailed(MdmError):
    """A service outside refused the call or did not answer."""


class UpstreamBusy(UpstreamFailed):
    """A service outside asks to be left alone for a while.

    Attributes:
        retry_after_s: for how long, in seconds; 0 when it does not say.
    """

    def __init__(self, message: str, retry_after_s: int = 0) -> None:
        """Keep the text and the wait."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageUnavailable(MdmError):
    """The store cannot write: disk full, map full or not writable."""


class BadDatabase(MdmError):
    """The database of another server is damaged, in use, or for another reason cannot be imported."""


class StartupError(MdmError):
    """The program cannot start; the text is the one line it prints.

    Attributes:
        exit_code: exit status of the process.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        """Keep the line to show and the exit status."""
        super().__init__(message)
        self.exit_code = exit_code


class StoreInUse(StartupError):
    """Another server runs on the same store."""
