"""The way to NanoMDM's migration endpoint."""

import ssl
from collections.abc import Iterable, Iterator

import httpx

from micromdm_py.errors import UpstreamFailed, in_words

__all__ = ["send_checkins"]

TIMEOUT_S = 30.0


def send_checkins(
    url: str, api_key: str, messages: Iterable[tuple[str, bytes]], context: ssl.SSLContext
) -> Iterator[tuple[str, int]]:
    """Send check-in messages one after another, as their order counts; gives (name, status of the answer).

    Args:
        url: address of the endpoint, ``https://…/migration``.
        api_key: NanoMDM's API key.
        messages: name and body of each.
        context: says which certificates the server may have.
    Raises: UpstreamFailed when it does not answer, refuses the key, or has no such endpoint.
    """
    try:
        with httpx.Client(verify=context, timeout=TIMEOUT_S, auth=("nanomdm", api_key)) as client:
            for name, body in messages:
                status = client.put(url, content=body).status_code
                if status in _FINAL:
                    raise UpstreamFailed(f"{url} answered {status}: {_FINAL[status]}")
                yield name, status
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise UpstreamFailed(f"{url}: {in_words(fault)}") from fault


_FINAL = {401: "the API key is not the server's", 404: "start NanoMDM with -migration"}
