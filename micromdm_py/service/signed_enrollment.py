"""Profiles for devices that sign their request: automated enrollment, over-the-air enrollment.

Source: Apple, "Authenticating through web views" and "Over-the-Air Profile Delivery and Configuration".
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from micromdm_py.errors import SignatureInvalid
from micromdm_py.protocol.certificates import Certificate, issued_by
from micromdm_py.protocol.plist import loads
from micromdm_py.protocol.signature import SignedContent, verify_attached
from micromdm_py.service.enroll import Enroll

__all__ = ["SignedEnrollment"]

logger = logging.getLogger(__name__)


class SignedEnrollment:
    """Hands out profiles to devices that sign with the right certificate."""

    def __init__(
        self,
        enroll: Enroll,
        device_authorities: Sequence[Certificate],
        authority: Callable[[], Certificate],
    ) -> None:
        """Make profiles with `enroll`.

        Args:
            enroll: makes the profiles.
            device_authorities: sign the certificates that devices have from the factory. Their dates are not
                checked: Apple's authority expired in 2014, and devices still come with certificates of it.
            authority: gives the authority of this server.
        """
        self._enroll, self._device_authorities, self._authority = enroll, device_authorities, authority

    def automated(self, body: bytes) -> bytes:
        """The enrollment profile for a device in automated enrollment.

        Args:
            body: CMS with the device's property list (`MachineInfo`) inside.
        Raises: SignatureInvalid, MalformedRequest.
        """
        self.device(body, "automated enrollment")
        return self._enroll.profile()

    def device(self, body: bytes, what: str) -> Mapping[str, object]:
        """What a device says about itself, signed with its certificate from the factory.

        Args:
            body: CMS with the property list inside.
            what: what it asks for, for the log.
        Raises: SignatureInvalid, MalformedRequest.
        """
        signed = verify_attached(body)
        if not self._from_factory(signed.signer):
            raise SignatureInvalid("unauthorized enrollment client: not signed by Apple Device CA")
        return _tell(what, signed)

    def over_the_air(self, body: bytes) -> bytes:
        """The answer to phases 2 and 3, which devices send to one URL.

        A request signed with the certificate from the factory gets a profile with a SCEP payload. One signed
        with the identity that was issued for it gets the enrollment profile.

        Raises: SignatureInvalid, MalformedRequest.
        """
        signed = verify_attached(body)
        if self._from_factory(signed.signer):
            _tell("over-the-air enrollment, phase 2", signed)
            return self._enroll.phase2()
        if issued_by(signed.signer, self._authority()):
            _tell("over-the-air enrollment, phase 3", signed)
            return self._enroll.profile()
        raise SignatureInvalid(
            "unauthorized client: signed neither by Apple Device CA nor by an identity of ours"
        )

    def _from_factory(self, signer: Certificate) -> bool:
        return any(issued_by(signer, authority) for authority in self._device_authorities)


def _tell(what: str, signed: SignedContent) -> Mapping[str, object]:
    """Log which device asks, and return what it says about itself. Raises: MalformedRequest."""
    info = loads(signed.content)
    told = {key: info.get(key) for key in ("SERIAL", "PRODUCT", "VERSION")}
    logger.info("%s: %s", what, ", ".join(f"{key} {value!r}" for key, value in told.items() if value))
    return info
