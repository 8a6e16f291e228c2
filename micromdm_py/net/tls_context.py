"""TLS for calls to the outside."""

import ssl

import certifi

__all__ = ["outgoing_context"]


def outgoing_context(ca_file: str = "") -> ssl.SSLContext:
    """A context that verifies the other side.

    Args:
        ca_file: PEM file of the authorities to trust in place of the usual ones. The usual ones are those of
            `SSL_CERT_FILE` and `SSL_CERT_DIR`, as OpenSSL reads them, else the system's, else those that
            come with certifi.
    Raises: OSError (ssl.SSLError is one) when the file is not there or holds no certificate.
    """
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    usual = ssl.get_default_verify_paths()
    if usual.cafile or usual.capath:
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())
