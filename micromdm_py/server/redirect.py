"""The listener on port 80: redirects every request to HTTPS."""

from collections.abc import Callable

from micromdm_py.server.exchange import Environ

__all__ = ["redirect_app"]


def redirect_app(environ: Environ, start_response: Callable[..., Callable[[bytes], None]]) -> list[bytes]:
    """Answer 301 to the same host, path and query under https, or 400 without a host (WSGI)."""
    host = str(environ.get("HTTP_HOST", ""))
    target = str(environ["RAW_URI"])
    if not host or not target.startswith("/"):
        start_response("400 Bad Request", [("Connection", "close")])
        return [b""]
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    location = f"https://{name}{target}"
    start_response("301 Moved Permanently", [("Location", location), ("Connection", "close")])
    return [b""]
