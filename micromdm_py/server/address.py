"""Listen addresses in Go's form: ``:https``, ``:8080``, ``127.0.0.1:9000``, ``[::1]:443``."""

import errno
import os
import socket
import time
from dataclasses import dataclass

from micromdm_py.errors import StartupError

__all__ = ["Address", "listen", "parse_address"]

_BACKLOG = 2048
_WAIT_S = 1.0  # a server killed a moment ago may still hold the port
_PAUSE_S = 0.05
_KNOWN_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; an empty host means every interface, IPv6 and IPv4."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write the address as it is given on the command line."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read a listen address.

    Args:
        text: ``host:port`` or ``:port``; the port is a number or a service name.
    Returns: the address, its port resolved.
    Raises: StartupError with MicroMDM's texts.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _unparsable(text, "too many colons in address")
    if not colon or text.endswith("]"):
        raise _unparsable(text, "missing port in address")
    return Address(host, _port(port))


def _unparsable(text: str, reason: str) -> StartupError:
    return StartupError(
        f'calling ListenAndServe: httputil: couldn\'t parse address "{text}": address {text}: {reason}'
    )


def _port(name: str) -> int:
    if name.isascii() and name.isdigit() and int(name) <= 0xFFFF:
        return int(name)
    if name in _KNOWN_PORTS:
        return _KNOWN_PORTS[name]
    try:
        return socket.getservbyname(name, "tcp")
    except (OSError, UnicodeError):
        raise _cannot_listen(f"listen tcp: lookup tcp/{name}: unknown port") from None


def _cannot_listen(reason: str) -> StartupError:
    return StartupError(f"calling ListenAndServe: httputil: creating TCP Listener: {reason}")


def listen(address: Address) -> socket.socket:
    """Bind and listen, non-blocking.

    Waits up to one second for a port that is still taken.

    Raises: StartupError with MicroMDM's texts.
    """
    give_up_at = time.monotonic() + _WAIT_S
    while True:
        try:
            return _bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < give_up_at:
                time.sleep(_PAUSE_S)
                continue
            raise _cannot_listen(f"listen tcp {address}: bind: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or not error.errno:
        return "no such host"
    return os.strerror(error.errno).lower()


def _bind(address: Address) -> socket.socket:
    if not address.host and socket.has_dualstack_ipv6():
        listener = socket.create_server(
            ("::", address.port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
        )
    else:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener
