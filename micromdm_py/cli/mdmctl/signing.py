"""Keys and certificates in files: PEM, with or without a password, and PKCS#12."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12

from micromdm_py.cli.mdmctl.output import read_input
from micromdm_py.errors import StartupError

__all__ = ["load_certificate_file", "load_pair", "new_key", "pem_key"]


def load_pair(certificate: str, key: str, password: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A certificate and its key: from two PEM files, or from one ``.p12`` file. Raises: StartupError."""
    if Path(certificate).suffix == ".p12":
        return _load_p12(certificate, password)
    return load_certificate_file(certificate), load_key(key, password)


def _load_p12(path: str, password: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(read_input(path), password.encode())
    except ValueError as fault:
        raise StartupError(f"{path}: not a PKCS#12 file, or the password is wrong") from fault
    if certificate is None or not isinstance(key, rsa.RSAPrivateKey):
        raise StartupError(f"{path}: holds no certificate with an RSA key")
    return certificate, key


def load_certificate_file(path: str) -> x509.Certificate:
    """A certificate, PEM or DER. Raises: StartupError."""
    data = read_input(path)
    try:
        if data.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as fault:
        raise StartupError(f"{path}: not a certificate") from fault


def load_key(path: str, password: str) -> rsa.RSAPrivateKey:
    """An RSA key in PEM; the password counts only when the key has one. Raises: StartupError."""
    data = read_input(path)
    try:
        try:
            key = serialization.load_pem_private_key(data, None)
        except TypeError:  # it is encrypted
            key = serialization.load_pem_private_key(data, password.encode())
    except (ValueError, TypeError) as fault:
        raise StartupError(f"{path}: not a private key in PEM, or the password is wrong") from fault
    if not isinstance(key, rsa.RSAPrivateKey):
        raise StartupError(f"{path}: not an RSA key")
    return key


def new_key() -> rsa.RSAPrivateKey:
    """A new RSA key of 2048 bits."""
    return rsa.generate_private_key(65537, 2048)


def pem_key(key: rsa.RSAPrivateKey, password: str = "") -> bytes:
    """A key as PEM (PKCS#1), encrypted when there is a password."""
    lock = (
        serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, lock)
