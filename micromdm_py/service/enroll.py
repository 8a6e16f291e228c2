"""The profiles that begin an enrollment."""

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from micromdm_py.errors import NotConfigured, NotFound
from micromdm_py.protocol.account import AccountEnrollment
from micromdm_py.protocol.profile import (
    ENROLLMENT,
    OTA,
    OTA_PHASE2,
    EnrollmentProfile,
    enrollment_profile,
    ota_phase2_profile,
    ota_profile,
)
from micromdm_py.service.blueprints import PROFILE
from micromdm_py.storage.base import Depot, PushBook, Shelf

__all__ = ["Challenges", "Enroll", "ProfileRule"]

CHALLENGE_BYTES = 24

logger = logging.getLogger(__name__)


class _Store(Depot, PushBook, Shelf, Protocol):
    """What the profiles need of the store."""


class Challenges:
    """Makes one-time SCEP challenges."""

    def __init__(
        self, depot: Depot, *, random_bytes: Callable[[int], bytes], now: Callable[[], datetime]
    ) -> None:
        """Keep the hashes of new challenges in `depot`."""
        self._depot, self._random_bytes, self._now = depot, random_bytes, now

    def __call__(self) -> str:
        """A new challenge, good for one use: 24 random bytes as base64."""
        challenge = base64.b64encode(self._random_bytes(CHALLENGE_BYTES)).decode()
        self._depot.add_challenge(challenge, at=self._now())
        return challenge


@dataclass(frozen=True, slots=True)
class ProfileRule:
    """What the enrollment profile says about itself.

    Attributes:
        server_url: https URL without trailing slash.
        tls_certificate: bytes of the `-tls-cert` file, None without.
        challenge: the static SCEP challenge, None when challenges are handed out in another way.
        one_time: put a one-time challenge into each profile.
    """

    server_url: str
    tls_certificate: bytes | None = field(default=None, repr=False)
    challenge: str | None = field(default=None, repr=False)
    one_time: bool = False


class Enroll:
    """Makes enrollment profiles."""

    def __init__(
        self, store: _Store, rule: ProfileRule, challenges: Challenges, make_uuid: Callable[[], str]
    ) -> None:
        """Make profiles as `rule` says; `make_uuid` makes UUIDs in upper or lower case."""
        self._store, self._rule, self._challenges = store, rule, challenges
        self._make_uuid = lambda: make_uuid().upper()
        self._warned = False

    def profile(self) -> bytes:
        """The stored enrollment profile, else one of our own with the current push topic."""
        stored = self._stored(ENROLLMENT)
        if stored is not None:
            return stored
        return enrollment_profile(self._what(), self._make_uuid)

    def account_profile(self, kind: AccountEnrollment, account: str) -> bytes:
        """The profile of account-driven enrollment, never a stored one: it has to name the account.

        Args:
            kind: how the device enrolls.
            account: Managed Apple Account of the user.
        """
        what = replace(self._what(), mode=kind.mode, account=account)
        return enrollment_profile(what, self._make_uuid)

    def _what(self) -> EnrollmentProfile:
        rule = self._rule
        return EnrollmentProfile(rule.server_url, self._topic(), self._challenge(), rule.tls_certificate)

    def ota(self) -> bytes:
        """The Profile Service payload, or the stored profile of that identifier."""
        return self._stored(OTA) or ota_profile(self._rule.server_url, self._make_uuid)

    def phase2(self) -> bytes:
        """The profile of phase 2 of over-the-air enrollment, or the stored profile of that identifier."""
        stored = self._stored(OTA_PHASE2)
        if stored is not None:
            return stored
        return ota_phase2_profile(self._rule.server_url, self._challenge(), self._make_uuid)

    def _challenge(self) -> str | None:
        return self._challenges() if self._rule.one_time else self._rule.challenge

    def _stored(self, identifier: str) -> bytes | None:
        try:
            return self._store.document(PROFILE, identifier)
        except NotFound:
            return None

    def _topic(self) -> str:
        try:
            return self._store.push_certificate().topic
        except NotConfigured:
            if not self._warned:
                logger.warning(
                    "enrollment profile handed out without a push topic: upload a push certificate"
                )
                self._warned = True
            return ""
