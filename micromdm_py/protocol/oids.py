"""The object identifiers of CMS, PKCS and SCEP, encoded, and the algorithms that are accepted.

Source: RFC 5652, RFC 3370, RFC 5754 (CMS and its algorithms), RFC 2985 (attributes), RFC 8894 (SCEP).
"""

from typing import Literal

from cryptography.hazmat.primitives import hashes

from micromdm_py.protocol.der import NULL, encode_oid, sequence

__all__ = [
    "CHALLENGE_PASSWORD",
    "CIPHERS",
    "CONTENT_TYPE",
    "DATA",
    "DIGESTS",
    "DIGEST_ALGORITHMS",
    "EC_SIGNATURES",
    "ENVELOPED_DATA",
    "MESSAGE_DIGEST",
    "RSA_ENCRYPTION",
    "RSA_OAEP",
    "RSA_SIGNATURES",
    "SCEP_FAIL_INFO",
    "SCEP_MESSAGE_TYPE",
    "SCEP_PKI_STATUS",
    "SCEP_RECIPIENT_NONCE",
    "SCEP_SENDER_NONCE",
    "SCEP_TRANSACTION_ID",
    "SIGNATURE_ALGORITHMS",
    "SIGNED_DATA",
    "SIGNING_TIME",
    "Cipher",
    "Digest",
    "digest_algorithm",
]

DATA = encode_oid("1.2.840.113549.1.7.1")
SIGNED_DATA = encode_oid("1.2.840.113549.1.7.2")
ENVELOPED_DATA = encode_oid("1.2.840.113549.1.7.3")

CONTENT_TYPE = encode_oid("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = encode_oid("1.2.840.113549.1.9.4")
SIGNING_TIME = encode_oid("1.2.840.113549.1.9.5")
CHALLENGE_PASSWORD = encode_oid("1.2.840.113549.1.9.7")

SCEP_MESSAGE_TYPE = encode_oid("2.16.840.1.113733.1.9.2")
SCEP_PKI_STATUS = encode_oid("2.16.840.1.113733.1.9.3")
SCEP_FAIL_INFO = encode_oid("2.16.840.1.113733.1.9.4")
SCEP_SENDER_NONCE = encode_oid("2.16.840.1.113733.1.9.5")
SCEP_RECIPIENT_NONCE = encode_oid("2.16.840.1.113733.1.9.6")
SCEP_TRANSACTION_ID = encode_oid("2.16.840.1.113733.1.9.7")

RSA_OAEP = encode_oid("1.2.840.113549.1.1.7")
RSA_ENCRYPTION = encode_oid("1.2.840.113549.1.1.1")
_EC_PUBLIC_KEY = encode_oid("1.2.840.10045.2.1")

Digest = Literal["sha1", "sha256", "sha384", "sha512"]
"""Name of an accepted digest. MD5 is deliberately not among them."""

Cipher = Literal["des-cbc", "des3-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"]
"""Name of a content encryption algorithm."""

DIGESTS: dict[Digest, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - devices sign with it
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
"""Accepted digests by the name that `hashlib` uses."""

_DIGEST_OIDS: dict[Digest, bytes] = {
    "sha1": encode_oid("1.3.14.3.2.26"),
    "sha256": encode_oid("2.16.840.1.101.3.4.2.1"),
    "sha384": encode_oid("2.16.840.1.101.3.4.2.2"),
    "sha512": encode_oid("2.16.840.1.101.3.4.2.3"),
}

RSA_SIGNATURES: dict[Digest, bytes] = {
    "sha1": encode_oid("1.2.840.113549.1.1.5"),
    "sha256": encode_oid("1.2.840.113549.1.1.11"),
    "sha384": encode_oid("1.2.840.113549.1.1.12"),
    "sha512": encode_oid("1.2.840.113549.1.1.13"),
}
"""The signature algorithm for RSA keys that includes a digest, by the digest's name."""

EC_SIGNATURES: dict[Digest, bytes] = {
    "sha1": encode_oid("1.2.840.10045.4.1"),
    "sha256": encode_oid("1.2.840.10045.4.3.2"),
    "sha384": encode_oid("1.2.840.10045.4.3.3"),
    "sha512": encode_oid("1.2.840.10045.4.3.4"),
}
"""The same for EC keys."""


CIPHERS: dict[Cipher, bytes] = {
    "des-cbc": encode_oid("1.3.14.3.2.7"),
    "des3-cbc": encode_oid("1.2.840.113549.3.7"),
    "aes128-cbc": encode_oid("2.16.840.1.101.3.4.1.2"),
    "aes192-cbc": encode_oid("2.16.840.1.101.3.4.1.22"),
    "aes256-cbc": encode_oid("2.16.840.1.101.3.4.1.42"),
}
"""Content encryption algorithms by name."""

DIGEST_ALGORITHMS: dict[bytes, Digest] = {}
"""Name of the digest by its AlgorithmIdentifier as sent, with parameters NULL or absent."""

SIGNATURE_ALGORITHMS: dict[bytes, tuple[str, Digest | None]] = {}
"""Kind of key ("rsa" or "ec") and included digest, if any, by the AlgorithmIdentifier as sent."""

for _name in DIGESTS:
    for _parameters in (NULL, b""):
        DIGEST_ALGORITHMS[sequence(_DIGEST_OIDS[_name], _parameters)] = _name
        SIGNATURE_ALGORITHMS[sequence(RSA_SIGNATURES[_name], _parameters)] = ("rsa", _name)
        SIGNATURE_ALGORITHMS[sequence(EC_SIGNATURES[_name], _parameters)] = ("ec", _name)
for _parameters in (NULL, b""):
    SIGNATURE_ALGORITHMS[sequence(RSA_ENCRYPTION, _parameters)] = ("rsa", None)
    SIGNATURE_ALGORITHMS[sequence(_EC_PUBLIC_KEY, _parameters)] = ("ec", None)


def digest_algorithm(name: Digest) -> bytes:
    """Return the AlgorithmIdentifier of a digest in `DIGESTS`, with NULL for its parameters."""
    return sequence(_DIGEST_OIDS[name], NULL)
