"""Enrolling a simulated device: fetching the profile, then getting an identity over SCEP."""

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa

from micromdm_py.errors import UpstreamFailed
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.issuing import make_request, self_signed
from micromdm_py.protocol.scep import PkiStatus, build_request, parse_reply
from micromdm_py.simulator.answers import Facts
from micromdm_py.simulator.device import DeviceIdentity, Form, SimulatedDevice
from micromdm_py.simulator.profile import EnrollmentProfile, read_profile

__all__ = ["Enroller", "KeyPool"]

KEY_BITS = 2048


class KeyPool:
    """RSA keys for many devices.

    Making a key takes longer than the rest of an enrollment, so a large fleet shares `most` of them. To the
    server this makes no difference, since each device has its own certificate.
    """

    def __init__(self, most: int = 8) -> None:
        """Make at most `most` keys, each when it is first needed."""
        self._most = most
        self._keys: list[rsa.RSAPrivateKey] = []
        self._next = 0

    def take(self) -> rsa.RSAPrivateKey:
        """A new key until there are `most` of them, then these in turn."""
        if len(self._keys) < self._most:
            self._keys.append(rsa.generate_private_key(65537, KEY_BITS))
            return self._keys[-1]
        self._next += 1
        return self._keys[self._next % self._most]


class Enroller:
    """Makes devices that are ready to send their first Authenticate."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        server_url: str,
        *,
        form: Form = "apple",
        keys: KeyPool | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take what all devices have in common.

        Args:
            http: the client to use.
            server_url: scheme, host and port of the server.
            form: form of the devices' signatures.
            keys: where the devices' keys come from.
            random_bytes: source of nonces and content keys.
            now: gives the time, aware UTC.
        """
        self._http, self._url, self._form = http, server_url.rstrip("/"), form
        self._keys = keys or KeyPool()
        self._random_bytes, self._now = random_bytes, now
        self._authority: Certificate | None = None

    async def profile(self) -> EnrollmentProfile:
        """Fetch the enrollment profile. Raises: UpstreamFailed, MalformedRequest."""
        return read_profile(await self._request("GET", f"{self._url}/mdm/enroll"))

    async def device(self, facts: Facts) -> SimulatedDevice:
        """Give a device its profile and identity. Raises: UpstreamFailed, MalformedRequest."""
        profile = await self.profile()
        identity = await self.identity(profile, facts)
        return SimulatedDevice(self._http, profile, identity, facts, form=self._form, now=self._now)

    async def identity(self, profile: EnrollmentProfile, facts: Facts) -> DeviceIdentity:
        """Get a certificate over SCEP as the profile says. Raises: UpstreamFailed, MalformedRequest."""
        authority = await self._scep_authority(profile.scep_url)
        key = self._keys.take()
        subject = dict(profile.subject)
        name = subject.get("CN", "").replace("%ComputerName%", facts.device_name)[:64] or facts.serial_number
        request = make_request(key, name, subject.get("O", ""), profile.challenge or None)
        begin = self._now() - timedelta(days=1)
        sender = load_certificate(self_signed(key, name, 1, begin, begin + timedelta(days=2)))
        message = build_request(
            request,
            key,
            sender,
            authority,
            transaction_id=hashlib.sha256(request).hexdigest(),
            nonce=self._random_bytes(16),
            random_bytes=self._random_bytes,
        )
        url = f"{profile.scep_url}?operation=PKIOperation"
        headers = {"Content-Type": "application/x-pki-message"}
        answer = await self._request("POST", url, content=message, headers=headers)
        reply = parse_reply(answer, key, sender, authority)
        if reply.status is not PkiStatus.SUCCESS or reply.certificate is None:
            raise UpstreamFailed(
                f"SCEP: {reply.status.name} {reply.fail_info.name if reply.fail_info else ''}"
            )
        return DeviceIdentity(key, load_certificate(reply.certificate))

    async def _scep_authority(self, scep_url: str) -> Certificate:
        if self._authority is None:
            await self._request("GET", f"{scep_url}?operation=GetCACaps")
            self._authority = load_certificate(await self._request("GET", f"{scep_url}?operation=GetCACert"))
        return self._authority

    async def _request(
        self, method: str, url: str, *, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        answer = await self._http.request(method, url, content=content, headers=headers)
        if answer.status_code != 200:
            raise UpstreamFailed(f"{method} {url}: HTTP {answer.status_code}")
        return answer.content
