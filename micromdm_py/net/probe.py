"""A look at a server from outside, as a device would have it."""

import ssl

import httpx

from micromdm_py.errors import UpstreamFailed, in_words

__all__ = ["probe"]

TIMEOUT_S = 15.0


def probe(url: str, context: ssl.SSLContext) -> tuple[str, bytes]:
    """Ask a server who it is.

    Args:
        url: its address.
        context: says which certificates the server may have.
    Returns: its version, "" when it tells none; and its SCEP authority, DER, b"" when it has none.
    Raises: UpstreamFailed when it does not answer, or its TLS certificate is not trusted.
    """
    try:
        with httpx.Client(verify=context, timeout=TIMEOUT_S) as client:
            version = client.get(f"{url.rstrip('/')}/version")
            scep = client.get(f"{url.rstrip('/')}/scep", params={"operation": "GetCACert"})
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise UpstreamFailed(f"{url}: {in_words(fault)}") from fault
    try:
        told = version.json()
    except ValueError:
        told = {}
    name = str(told.get("version", "")) if isinstance(told, dict) else ""
    return name, (scep.content if scep.status_code == 200 else b"")
