"""Apple's service that takes the activation lock off a device."""

from collections.abc import Mapping

import httpx

from micromdm_py.errors import UpstreamFailed
from micromdm_py.net.apns import client_context
from micromdm_py.net.proxy import proxy_for
from micromdm_py.storage.records import PushCertificate

__all__ = ["UNLOCK_URL", "HttpUnlock"]

UNLOCK_URL = "https://deviceservices-external.apple.com/deviceservicesworkers/escrowKeyUnlock"
TIMEOUT_S = 20.0
ANSWER_BYTES = 1 << 16


class HttpUnlock:
    """Posts to the service, with the push certificate as identity."""

    def __init__(self, url: str = UNLOCK_URL, ca_file: str = "") -> None:
        """Post to `url`; `ca_file` names its authorities, "" for the usual ones."""
        self._url, self._ca_file = url, ca_file

    def __call__(
        self, certificate: PushCertificate, query: Mapping[str, str], form: Mapping[str, str]
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer. Raises: UpstreamFailed."""
        try:
            context = client_context(certificate, self._ca_file)
            proxy = proxy_for(httpx.URL(self._url))
            with httpx.Client(verify=context, proxy=proxy, trust_env=False, timeout=TIMEOUT_S) as client:
                answer = client.post(self._url, params=dict(query), data=dict(form))
        except (httpx.HTTPError, OSError, ValueError) as fault:
            raise UpstreamFailed(f"unlock service: {type(fault).__name__}: {fault}") from fault
        return answer.status_code, answer.headers.get("content-type", ""), answer.content[:ANSWER_BYTES]
