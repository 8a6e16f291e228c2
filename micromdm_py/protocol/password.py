"""Password hashes as macOS keeps them: SALTED-SHA512-PBKDF2 in a property list.

Source: Apple, "AccountConfiguration", `passwordHash`.
"""

import hashlib

from micromdm_py.protocol.plist import dumps_indented

__all__ = ["ENTROPY_BYTES", "ITERATIONS", "SALT_BYTES", "password_hash"]

ENTROPY_BYTES, SALT_BYTES = 128, 32
ITERATIONS = 100_000
"""Rounds of PBKDF2; macOS accepts any number and stores it with the hash."""


def password_hash(password: str, salt: bytes, iterations: int = ITERATIONS) -> bytes:
    """Hash a password.

    Args:
        password: in cleartext.
        salt: `SALT_BYTES` random bytes.
        iterations: rounds of PBKDF2-HMAC-SHA512.
    Returns: an XML property list, the value of `passwordHash`.
    """
    secret = password.encode()
    entropy = hashlib.pbkdf2_hmac("sha512", secret, salt, iterations, ENTROPY_BYTES)
    inside = {"entropy": entropy, "iterations": iterations, "salt": salt}
    return dumps_indented({"SALTED-SHA512-PBKDF2": inside})
