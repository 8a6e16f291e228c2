"""How routes treat methods and path segments: as MicroMDM's clients know it.

OPTIONS is a method like any other (falcon would answer it by itself), some resources answer every method,
and a segment that a route names has at least one character.
"""

from collections.abc import Callable
from typing import Any

import falcon
from falcon.constants import COMBINED_METHODS
from falcon.routing import BaseConverter, CompiledRouter

from micromdm_py.http.auth import ADMIN

__all__ = ["Routes"]


class Routes(CompiledRouter):
    """Falcon's router with our rules.

    A resource with `on_any` answers every method. Others answer 405 and `Allow` for methods they do not have.
    A field written `{name:segment}` matches a segment that is not empty.

    Attributes:
        resources: the resource of each route, by its template.
    """

    def __init__(self, wrap: Callable[[Any], Any] = lambda responder: responder) -> None:
        """Make a router without routes; `wrap` is put around each responder for administrators."""
        super().__init__()
        self._wrap = wrap
        self.resources: dict[str, object] = {}
        self.options.converters["segment"] = _Segment

    def add_route(self, uri_template: str, resource: object, **kwargs: Any) -> None:  # Any: falcon's options
        """Add a route and remember it."""
        super().add_route(uri_template, resource, **kwargs)
        self.resources[uri_template] = resource

    def map_http_methods(self, resource: object, **kwargs: Any) -> Any:  # Any: falcon's own types
        """Say which method of a resource answers which HTTP method; all are covered."""
        found = super().map_http_methods(resource, **kwargs)
        allowed = sorted(found)
        if getattr(resource, ADMIN, False):
            found = {method: self._wrap(responder) for method, responder in found.items()}

        def refuse(_req: falcon.Request, _resp: falcon.Response, **_: object) -> None:
            raise falcon.HTTPMethodNotAllowed(allowed)

        other = getattr(resource, "on_any", refuse)
        return {**dict.fromkeys(COMBINED_METHODS, other), **found}


class _Segment(BaseConverter):
    def convert(self, value: str) -> str | None:
        return value or None
