"""The real server over TLS with a real client: what was answered is true after any death."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from micromdm_py.simulator.answers import answer_to
from micromdm_py.simulator.authority import make_authority, make_server_certificate
from micromdm_py.simulator.demo import DemoServer, free_port
from micromdm_py.simulator.device import SimulatedDevice
from micromdm_py.simulator.enrol import Enroller, KeyPool
from micromdm_py.simulator.fleet import facts_of
from micromdm_py.simulator.hook import HookReceiver

KEY = "test-key"
ROUNDS = 15
LIMIT_S = 30


class RealServer:
    """A server process that can be killed and started again on the same store and address."""

    def __init__(self, folder: Path, webhook_url: str, *more: str) -> None:
        now = datetime.now(UTC)
        authority = make_authority(now)
        ca_file, _ = authority.write(folder, "ca")
        certificate, key = make_server_certificate(authority, now).write(folder, "tls")
        port = free_port()
        self.at = DemoServer(f"https://localhost:{port}", ca_file, folder / "log")
        self._words = [
            *("-config-path", str(folder / "config"), "-server-url", self.at.url),
            *("-http-addr", f"127.0.0.1:{port}", "-tls-cert", str(certificate), "-tls-key", str(key)),
            *("-command-webhook-url", webhook_url, "-workers", "2", *more),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self.at.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "micromdm_py", "serve", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "MICROMDM_API_KEY": KEY},
                start_new_session=True,
            )
        end = asyncio.get_running_loop().time() + LIMIT_S
        async with self.at.client() as http:
            while asyncio.get_running_loop().time() < end:
                assert self._process.poll() is None, self.at.log_file.read_text()[-2000:]
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"{self.at.url}/version")).status_code == 200:
                        return
        raise AssertionError("the server does not answer")

    def children(self) -> list[int]:
        assert self._process is not None
        found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def kill(self) -> None:
        """Kill the whole process group at once."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(LIMIT_S)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


@pytest.fixture
def hook() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def server(tmp_path: Path, hook: HookReceiver) -> Iterator[RealServer]:
    made = RealServer(tmp_path, hook.url)
    yield made
    made.end()


async def enrolled(http: httpx.AsyncClient, server: RealServer, number: int = 0) -> SimulatedDevice:
    device = await Enroller(http, server.at.url).device(facts_of(number, seed=7))
    await device.authenticate()
    await device.token_update(b"\x07" * 32, "magic")
    return device


async def queue(http: httpx.AsyncClient, server: RealServer, udid: str) -> str:
    body = {"udid": udid, "request_type": "ProfileList", "command_uuid": str(uuid.uuid4())}
    answer = await http.post(f"{server.at.url}/v1/commands", json=body, auth=("micromdm", KEY))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["payload"]["command_uuid"])


def test_commands_answered_with_201_survive_kill_minus_nine(server: RealServer, hook: HookReceiver) -> None:
    async def story() -> list[str]:
        await server.start()
        async with server.at.client() as http:
            device = await enrolled(http, server)
        queued = []
        for _ in range(ROUNDS):
            async with server.at.client() as http:
                queued.append(await queue(http, server, device.facts.udid))
            server.kill()
            await server.start()
        async with server.at.client() as http:
            again = SimulatedDevice(http, device._profile, device._identity, device.facts)
            answered = await again.connect(lambda command: answer_to(command, device.facts, "acknowledge"))
        assert [name for name, _ in answered] == queued
        return queued

    queued = asyncio.run(story())
    assert hook.wait_for(lambda events: set(queued) <= set(acknowledged_in(events)), LIMIT_S)
    arrived = list(dict.fromkeys(acknowledged_in(hook.events)))
    assert arrived == queued
    assert server.stop() == 0


def test_a_command_in_hand_is_offered_again_after_a_death(server: RealServer) -> None:
    async def story() -> None:
        await server.start()
        async with server.at.client() as http:
            device = await enrolled(http, server)
            first, second = [await queue(http, server, device.facts.udid) for _ in range(2)]
            served = await device.report({"Status": "Idle"})
            assert served["CommandUUID"] == first
        server.kill()
        await server.start()
        async with server.at.client() as http:
            again = SimulatedDevice(http, device._profile, device._identity, device.facts)
            assert (await again.report({"Status": "Idle"}))["CommandUUID"] == first
            answer = {"Status": "Acknowledged", "CommandUUID": first}
            assert (await again.report(answer))["CommandUUID"] == second
            assert (await again.report(answer))["CommandUUID"] == second
            assert await again.report({"Status": "Acknowledged", "CommandUUID": second}) == {}

    asyncio.run(story())
    assert server.stop() == 0


def test_a_device_gets_its_blueprint_whole_and_once_whenever_the_server_dies(server: RealServer) -> None:
    urls = [f"https://mdm.example.com/repo/{number}.plist" for number in range(20)]
    blueprint = {"uuid": "b", "name": "b", "apply_at": ["Enroll"], "install_application_manifest_urls": urls}

    async def story() -> None:
        await server.start()
        async with server.at.client() as http:
            auth = ("micromdm", KEY)
            stored = await http.put(
                f"{server.at.url}/v1/blueprints", json={"blueprint": blueprint}, auth=auth
            )
            assert stored.status_code == 200
            enroller = Enroller(http, server.at.url, keys=KeyPool(1))
            devices = [await enroller.device(facts_of(number, seed=7)) for number in range(8)]
            for device in devices:
                await device.authenticate()
            updates = [asyncio.ensure_future(one.token_update(b"\x07" * 32, "magic")) for one in devices]
            await asyncio.wait(updates, return_when=asyncio.FIRST_COMPLETED)
            server.kill()
            await asyncio.gather(*updates, return_exceptions=True)
        await server.start()
        async with server.at.client() as http:
            for device in devices:
                again = SimulatedDevice(http, device._profile, device._identity, device.facts)
                await again.token_update(b"\x07" * 32, "magic")
                seen: list[object] = []
                await again.connect(lambda command, seen=seen: note(command, seen))
                assert seen == urls

    def note(command: dict[str, Any], seen: list[object]) -> dict[str, object]:
        seen.append(command["Command"]["ManifestURL"])
        return {"Status": "Acknowledged", "CommandUUID": command["CommandUUID"]}

    asyncio.run(story())
    assert server.stop() == 0


def test_the_death_of_any_one_process_does_not_end_the_service(
    server: RealServer, hook: HookReceiver
) -> None:
    async def story() -> str:
        await server.start()
        async with server.at.client() as http:
            device = await enrolled(http, server)
        for victim in server.children():
            os.kill(victim, signal.SIGKILL)
        for _ in range(LIMIT_S * 10):
            with contextlib.suppress(httpx.HTTPError):
                async with server.at.client() as http:
                    name = await queue(http, server, device.facts.udid)
                    again = SimulatedDevice(http, device._profile, device._identity, device.facts)
                    await again.connect(lambda command: answer_to(command, device.facts, "acknowledge"))
                    return name
        raise AssertionError("the service did not come back")

    name = asyncio.run(story())
    assert hook.wait_for(lambda events: name in acknowledged_in(events), LIMIT_S)
    assert server.stop() == 0


def acknowledged_in(events: list[dict[str, object]]) -> list[str]:
    """CommandUUIDs of the Acknowledged events in a list."""
    inside = [event["acknowledge_event"] for event in events if "acknowledge_event" in event]
    return [
        str(one["command_uuid"])
        for one in inside
        if isinstance(one, dict) and one["status"] == "Acknowledged"
    ]
