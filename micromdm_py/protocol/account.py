"""Account-driven enrollment: what device and server say before there is a profile.

Source: Apple, "Implementing the simple authentication account-driven enrollment flow" and "… the OAuth 2
authentication account-driven enrollment flow".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.jsonreply import json_reply

__all__ = ["SIGN_IN_URL", "AccountEnrollment", "SignIn", "refusal", "servers"]

SIGN_IN_URL = "apple-remotemanagement-user-login://authentication-results?access-token="
"""URL to which the sign-in page sends the device; the access token is appended."""

_PARAMETERS = {
    "apple-as-web": ("url",),
    "apple-oauth2": ("authorization-url", "token-url", "redirect-url", "client-id", "scope"),
}
_QUOTABLE = re.compile(r"[ !#-\[\]-~]+")


class AccountEnrollment(StrEnum):
    """Kinds of account-driven enrollment; the values are the `Version`s of the discovery document."""

    BYOD = "mdm-byod"
    """User Enrollment of a personal device."""
    ADDE = "mdm-adde"
    """Device enrollment."""

    @property
    def mode(self) -> str:
        """`EnrollmentMode` of the profile."""
        return self.name


@dataclass(frozen=True, slots=True)
class SignIn:
    """How a user has to sign in before a device gets its profile.

    Attributes:
        method: `apple-as-web` or `apple-oauth2`.
        parameters: what the method needs, all of it.
    """

    method: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, found: Mapping[str, object]) -> "SignIn":
        """Read method and parameters from a JSON object. Raises: MalformedField."""
        method = found.get("method")
        if not isinstance(method, str) or method not in _PARAMETERS:
            raise MalformedField("method", f"must be one of {', '.join(_PARAMETERS)}")
        values = {}
        for name in _PARAMETERS[method]:
            value = found.get(name)
            if not isinstance(value, str) or not _QUOTABLE.fullmatch(value):
                raise MalformedField(name, "must be text without quotes, backslashes or control characters")
            values[name] = value
        return cls(method, values)

    @property
    def challenge(self) -> str:
        """Value of the WWW-Authenticate header."""
        words = {"method": self.method, **self.parameters}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in words.items())


def servers(kind: AccountEnrollment, url: str) -> bytes:
    """The discovery document that sends a device to `url`."""
    return json_reply({"Servers": [{"Version": kind.value, "BaseURL": url}]})


def refusal(message: str) -> bytes:
    """The document sent with 403 when enrollment is refused; devices may show the message."""
    return json_reply({"code": "com.apple.well-known.failed", "message": message})
