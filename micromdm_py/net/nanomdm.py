"""The way to NanoMDM's API."""

import ssl
from collections.abc import Iterable, Iterator

import httpx

from micromdm_py.errors import UpstreamFailed, in_words

__all__ = ["send_messages"]

TIMEOUT_S = 30.0


def send_messages(
    url: str, api_key: str, messages: Iterable[tuple[str, bytes, str]], context: ssl.SSLContext
) -> Iterator[tuple[str, int]]:
    """Send messages one after another, as their order counts; gives (name, status of the answer).

    Args:
        url: address of the endpoint, ``https://…/migration`` or ``https://…/v1/enqueue/``.
        api_key: NanoMDM's API key.
        messages: name of each, its body, and what comes behind `url`.
        context: says which certificates the server may have.
    Raises: UpstreamFailed when it does not answer, refuses the key, or has no such endpoint.
    """
    try:
        with httpx.Client(verify=context, timeout=TIMEOUT_S, auth=("nanomdm", api_key)) as client:
            for name, body, path in messages:
                status = client.put(url + path, content=body).status_code
                if status in _FINAL:
                    raise UpstreamFailed(f"{url} answered {status}: {_FINAL[status]}")
                yield name, status
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise UpstreamFailed(f"{url}: {in_words(fault)}") from fault


_FINAL = {
    401: "the API key is not the server's",
    404: "there is no such endpoint; for /migration, start NanoMDM with -migration",
}
