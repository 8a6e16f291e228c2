"""A simulated device, which enrolls, checks in, connects and answers like a real one.

It signs every message with its own identity, either in the form that real devices use ("apple": BER, SHA-1,
no attributes) or in DER with SHA-256 and signed attributes.
"""

import base64
import plistlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import httpx

from micromdm_py.protocol.certificates import Certificate
from micromdm_py.protocol.cms import PrivateKey, sign_detached
from micromdm_py.simulator.answers import Facts
from micromdm_py.simulator.profile import EnrollmentProfile

__all__ = ["Answering", "Channel", "DeviceIdentity", "Refused", "SimulatedDevice"]

Form = Literal["der", "apple"]
Answering = Callable[[Mapping[str, object]], dict[str, object] | None]
"""Returns the report for a command, or None to leave it unanswered."""


class Refused(Exception):
    """The server answered a device with a status other than 200.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, what: str, status: int) -> None:
        """Say which message was refused."""
        super().__init__(f"{what}: HTTP {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Private key and certificate of a device."""

    key: PrivateKey
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Channel:
    """The ids in every message of one channel.

    Attributes:
        ids: keys of the property list: UDID, EnrollmentID, UserID and so on.
    """

    ids: Mapping[str, str]

    @classmethod
    def device(cls, udid: str) -> "Channel":
        """The device channel."""
        return cls({"UDID": udid})

    @classmethod
    def user(cls, udid: str, user_id: str, short_name: str, long_name: str = "") -> "Channel":
        """A user channel under a device."""
        return cls(
            {
                "UDID": udid,
                "UserID": user_id,
                "UserShortName": short_name,
                "UserLongName": long_name or short_name,
            }
        )

    @classmethod
    def user_enrollment(cls, enrollment_id: str) -> "Channel":
        """A User Enrollment, which does not reveal its UDID."""
        return cls({"EnrollmentID": enrollment_id})


class SimulatedDevice:
    """One channel of one device, talking to a server."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        profile: EnrollmentProfile,
        identity: DeviceIdentity,
        facts: Facts,
        *,
        channel: Channel | None = None,
        form: Form = "apple",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the device's parts.

        Args:
            http: the client to use.
            profile: its enrollment profile.
            identity: its certificate and key.
            facts: what it says about itself.
            channel: the channel it speaks for; by default the device channel of `facts.udid`.
            form: form of its signatures.
            now: gives the time, aware UTC.
        """
        self.facts = facts
        self.channel = channel or Channel.device(facts.udid)
        self._http, self._profile, self._identity = http, profile, identity
        self._form: Form = form
        self._now = now

    def on_channel(self, channel: Channel) -> "SimulatedDevice":
        """The same device on another channel, with the same identity."""
        return SimulatedDevice(
            self._http,
            self._profile,
            self._identity,
            self.facts,
            channel=channel,
            form=self._form,
            now=self._now,
        )

    def with_facts(self, **changes: str) -> "SimulatedDevice":
        """The same device with other facts about itself."""
        other = self.on_channel(self.channel)
        other.facts = replace(self.facts, **changes)  # type: ignore[arg-type]  # every field given here is text
        return other

    # --- check-in ---

    async def authenticate(self) -> None:
        """Send Authenticate. Raises: Refused."""
        facts = self.facts
        message = {
            "Topic": self._profile.topic,
            "DeviceName": facts.device_name,
            "Model": facts.model,
            "ModelName": facts.model_name,
            "ProductName": facts.product_name,
            "OSVersion": facts.os_version,
            "BuildVersion": facts.build_version,
        }
        if "UDID" in self.channel.ids:  # a User Enrollment must not reveal its hardware ids
            message["SerialNumber"] = facts.serial_number
            if facts.imei:
                message["IMEI"] = facts.imei
        await self.check_in("Authenticate", message)

    async def token_update(
        self, token: bytes, push_magic: str, *, unlock_token: bytes | None = None, awaiting: bool = False
    ) -> None:
        """Send TokenUpdate. Raises: Refused."""
        message: dict[str, object] = {
            "Topic": self._profile.topic,
            "Token": token,
            "PushMagic": push_magic,
            "AwaitingConfiguration": awaiting,
        }
        if unlock_token is not None:
            message["UnlockToken"] = unlock_token
        await self.check_in("TokenUpdate", message)

    async def check_out(self) -> None:
        """Send CheckOut. Raises: Refused."""
        await self.check_in("CheckOut", {"Topic": self._profile.topic})

    async def set_bootstrap_token(self, token: bytes) -> None:
        """Escrow a bootstrap token. Raises: Refused."""
        await self.check_in("SetBootstrapToken", {"BootstrapToken": token})

    async def get_bootstrap_token(self) -> bytes:
        """Ask for the escrowed token, b"" when there is none. Raises: Refused."""
        body = await self.check_in("GetBootstrapToken", {})
        found = plistlib.loads(body).get("BootstrapToken", b"") if body else b""
        return bytes(found)

    async def check_in(self, message_type: str, message: Mapping[str, object]) -> bytes:
        """Send a check-in message and return the reply's body. Raises: Refused."""
        return await self.put(
            self._profile.checkin_url, {"MessageType": message_type, **message}, message_type
        )

    # --- connect ---

    async def report(self, report: Mapping[str, object]) -> dict[str, object]:
        """Send one report; returns the next command, {} when there is none. Raises: Refused."""
        body = await self.put(self._profile.server_url, report, str(report.get("Status", "report")))
        served: dict[str, object] = plistlib.loads(body) if body else {}
        return served

    async def connect(self, answering: Answering) -> list[tuple[str, str]]:
        """Connect as after a push: report Idle, then answer commands until there are no more.

        Returns: (CommandUUID, Status) of every answer given, in order.
        Raises: Refused.
        """
        answered = []
        command = await self.report({"Status": "Idle"})
        while command:
            answer = answering(command)
            if answer is None:
                break
            answered.append((str(answer.get("CommandUUID", "")), str(answer["Status"])))
            command = await self.report(answer)
        return answered

    async def put(self, url: str, message: Mapping[str, object], what: str) -> bytes:
        """PUT a signed property list. Raises: Refused."""
        body = plistlib.dumps({**self.channel.ids, **message})
        headers = {"Content-Type": "application/x-apple-aspen-mdm"}
        if self._profile.sign_message:
            signature = sign_detached(
                body,
                self._identity.key,
                self._identity.certificate,
                form=self._form,
                signing_time=self._now() if self._form == "der" else None,
            )
            headers["Mdm-Signature"] = base64.b64encode(signature).decode()
        answer = await self._http.put(url, content=body, headers=headers)
        if answer.status_code != 200:
            raise Refused(what, answer.status_code)
        return answer.content
