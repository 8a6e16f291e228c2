"""Calls to the server: JSON in, JSON out, one line for everything that goes wrong."""

import json
import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from micromdm_py.cli.mdmctl.config import ServerConfig, active_server
from micromdm_py.errors import StartupError, in_words

__all__ = ["Api", "Json", "Unreachable", "connect", "segment"]

Json = Any  # what a server answered; each command knows the shape
TIMEOUT = httpx.Timeout(30.0, read=90.0, write=None)
_AWAY = (502, 503, 504)


class Unreachable(StartupError):
    """The server gave no answer, or a proxy before it said that it is away."""


class Api:
    """The API of one server."""

    def __init__(self, server: ServerConfig) -> None:
        """Talk to `server`; its certificate is checked unless it says not to."""
        self.url = server.server_url.rstrip("/")
        # The system's authorities, or those that SSL_CERT_FILE names.
        verify = False if server.skip_verify else ssl.create_default_context()
        self._http = httpx.Client(
            auth=("micromdm", server.api_token),
            verify=verify,
            timeout=TIMEOUT,
            headers={"User-Agent": "mdmctl"},
        )

    def __enter__(self) -> "Api":
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        content: bytes | Iterable[bytes] | None = None,
        query: Mapping[str, str | int] | None = None,
        files: object = None,
    ) -> Json:
        """Make a call and return the JSON of its answer.

        Args:
            method: of HTTP.
            path: from the server's URL on.
            document: JSON to send; None for none.
            content: a body that is no JSON.
            query: parameters of the URL.
            files: parts of a form, as httpx takes them.
        Raises: StartupError with the server's own words; Unreachable without an answer of it.
        """
        how: dict[str, Any] = {"params": dict(query or {})}  # Any: handed to httpx
        if document is not None:
            how["json"] = document
        if content is not None:
            how["content"] = content
        if files is not None:
            how["files"] = files
        answer = self._send(method, path, how)
        if answer.status_code in _AWAY:
            raise Unreachable(_refusal(answer))
        if answer.status_code >= 400:
            raise StartupError(_refusal(answer))
        try:
            return answer.json() if answer.content else {}
        except ValueError:
            raise StartupError(f"{method} {path}: the answer is not JSON: is this an MDM server?") from None

    def _send(self, method: str, path: str, how: dict[str, Any]) -> httpx.Response:
        try:
            return self._http.request(method, self.url + path, **how)
        except httpx.HTTPError as fault:
            told = in_words(fault)
            if "certificate verify failed" in told:
                told += "; SSL_CERT_FILE names the authorities to trust"
            raise Unreachable(f"{method} {self.url}{path}: {told}") from fault


def connect() -> Api:
    """The server in use. Raises: StartupError."""
    return Api(active_server())


def segment(text: str) -> str:
    """An id or a name as one segment of a path."""
    return quote(text, safe="")


def _refusal(answer: httpx.Response) -> str:
    try:
        told = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered {answer.status_code} {answer.reason_phrase}"
    if answer.status_code == 401:
        return f"{answer.request.url.host} refuses the API token: see mdmctl config print"
    return str(told) if isinstance(told, str) else json.dumps(told)
