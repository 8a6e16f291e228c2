"""The servers that there are tokens for, and how services call Apple for them."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from micromdm_py.errors import NotConfigured, NotFound
from micromdm_py.protocol.dep.documents import DEFAULT_NAME, TOKEN, StoredToken
from micromdm_py.protocol.dep.session import Answer
from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN, DepToken
from micromdm_py.storage.base import Shelf

__all__ = ["Account", "Accounts", "AsyncDepCaller", "DepCaller"]


class DepCaller(Protocol):
    """Makes one call and waits for its answer."""

    def __call__(self, url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        """Call `path` of the service at `url`. Raises: DepFault for everything but an answer with 200."""
        ...


class AsyncDepCaller(Protocol):
    """The same for an event loop."""

    def __call__(
        self, url: str, token: DepToken, method: str, path: str, body: bytes = b""
    ) -> Awaitable[Answer]:
        """Call `path` of the service at `url`. Raises: DepFault for everything but an answer with 200."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """One server in Apple's portal: the name of its token, the token, and the URL to use it at."""

    name: str
    token: DepToken
    url: str


class Accounts:
    """The servers that there are tokens for now."""

    def __init__(self, shelf: Shelf, url: str, simulator: str = "") -> None:
        """Read tokens from `shelf`.

        Args:
            shelf: where they are kept.
            url: URL of Apple's service.
            simulator: URL of a simulator to use in place of all tokens, "" for none.
        """
        self._shelf, self._simulator, self._url = shelf, simulator.rstrip("/"), url.rstrip("/")

    def all(self) -> list[Account]:
        """Every one, by name."""
        if self._simulator:
            return [Account(DEFAULT_NAME, SIMULATOR_TOKEN, self._simulator)]
        kept = self._shelf.documents(TOKEN)
        return [Account(name, StoredToken.of(body).token, self._url) for name, body in kept]

    def get(self, name: str) -> Account:
        """One of them. Raises: NotConfigured when there is no default one; NotFound for another name."""
        for account in self.all():
            if account.name == name:
                return account
        if name == DEFAULT_NAME:
            raise NotConfigured("DEP not configured yet. add a DEP token to enable DEP")
        raise NotFound(f"not found: DEP token {name}")
