"""Our own certificate authority: it issues device identities over SCEP.

Source: RFC 8894; validity, names and answers are MicroMDM's.
"""

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from micromdm_py.errors import StartupError
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.cms import sign_attached
from micromdm_py.protocol.issuing import issue_certificate, make_ca
from micromdm_py.protocol.scep import FailInfo, ScepRequest, build_failure, build_success, parse_pki_message
from micromdm_py.storage.base import Depot

__all__ = ["CertificateAuthority", "ChallengeRule", "create_authority"]

CA_DAYS = 5 * 365 + 1
CA_KEY_BITS = 2048
BACKDATE = timedelta(minutes=10)
"""How long before it is issued a certificate becomes valid, for devices whose clock is slow."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChallengeRule:
    """Which SCEP challenges are accepted.

    Attributes:
        static: the challenge that is the same for all devices.
        one_time: accept one-time challenges only, not the static one.
    """

    static: str = field(default="micromdm", repr=False)
    one_time: bool = False


def create_authority(depot: Depot, now: datetime) -> None:
    """Make the authority of a new store; one that exists stays."""
    if depot.authority() is not None:
        return
    key = rsa.generate_private_key(65537, CA_KEY_BITS)
    certificate = make_ca(key, now, now + timedelta(days=CA_DAYS))
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    depot.create_authority(certificate, der)
    logger.info("created a certificate authority for device identities")


class CertificateAuthority:
    """Answers SCEP requests."""

    def __init__(
        self,
        depot: Depot,
        challenges: ChallengeRule,
        *,
        validity_days: int,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Issue certificates that are valid for `validity_days`; the authority itself is in `depot`."""
        self._depot, self._challenges = depot, challenges
        self._validity, self._now, self._random_bytes = timedelta(days=validity_days), now, random_bytes

    @cached_property
    def _authority(self) -> tuple[Certificate, rsa.RSAPrivateKey]:
        found = self._depot.authority()
        if found is None:
            raise StartupError("the store holds no certificate authority")
        key = load_der_private_key(found[1], None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise StartupError("the key of the certificate authority is not an RSA key")
        return load_certificate(found[0]), key

    @property
    def certificate(self) -> Certificate:
        """The authority's own certificate."""
        return self._authority[0]

    def sign(self, content: bytes) -> bytes:
        """Wrap content in a signature of the authority, CMS in DER."""
        certificate, key = self._authority
        return sign_attached(content, key, certificate, signing_time=self._now())

    def answer(self, message: bytes) -> bytes:
        """Answer a PKIOperation.

        Args:
            message: the CMS of the request.
        Returns: a CertRep with the certificate, or with the reason for a failure.
        Raises: MalformedRequest when the message cannot be read.
        """
        authority, key = self._authority
        request = parse_pki_message(message, authority, key)
        if not self._challenge_fits(request):
            logger.warning("SCEP request with a wrong challenge refused")
            return build_failure(request, FailInfo.BAD_REQUEST, authority, key, self._now())
        leaf = self._issue(request)
        return build_success(request, leaf, authority, key, self._random_bytes, self._now())

    def _challenge_fits(self, request: ScepRequest) -> bool:
        sent = request.challenge or ""
        if self._challenges.one_time:
            return bool(sent) and self._depot.take_challenge(sent)
        expected = self._challenges.static.encode()
        return hmac.compare_digest(sent.encode("utf-8", "replace"), expected)

    def _issue(self, request: ScepRequest) -> bytes:
        authority, key = self._authority
        now = self._now()

        def make(serial: int) -> bytes:
            return issue_certificate(
                request.csr, key, authority, serial, now - BACKDATE, now + self._validity
            )

        leaf = self._depot.issue(make, request.signer.common_name, at=now)
        logger.info("issued certificate %d", load_certificate(leaf).serial)
        return leaf
