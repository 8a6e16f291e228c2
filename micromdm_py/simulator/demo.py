"""The demonstration: a real server on loopback, a webhook receiver and a few devices, from start to end."""

import asyncio
import base64
import os
import plistlib
import signal
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from micromdm_py.errors import MdmError
from micromdm_py.simulator.answers import answer_to
from micromdm_py.simulator.authority import make_authority, make_server_certificate
from micromdm_py.simulator.device import SimulatedDevice
from micromdm_py.simulator.enrol import Enroller
from micromdm_py.simulator.fleet import facts_of
from micromdm_py.simulator.hook import HookReceiver

__all__ = ["Demo", "DemoFailed", "DemoServer", "running_server"]

API_KEY = "demo-key"
DEVICES = 3
START_LIMIT_S = 30.0
EVENT_LIMIT_S = 10.0

Say = Callable[[str, bool], None]
"""Prints one step: its text, and whether it succeeded."""


class DemoFailed(MdmError):
    """A step of the demonstration has failed."""


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A server that runs in its own process.

    Attributes:
        url: https://localhost:PORT.
        ca_file: PEM of the throwaway authority.
        log_file: the server's output.
    """

    url: str
    ca_file: Path
    log_file: Path

    def client(self) -> httpx.AsyncClient:
        """An HTTP client that trusts the throwaway authority and uses no proxy."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.AsyncClient(verify=context, timeout=20, trust_env=False)


def free_port() -> int:
    """A loopback port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_server(folder: Path, webhook_url: str) -> Iterator[DemoServer]:
    """Start the server in a folder with a throwaway certificate; stop it at the end.

    Raises: DemoFailed when it does not answer in time.
    """
    now = datetime.now(UTC)
    authority = make_authority(now)
    ca_file, _ = authority.write(folder, "authority")
    certificate, key = make_server_certificate(authority, now).write(folder, "tls")
    server = DemoServer(f"https://localhost:{free_port()}", ca_file, folder / "server.log")
    address = server.url.removeprefix("https://").replace("localhost", "127.0.0.1")
    flags = {
        "-config-path": str(folder / "config"),
        "-server-url": server.url,
        "-http-addr": address,
        "-tls-cert": str(certificate),
        "-tls-key": str(key),
        "-command-webhook-url": webhook_url,
    }
    words = [word for pair in flags.items() for word in pair]
    with server.log_file.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own program with our own words
            [sys.executable, "-m", "micromdm_py", "serve", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**_clean_environment(), "MICROMDM_API_KEY": API_KEY},
            start_new_session=True,  # so that Ctrl-C reaches only the demonstration, which stops the server
        )
    try:
        asyncio.run(_wait_until_up(server, process))
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _clean_environment() -> dict[str, str]:
    """The environment without any server's settings, which may be meant for another server."""
    return {
        name: value for name, value in os.environ.items() if name != "DM" and not name.startswith("MICROMDM_")
    }


async def _wait_until_up(server: DemoServer, process: "subprocess.Popen[bytes]") -> None:
    end = asyncio.get_running_loop().time() + START_LIMIT_S
    async with server.client() as http:
        while asyncio.get_running_loop().time() < end and process.poll() is None:
            try:
                if (await http.get(f"{server.url}/version")).status_code == 200:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
    tail = server.log_file.read_text(errors="replace")[-800:]
    raise DemoFailed(f"the server did not start: {tail.strip() or 'it wrote nothing'}")


class Demo:
    """One pass through the demonstration; every step is checked against what the server reports."""

    def __init__(self, server: DemoServer, hook: HookReceiver, say: Say) -> None:
        """Run against `server`, whose webhook events go to `hook`; `say` prints the steps."""
        self._server, self._hook, self._say = server, hook, say
        self.udids: list[str] = []
        self.steps = 0

    async def run(self) -> None:
        """Go through all steps in order. Raises: DemoFailed at the first that fails."""
        async with self._server.client() as http:
            devices = await self._enrol(http)
            json_uuid = await self._queue_json(http, devices[0])
            raw_uuid = await self._queue_raw(http, devices[1])
            later_uuid = await self._queue_json(http, devices[2])
            await self._answer(devices[0], json_uuid)
            await self._answer(devices[1], raw_uuid)
            await self._not_now(http, devices[2], later_uuid)
            self._events({json_uuid, raw_uuid, later_uuid})

    def _check(self, text: str, holds: bool, why: str = "") -> None:
        self._say(text, holds)
        if not holds:
            raise DemoFailed(f"{text}: {why or 'not so'}")
        self.steps += 1

    async def _enrol(self, http: httpx.AsyncClient) -> list[SimulatedDevice]:
        enroller = Enroller(http, self._server.url)
        devices = []
        for number in range(DEVICES):
            device = await enroller.device(facts_of(number, seed=0))
            facts = device.facts
            self._check(
                f"{facts.device_name} fetched the enrollment profile and got a certificate over SCEP", True
            )
            await device.authenticate()
            await device.token_update(bytes([number]) * 32, f"demo-magic-{number}")
            devices.append(device)
            self.udids.append(facts.udid)
        listed = (await self._api(http, "POST", "/v1/devices", json={}))["devices"]
        enrolled = (
            {d["udid"] for d in listed if d["enrollment_status"]} if isinstance(listed, list) else set()
        )
        self._check(f"the server lists {len(enrolled)} enrolled devices", enrolled == set(self.udids))
        return devices

    async def _api(
        self, http: httpx.AsyncClient, method: str, path: str, **body: object
    ) -> dict[str, object]:
        auth = ("micromdm", API_KEY)
        answer = await http.request(method, f"{self._server.url}{path}", auth=auth, **body)  # type: ignore[arg-type]  # body is json or content
        if answer.status_code not in (200, 201):
            raise DemoFailed(f"{method} {path}: HTTP {answer.status_code} {answer.text[:200]}")
        found: dict[str, object] = answer.json()
        return found

    async def _queue_json(self, http: httpx.AsyncClient, device: SimulatedDevice) -> str:
        body = {
            "udid": device.facts.udid,
            "request_type": "DeviceInformation",
            "queries": ["UDID", "SerialNumber", "OSVersion"],
        }
        reply = await self._api(http, "POST", "/v1/commands", json=body)
        payload = reply.get("payload")
        uuid_ = str(payload.get("command_uuid", "")) if isinstance(payload, dict) else ""
        await self._waits(http, device, uuid_, "a JSON command")
        return uuid_

    async def _queue_raw(self, http: httpx.AsyncClient, device: SimulatedDevice) -> str:
        uuid_ = str(uuid.uuid4())
        body = plistlib.dumps({"CommandUUID": uuid_, "Command": {"RequestType": "ProfileList"}})
        await self._api(http, "POST", f"/v1/commands/{device.facts.udid}", content=body)
        await self._waits(http, device, uuid_, "a raw command")
        return uuid_

    async def _waits(self, http: httpx.AsyncClient, device: SimulatedDevice, uuid_: str, what: str) -> None:
        waiting = await self._waiting(http, device)
        self._check(
            f"{what} was posted for {device.facts.device_name} and waits in its queue", waiting == [uuid_]
        )

    async def _waiting(self, http: httpx.AsyncClient, device: SimulatedDevice) -> list[str]:
        commands = (await self._api(http, "GET", f"/v1/commands/{device.facts.udid}")).get("commands") or []
        return [str(c["uuid"]) for c in commands] if isinstance(commands, list) else []

    async def _answer(self, device: SimulatedDevice, uuid_: str) -> None:
        answered = await device.connect(lambda command: answer_to(command, device.facts, "acknowledge"))
        text = f"{device.facts.device_name} connected, fetched its command and answered Acknowledged"
        self._check(text, answered == [(uuid_, "Acknowledged")], str(answered))

    async def _not_now(self, http: httpx.AsyncClient, device: SimulatedDevice, uuid_: str) -> None:
        name = device.facts.device_name
        answered = await device.connect(lambda command: answer_to(command, device.facts, "notnow"))
        self._check(f"{name} connected and said NotNow", answered == [(uuid_, "NotNow")], str(answered))
        self._check(f"the command still waits for {name}", await self._waiting(http, device) == [uuid_])
        await self._answer(device, uuid_)
        self._check(f"nothing waits for {name} any more", await self._waiting(http, device) == [])

    def _events(self, uuids: set[str]) -> None:
        """Check that every answer and every enrollment reaches the webhook."""

        def arrived(events: list[dict[str, object]]) -> bool:
            done = {answered(event) for event in events}
            tokens = sum(event["topic"] == "mdm.TokenUpdate" for event in events)
            return uuids <= done and tokens == DEVICES

        holds = self._hook.wait_for(arrived, EVENT_LIMIT_S)
        self._check(f"the webhook received {len(self._hook.events)} events, the answers among them", holds)


def answered(event: dict[str, object]) -> str:
    """The CommandUUID if the event reports an Acknowledged command, otherwise ""."""
    inside = event.get("acknowledge_event")
    if not isinstance(inside, dict) or inside.get("status") != "Acknowledged":
        return ""
    report = plistlib.loads(base64.b64decode(str(inside["raw_payload"])))
    return str(report.get("CommandUUID", ""))
