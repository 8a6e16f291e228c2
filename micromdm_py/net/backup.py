"""A consistent copy of the database of a running MicroMDM server, over its admin API."""

import ssl
from typing import BinaryIO

import httpx

from micromdm_py.errors import UpstreamFailed, in_words

__all__ = ["fetch_backup"]

TIMEOUT_S = 120.0
"""Longest silence; the server locks its database before it begins to send."""


def fetch_backup(url: str, api_key: str, target: BinaryIO, context: ssl.SSLContext) -> None:
    """Write what ``/boltbackup`` of a server sends to a file.

    Args:
        url: address of the server.
        api_key: its API key.
        target: an empty file.
        context: says which certificates the server may have.
    Raises: UpstreamFailed when the server does not answer, refuses, or breaks off.
    """
    size = 0
    try:
        with (
            httpx.Client(verify=context, timeout=TIMEOUT_S) as client,
            client.stream("GET", f"{url.rstrip('/')}/boltbackup", auth=("micromdm", api_key)) as answer,
        ):
            if answer.status_code != 200:
                raise UpstreamFailed(
                    f"{url} answered {answer.status_code}{_HINTS.get(answer.status_code, '')}"
                )
            for part in answer.iter_raw():
                size += target.write(part)
            announced = answer.headers.get("Content-Length", "")
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise UpstreamFailed(f"{url}: {in_words(fault)}") from fault
    if announced.isdigit() and int(announced) != size:
        raise UpstreamFailed(f"{url} sent {size} bytes of {announced}")


_HINTS = {401: ": the API key is not the server's", 404: ": has the server no API key, or is it no MicroMDM?"}
