"""Which device certificates are accepted.

Source: MicroMDM accepts what its own SCEP has issued, byte for byte; one flag widens that, one narrows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from micromdm_py.errors import SignatureInvalid
from micromdm_py.protocol.certificates import Certificate, issued_by
from micromdm_py.storage.base import Depot
from micromdm_py.storage.records import BindingRule, Identity

__all__ = ["AcceptanceRule", "Identities"]

REMEMBERED = 200_000
"""Most accepted certificates that a worker remembers; none is ever withdrawn."""


@dataclass(frozen=True, slots=True)
class AcceptanceRule:
    """Which certificates are accepted.

    Attributes:
        validate_issuer: also accept any that our authority signed and that is valid now.
        validate_expiration: refuse expired certificates, even those issued here.
    """

    validate_issuer: bool = False
    validate_expiration: bool = False


class Identities:
    """Turns a verified certificate into an identity that may act."""

    def __init__(
        self,
        depot: Depot,
        authority: Callable[[], Certificate],
        rule: AcceptanceRule,
        binding: BindingRule,
        now: Callable[[], datetime],
    ) -> None:
        """Look certificates up in `depot`; `authority` gives our own CA certificate."""
        self._depot, self._authority, self._rule = depot, authority, rule
        self._binding, self._now = binding, now
        self._issued = lru_cache(REMEMBERED)(self._look_up)

    def accept(self, certificate: Certificate) -> Identity:
        """The identity of a certificate whose holder has proved to have its key.

        Raises: SignatureInvalid when the certificate is not accepted.
        """
        if self._rule.validate_expiration and certificate.not_after < self._now():
            raise SignatureInvalid("device certificate has expired")
        try:
            return self._issued(certificate)
        except SignatureInvalid:
            if not (self._rule.validate_issuer and self._is_ours(certificate)):
                raise
        return self._identity(certificate)

    def _look_up(self, certificate: Certificate) -> Identity:
        """The identity of an issued certificate.

        A refusal is not remembered, as the certificate may be issued later.
        """
        identity = self._identity(certificate)
        if not self._depot.is_issued(identity.fingerprint):
            raise SignatureInvalid("device certificate was not issued here")
        return identity

    def _identity(self, certificate: Certificate) -> Identity:
        return Identity(bytes.fromhex(certificate.fingerprint), self._binding)

    def _is_ours(self, certificate: Certificate) -> bool:
        now = self._now()
        return certificate.not_before <= now <= certificate.not_after and issued_by(
            certificate, self._authority()
        )
