"""Which proxy a call goes through, after `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

We ask here, and not the HTTP client, because we use its transports directly: they cost about half of what the
client around them costs for each request.
"""

import urllib.request

import httpx

__all__ = ["proxy_for"]


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy for a URL as the environment names it, None for a direct connection. Raises: ValueError."""
    proxies = urllib.request.getproxies()
    address = proxies.get(url.scheme) or proxies.get("all") or ""
    place = f"{url.host}:{url.port}" if url.port else url.host
    if not address or urllib.request.proxy_bypass(place):
        return None
    return httpx.Proxy(address if "://" in address else f"http://{address}")
