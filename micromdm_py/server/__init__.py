"""The server process: listener, TLS, web workers, courier, stop."""

from micromdm_py.server.run import run

__all__ = ["run"]
