"""Certificates that act for enrollments."""

from dataclasses import dataclass

__all__ = ["UNBOUND", "BindingRule", "Identity"]


@dataclass(frozen=True, slots=True)
class BindingRule:
    """How strictly a certificate is tied to an enrollment.

    Attributes:
        allow_rebind: Authenticate may tie an enrollment to another certificate than before.
        exclusive: a certificate tied to one enrollment is refused for another.
        warn_only: a certificate that differs from the bound one is accepted; the binding stays.
    """

    allow_rebind: bool = True
    exclusive: bool = False
    warn_only: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified certificate behind a device message.

    Attributes:
        fingerprint: SHA-256 of the certificate's DER, 32 bytes; b"" when nobody has shown one.
        rule: how it is tied to enrollments.
    """

    fingerprint: bytes
    rule: BindingRule


UNBOUND = Identity(b"", BindingRule(warn_only=True))
"""Stands for an administrator who vouches for a device: nothing is bound, and what is bound stays so."""
