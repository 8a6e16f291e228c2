"""The real server and a simulated device: every state of a command, its times, tries and timeline."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from micromdm_py.simulator.device import SimulatedDevice
from micromdm_py.simulator.hook import HookReceiver
from tests.e2e.test_kill import KEY, RealServer, enrolled

AUTH = httpx.BasicAuth("micromdm", KEY)
TIMES = ("created_at", "sent_at", "tried_at", "received_at", "canceled_at")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    hook = HookReceiver()
    made = RealServer(tmp_path, hook.url)
    yield made
    made.end()
    hook.close()


class Talk:
    """An administrator and a device, talking to one server."""

    def __init__(self, http: httpx.AsyncClient, url: str, device: SimulatedDevice) -> None:
        self._http, self._url, self.device = http, url, device
        self.udid = device.facts.udid

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = await self._http.request(method, f"{self._url}{path}", json=body, auth=AUTH)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def queue(self, **options: object) -> str:
        name = str(uuid.uuid4())
        body = {"udid": self.udid, "request_type": "ProfileList", "command_uuid": name, **options}
        await self.ask("POST", "/v1/commands", body)
        return name

    async def record(self, name: str) -> Any:
        return (await self.ask("GET", f"/v1/commands/{self.udid}/{name}"))["record"]

    async def says(self, status: str, name: str = "") -> str:
        """Report; returns the uuid of the command that comes."""
        report = {"Status": status, **({"CommandUUID": name} if name else {})}
        return str((await self.device.report(report)).get("CommandUUID", ""))

    async def has(self, name: str, status: str, tries: int, times: set[str], *steps: str) -> None:
        """Check a record: status, tries, which times it has, and what its timeline tells after `stored`."""
        found = await self.record(name)
        assert (found["status"], found["num_tries"]) == (status, tries)
        assert {one for one in TIMES if one in found} == {"created_at", *times}
        told = [one for one in found["timeline"] if not one["step"].startswith("push")]  # there is no APNs
        assert [one["step"] for one in told] == ["accepted", "stored", *steps]
        assert [one["at"] for one in told] == sorted(one["at"] for one in told)
        assert all(one["request_id"] for one in told if one["step"] != "withdrawn")


async def with_device(server: RealServer, story: Any) -> None:
    await server.start()
    async with server.at.client() as http:
        await story(Talk(http, server.at.url, await enrolled(http, server)))


HANDED = ("connected", "handed out")


def test_every_state_is_reached(server: RealServer) -> None:
    async def story(talk: Talk) -> None:
        name = await talk.queue()
        await talk.has(name, "Pending", 0, set())
        assert await talk.says("Idle") == name
        await talk.has(name, "Awaiting", 1, {"tried_at"}, *HANDED)
        await talk.says("NotNow", name)
        await talk.has(name, "Tried", 1, {"tried_at", "received_at"}, *HANDED, "answered")
        for status in ("Acknowledged", "Error", "CommandFormatError"):
            assert await talk.says("Idle") == name
            await talk.says(status, name)
            tries = 2 if status == "Acknowledged" else 1
            steps = (*HANDED, "answered") * tries
            await talk.has(name, status, tries, {"tried_at", "received_at"}, *steps)
            name = await talk.queue()
        await talk.ask("DELETE", f"/v1/commands/{talk.udid}/{name}")
        await talk.has(name, "Cancel", 0, {"canceled_at"}, "withdrawn")
        name = await talk.queue(group="g")
        await talk.queue(group="g", supersede=True)
        await talk.has(name, "Superseded", 0, {"canceled_at"}, "withdrawn")
        name = await talk.queue()
        await talk.device.authenticate()
        await talk.has(name, "ProtectionCanceled", 0, {"canceled_at"}, "withdrawn")

    asyncio.run(with_device(server, story))


def test_waiting_brings_the_answer_of_the_device_and_no_longer(server: RealServer) -> None:
    async def story(talk: Talk) -> None:
        async def wait(seconds: int) -> Any:
            body = {"udid": talk.udid, "request_type": "SecurityInfo"}
            return await talk.ask("POST", f"/v1/commands?wait={seconds}", body)

        late = await wait(1)
        assert late["record"]["status"] == "Pending"
        name = late["payload"]["command_uuid"]
        assert await talk.says("Idle") == name
        await talk.says("Acknowledged", name)
        waiting = asyncio.create_task(wait(30))
        name = ""
        while not name:
            name = await talk.says("Idle")
        await talk.says("Acknowledged", name)
        answered = await waiting
        assert answered["payload"]["command_uuid"] == name
        assert answered["record"]["status"] == "Acknowledged"
        assert answered["record"]["timeline"][-1]["step"] == "answered"

    asyncio.run(with_device(server, story))


def test_a_server_that_stops_lets_waiting_requests_go(server: RealServer) -> None:
    async def story(talk: Talk) -> None:
        body = {"udid": talk.udid, "request_type": "SecurityInfo"}
        newest = (await talk.ask("GET", "/v1/events?limit=1000"))["next"]
        waiting = [
            asyncio.create_task(talk.ask("POST", "/v1/commands?wait=60", body)),
            asyncio.create_task(talk.ask("GET", f"/v1/events?after={newest}&wait=60")),
        ]
        while not await talk.ask("GET", f"/v1/commands/{talk.udid}"):
            await asyncio.sleep(0)
        assert await asyncio.to_thread(server.stop) == 0
        answered, events = await asyncio.wait_for(asyncio.gather(*waiting), 15)
        assert answered["record"]["status"] == "Pending"
        assert events["events"] == []

    asyncio.run(with_device(server, story))


def test_many_waiting_requests_do_not_keep_devices_from_their_commands(server: RealServer) -> None:
    async def story(talk: Talk) -> None:
        body = {"udid": "nobody", "request_type": "SecurityInfo"}
        waits = [asyncio.create_task(talk.ask("POST", "/v1/commands?wait=20", body)) for _ in range(60)]
        while len((await talk.ask("GET", "/v1/commands/nobody")).get("commands", ())) < len(waits):
            await asyncio.sleep(0)
        names = [await talk.queue() for _ in range(20)]
        answered = await talk.device.connect(
            lambda command: {"Status": "Acknowledged", "CommandUUID": command["CommandUUID"]}
        )
        assert [name for name, _ in answered] == names
        assert not any(one.done() for one in waits)
        await talk.ask("DELETE", "/v1/commands/nobody")
        for one in await asyncio.gather(*waits):
            assert one["record"]["status"] == "Cancel"

    asyncio.run(with_device(server, story))
