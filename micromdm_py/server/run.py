"""``run``: the server from its configuration."""

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from micromdm_py.server.exchange import WsgiApp
from micromdm_py.server.limits import Limits
from micromdm_py.server.process import ServerConfig, run_parts

__all__ = ["run"]

C = TypeVar("C", bound=ServerConfig)


@dataclass(frozen=True, slots=True)
class _Bound(Generic[C]):
    config: C
    make_app: Callable[[C], WsgiApp]
    courier: Callable[[C, threading.Event], None]
    make_ready: Callable[[C], bytes | None]

    def prepare(self) -> bytes | None:
        return self.make_ready(self.config)

    def build_app(self) -> WsgiApp:
        return self.make_app(self.config)

    def run_courier(self, stop: threading.Event) -> None:
        self.courier(self.config, stop)


def run(
    config: C,
    *,
    build_app: Callable[[C], WsgiApp] | None = None,
    run_courier: Callable[[C, threading.Event], None] | None = None,
    prepare: Callable[[C], bytes | None] | None = None,
    limits: Limits | None = None,
) -> int:
    """Run the server until SIGTERM or SIGINT.

    Args:
        config: the settings.
        build_app: called in each web worker; opens the store and returns the WSGI application. If
            that has a ``close`` method it is called when the worker stops.
        run_courier: called in the courier's process; returns soon after the event is set.
        prepare: called once in a process of its own before any other: creates the store, checks its
            version. May return the PEM of the authority whose certificates TLS shall ask clients
            for; None asks for none.
        limits: sizes and times; the defaults are those of the manual.
    Returns: the exit status.
    Raises: StartupError and StoreInUse, with the line to show.
    """
    bound = _Bound(
        config,
        build_app or cast(Callable[[C], WsgiApp], _composed("build_app")),
        run_courier or cast(Callable[[C, threading.Event], None], _composed("run_courier")),
        prepare or cast(Callable[[C], bytes | None], _composed("prepare")),
    )
    return run_parts(config, bound, limits)


def _composed(name: str) -> object:
    """Take a function of compose, which is imported only when it is needed: it imports everything."""
    return getattr(importlib.import_module("micromdm_py.compose"), name)
