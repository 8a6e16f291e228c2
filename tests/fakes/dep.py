"""The simulated device assignment service, reached through the real client without a network."""

import base64
import json
from itertools import count

import httpx

from micromdm_py.net.dep import AsyncDepClient, DepClient, DepSessions
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.enveloped import encrypt
from micromdm_py.simulator.depsim import DepService
from tests.fakes.clock import Clock
from tests.protocol.crypto_samples import random_bytes

URL = "https://dep.example.com"
_nonces = count()


def token_upload(public_key: bytes, text: str) -> bytes:
    """The request that stores a token file.

    Args:
        public_key: the server's certificate, DER.
        text: what Apple's portal encrypts: headers, marks and the token.
    """
    sealed = encrypt(text.encode(), load_certificate(public_key), "aes256-cbc", random_bytes())
    file = b"Content-Type: application/pkcs7-mime\n\n" + base64.encodebytes(sealed)
    return json.dumps({"p7m_content": base64.b64encode(file).decode()}).encode()


def _sessions(clock: Clock) -> DepSessions:
    return DepSessions(user_agent="micromdm/test", now=clock, make_nonce=lambda: f"n{next(_nonces)}")


def _transport(service: DepService) -> httpx.MockTransport:
    def handle(request: httpx.Request) -> httpx.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = f"{request.url.scheme}://{request.url.host}"
        target = request.url.raw_path.decode()
        status, told, body = service.answer(request.method, target, headers, request.content, url)
        return httpx.Response(status, headers=told, content=body)

    return httpx.MockTransport(handle)


def client_of(service: DepService, clock: Clock) -> DepClient:
    """A client whose calls all reach `service`."""
    return DepClient(_sessions(clock), httpx.Client(transport=_transport(service)))


def async_client_of(service: DepService, clock: Clock) -> AsyncDepClient:
    """The same for an event loop."""
    return AsyncDepClient(_sessions(clock), httpx.AsyncClient(transport=_transport(service)))
