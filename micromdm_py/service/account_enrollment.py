"""Account-driven enrollment: a user signs in with a work account, and the device gets a profile for it.

An `AccountRule` decides who may enroll, how, and as whom: `service.enrollment_hook`, which asks a service of
the organization, or `AllowAll`.
"""

import base64
import binascii
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from micromdm_py.errors import Forbidden, MalformedField, SignatureInvalid
from micromdm_py.protocol.account import SIGN_IN_URL, AccountEnrollment, SignIn, servers
from micromdm_py.protocol.ids import check_id
from micromdm_py.service.enroll import Enroll
from micromdm_py.service.signed_enrollment import SignedEnrollment

__all__ = [
    "AccountDrivenEnrollment",
    "AccountRule",
    "AllowAll",
    "Place",
    "check_user",
]

ENROLL_PATH, SIGN_IN_PATH = "/account/enroll/", "/account/sign-in"
MAX_TOKEN_CHARS = 8192

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """How a device is to enroll, and the URL if it is to do so at another server, else ""."""

    kind: AccountEnrollment
    url: str = ""


class AccountRule(Protocol):
    """Who may enroll. Both methods raise Forbidden with a text for the user, Busy, UpstreamFailed."""

    def place(self, user: str, model_family: str) -> Place:
        """Where and how the device of a user is to enroll."""
        ...

    def account(self, kind: AccountEnrollment, token: str, device: Mapping[str, object]) -> str | SignIn:
        """The Managed Apple Account that an access token stands for, or how to sign in first.

        Args:
            kind: how the device enrolls.
            token: the access token, "" for none.
            device: what the device says about itself.
        """
        ...


class AccountDrivenEnrollment:
    """The steps of account-driven enrollment."""

    def __init__(self, rule: AccountRule, signed: SignedEnrollment, enroll: Enroll, server_url: str) -> None:
        """Let users enroll as `rule` decides.

        Args:
            rule: decides who may enroll.
            signed: recognizes devices by their certificate from the factory.
            enroll: makes the profiles.
            server_url: https URL of this server without trailing slash.
        """
        self._rule, self._signed, self._enroll, self._url = rule, signed, enroll, server_url

    @property
    def open_to_all(self) -> bool:
        """Whether every user may enroll, by way of a sign-in page of this server that asks for nothing."""
        return isinstance(self._rule, AllowAll)

    def discover(self, user: str, model_family: str) -> bytes:
        """The document that tells a device where to enroll.

        Args:
            user: the account that the user typed, `name@example.com`.
            model_family: `iPhone`, `Mac` and the like.
        Raises: MalformedField, Forbidden, Busy, UpstreamFailed.
        """
        check_user(user)
        if model_family:
            check_id("model-family", model_family)
        place = self._rule.place(user, model_family)
        return servers(place.kind, place.url or f"{self._url}{ENROLL_PATH}{place.kind.name.lower()}")

    def profile(self, kind: AccountEnrollment, body: bytes, token: str) -> bytes | SignIn:
        """The enrollment profile of a user, or how to sign in.

        Args:
            kind: from the URL.
            body: CMS with the device's property list inside, as in automated enrollment.
            token: the access token that the user was given at sign-in, "" at the first attempt.
        Raises: Forbidden, MalformedRequest, Busy, UpstreamFailed.
        """
        try:
            device = self._signed.device(body, "account-driven enrollment")
        except SignatureInvalid as fault:
            raise Forbidden(str(fault)) from fault
        if len(token) > MAX_TOKEN_CHARS:
            raise MalformedField("Authorization", f"is longer than {MAX_TOKEN_CHARS} characters")
        found = self._rule.account(kind, token, device)
        if isinstance(found, SignIn):
            return found
        logger.info("account-driven enrollment of %s as %s", found, kind)
        return self._enroll.account_profile(kind, found)

    def sign_in(self, user: str) -> str:
        """The URL at which a device goes on after the sign-in page. Raises: MalformedField."""
        return SIGN_IN_URL + quote(AllowAll.token(check_user(user)), safe="")


class AllowAll:
    """Lets all users enroll their own devices, and believes who they are: only Apple asks for a password."""

    def __init__(self, server_url: str) -> None:
        """Send users to the sign-in page of the server at this https URL, without trailing slash."""
        self._sign_in = SignIn("apple-as-web", {"url": server_url + SIGN_IN_PATH})

    def place(self, user: str, model_family: str) -> Place:
        """See `AccountRule`."""
        return Place(AccountEnrollment.BYOD)

    def account(self, kind: AccountEnrollment, token: str, device: Mapping[str, object]) -> str | SignIn:
        """See `AccountRule`."""
        if not token:
            return self._sign_in
        if kind is not AccountEnrollment.BYOD:
            raise Forbidden("only users' own devices may be enrolled this way")
        try:
            return check_user(base64.urlsafe_b64decode(token.encode()).decode())
        except (binascii.Error, ValueError, MalformedField):
            raise Forbidden("the access token was not issued by this server") from None

    @staticmethod
    def token(user: str) -> str:
        """An access token, which proves nothing: it only carries the name."""
        return base64.urlsafe_b64encode(user.encode()).decode()


def check_user(user: str, name: str = "user-identifier") -> str:
    """Return an account unchanged if it has the form name@domain. Raises: MalformedField, naming `name`."""
    check_id(name, user)
    account, at, domain = user.rpartition("@")
    if not (account and at and domain):
        raise MalformedField(name, "must have the form name@domain")
    return user
