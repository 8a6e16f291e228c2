"""Certificates that act for enrollments."""

from dataclasses import dataclass

__all__ = ["UNBOUND", "BindingRule", "Identity"]


@dataclass(frozen=True, slots=True)
class BindingRule:
    """How strictly a certificate is bound to an enrollment.

    Attributes:
        allow_rebind: Authenticate may bind an enrollment to another certificate than before.
        exclusive: a certificate that is bound to one enrollment is refused for another.
        warn_only: a certificate other than the bound one is accepted; the binding stays.
    """

    allow_rebind: bool = True
    exclusive: bool = False
    warn_only: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """The certificate behind a device's message, verified.

    Attributes:
        fingerprint: SHA-256 of the certificate's DER, 32 bytes; b"" for no certificate.
        rule: how strictly it is bound.
    """

    fingerprint: bytes
    rule: BindingRule


UNBOUND = Identity(b"", BindingRule(warn_only=True))
"""For an administrator who vouches for a device: binds nothing, and leaves every binding as it is."""
