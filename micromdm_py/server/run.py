"""``run``: start the server from its configuration."""

import importlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from micromdm_py.server.exchange import WsgiApp
from micromdm_py.server.limits import Limits
from micromdm_py.server.process import Callbacks, ServerConfig, run_server

__all__ = ["run"]

C = TypeVar("C", bound=ServerConfig)


def run(
    config: C,
    *,
    build_app: Callable[[C], WsgiApp] | None = None,
    run_courier: Callable[[C, threading.Event], None] | None = None,
    prepare: Callable[[C], bytes | None] | None = None,
    limits: Limits | None = None,
) -> int:
    """Run the server until SIGTERM or SIGINT. The functions default to those of `compose`.

    Args:
        config: the settings.
        build_app: called in each web worker; opens the store and returns the WSGI application. If the
            application has a ``close`` method, it is called when the worker stops.
        run_courier: called in the courier's process; must return soon after the event is set.
        prepare: called once, in a child process, before the others: creates the store and checks its
            version. May return the PEM of the authority whose certificates TLS asks clients for.
        limits: sizes and times; the manual states the defaults.
    Returns: the exit status.
    Raises: StartupError and StoreInUse, with the line to show.
    """
    callbacks = Callbacks(
        prepare=partial(prepare or _composed("prepare"), config),
        build_app=partial(build_app or _composed("build_app"), config),
        run_courier=partial(run_courier or _composed("run_courier"), config),
    )
    return run_server(config, callbacks, limits)


def _composed(name: str) -> Any:  # each function of compose has a signature of its own
    """A function of compose, imported only when needed because compose imports everything."""
    return getattr(importlib.import_module("micromdm_py.compose"), name)
