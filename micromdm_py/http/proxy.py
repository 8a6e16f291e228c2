"""Requests that come through a proxy, and the header that keeps browsers on HTTPS.

A proxy's headers count only when they are switched on and the connection comes from an address that
is named as a trusted proxy; anybody can send them.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import falcon

__all__ = ["ProxyHeaders", "StrictTransport", "TrustedProxies"]

_HOST = re.compile(r"(?:[0-9A-Za-z_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_FORWARDED = re.compile(r'(for|proto|host)=(?:"([^"]*)"|([^;,\s"]+))', re.IGNORECASE)


class TrustedProxies:
    """Addresses and networks whose word about the client is taken."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        """Take the networks, ``Config.trusted_networks``."""
        self._networks = tuple(networks)

    def __contains__(self, address: str) -> bool:
        """Tell whether an address (without port) is trusted."""
        parsed = _parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)


class ProxyHeaders:
    """Falcon middleware: client address, scheme and host as the proxy saw them; comes before all others.

    It leaves the address of the connection itself in the environ as ``micromdm.peer_address``.
    """

    def __init__(self, trusted: TrustedProxies, *, enabled: bool) -> None:
        """Take who is trusted and whether the headers are looked at."""
        self._trusted, self._enabled = trusted, enabled

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Correct the environ."""
        peer = str(req.env.get("REMOTE_ADDR", ""))
        req.env["micromdm.peer_address"] = peer
        if not self._enabled or peer not in self._trusted:
            return
        forwarded = _forwarded(req.env.get("HTTP_FORWARDED", ""))
        if client := self._client(req, forwarded):
            req.env["REMOTE_ADDR"] = client
        proto = (
            req.env.get("HTTP_X_FORWARDED_PROTO")
            or req.env.get("HTTP_X_FORWARDED_SCHEME")
            or forwarded.get("proto", "")
        )
        scheme = proto.split(",")[0].strip().lower()
        if scheme in ("http", "https"):
            req.env["wsgi.url_scheme"] = scheme
        host = (req.env.get("HTTP_X_FORWARDED_HOST") or forwarded.get("host", "")).split(",")[0].strip()
        if _HOST.fullmatch(host):
            req.env["HTTP_HOST"] = host

    def _client(self, req: falcon.Request, forwarded: dict[str, str]) -> str:
        """Find the last address that is not a proxy of ours; what stands before it could be made up."""
        chain = req.env.get("HTTP_X_FORWARDED_FOR") or ""
        hops = [hop for hop in map(str.strip, chain.split(",")) if hop]
        if not hops:
            hops = [req.env.get("HTTP_X_REAL_IP") or forwarded.get("for", "")]
        client = ""
        for hop in reversed(hops):
            address = _parse_address(hop)
            if address is None:
                break
            client = str(address)
            if client not in self._trusted:
                break
        return client


class StrictTransport:
    """Falcon middleware: Strict-Transport-Security on every answer; only when we serve TLS ourselves."""

    def process_response(
        self, _req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        """Add the header."""
        resp.set_header("Strict-Transport-Security", "max-age=63072000; includeSubDomains; preload")


def _forwarded(header: str) -> dict[str, str]:
    """Read for, proto and host of the last element of a Forwarded header (RFC 7239)."""
    element = header.rpartition(",")[2]
    return {name.lower(): quoted or plain for name, quoted, plain in _FORWARDED.findall(element)}


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address with or without port, IPv6 with or without brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
