"""The real server, a push service and devices: the example of the reference, withdrawals, the feed."""

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from micromdm_py.simulator.answers import answer_to
from micromdm_py.simulator.device import SimulatedDevice
from micromdm_py.simulator.hook import HookReceiver
from tests.e2e.test_kill import KEY, LIMIT_S, RealServer, enrolled
from tests.fakes.apns_server import APNS_ID, ApnsServer
from tests.fakes.push_pair import TOPIC, certificate, upload

BEARER = {"Authorization": f"Bearer {KEY}"}
BASIC = httpx.BasicAuth("micromdm", KEY)
ORGANIZATIONS = "/v1/organizations/default/mdm/apple/enterprise/commands"
HEX = re.compile(r"[a-f0-9]{24}")


@pytest.fixture
def hook() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def apns(tmp_path: Path) -> Iterator[ApnsServer]:
    with ApnsServer(tmp_path) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path, hook: HookReceiver, apns: ApnsServer) -> Iterator[RealServer]:
    made = RealServer(tmp_path, hook.url, "-apns-url", apns.url, "-apns-ca-file", apns.ca_file)
    yield made
    made.end()


class Admin:
    """An administrator."""

    def __init__(self, http: httpx.AsyncClient, server: RealServer) -> None:
        self._http, self._url = http, server.at.url

    async def ask(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        headers, auth = (BEARER, None) if path.startswith("/v1/organizations") else ({}, BASIC)
        answer = await self._http.request(method, f"{self._url}{path}", json=body, headers=headers, auth=auth)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def certify(self) -> None:
        now = datetime.now(UTC)
        pair = upload(certificate(TOPIC, begin=now - timedelta(days=1), end=now + timedelta(days=9)))
        answer = await self._http.put(f"{self._url}/v1/config/certificate", content=pair, auth=BASIC)
        assert answer.status_code == 200, answer.text

    async def queue(self, udid: str, name: str, query: str = "", **fields: object) -> None:
        body = {"udid": udid, "request_type": "ProfileList", "command_uuid": name, **fields}
        await self.ask("POST", f"/v1/commands{query}", body, 201)

    async def record(self, udid: str, name: str) -> Any:
        return (await self.ask("GET", f"/v1/commands/{udid}/{name}"))["record"]

    async def until(self, look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
        """Look again and again, until it holds."""
        async with asyncio.timeout(LIMIT_S):
            while not holds(found := await look()):
                await asyncio.sleep(0.02)
        return found


def run(server: RealServer, story: Callable[[Admin, SimulatedDevice], Any]) -> None:
    async def whole() -> None:
        await server.start()
        async with server.at.client() as http:
            admin = Admin(http, server)
            await admin.certify()
            await story(admin, await enrolled(http, server))

    asyncio.run(whole())


def at(text: str) -> datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return datetime.fromisoformat(text)


def test_the_example_of_the_reference(server: RealServer) -> None:
    """DeviceInformation with two queries, put off twice, then answered: every field of the example."""

    async def story(admin: Admin, phone: SimulatedDevice) -> None:
        phone = phone.with_facts(device_name="iPhone 13 Pro", os_version="17.2.1")
        command = {"RequestType": "DeviceInformation", "Queries": ["DeviceName", "OSVersion"]}
        path = f"{ORGANIZATIONS}/device/{phone.facts.serial_number}"
        began = datetime.now(UTC)
        body = {"command": command, "from": "configurationChanged"}
        queued = (await admin.ask("POST", path, body))["data"]
        one = f"{path}/{queued['id']}"
        await admin.until(lambda: admin.ask("GET", one), lambda found: "sentAt" in found["data"])
        for status in ("NotNow", "NotNow", "Acknowledged"):
            served = await phone.report({"Status": "Idle"})
            answer = answer_to(served, phone.facts, "acknowledge" if status == "Acknowledged" else "notnow")
            assert answer is not None and await phone.report(answer) == {}
        shown = await admin.ask("GET", one)
        assert list(shown) == ["status", "data"] and shown["status"] is True
        data = shown["data"]
        ids = [data.pop(name) for name in ("id", "organization", "admEnterprise", "targetId")]
        assert all(map(HEX.fullmatch, ids))
        names = ("createdAt", "sentAt", "receivedAt", "triedAt", "updatedAt")
        created, sent, received, tried, updated = (at(data.pop(name)) for name in names)
        second = timedelta(seconds=1)  # what is stored has milliseconds
        assert began - second < created <= sent <= received <= tried <= updated < datetime.now(UTC) + second
        assert data == {
            "targetType": "device",
            "UUID": queued["UUID"],
            "status": "Acknowledged",
            "command": command,
            "from": "configurationChanged",
            "data": {"QueryResponses": {"DeviceName": "iPhone 13 Pro", "OSVersion": "17.2.1"}},
            "numTries": 3,
            "groupName": "DeviceInformation",
            "info": {},
        }
        story = (await admin.record(phone.facts.udid, queued["UUID"]))["timeline"]
        rounds = ["connected", "handed out", "answered"] * 3
        assert [step["step"] for step in story] == ["accepted", "stored", "pushed", *rounds]
        assert [step["detail"] for step in story if step["step"] == "pushed"] == [APNS_ID]
        assert [at(step["at"]) for step in story] == sorted(at(step["at"]) for step in story)

    run(server, story)


def test_what_the_server_withdraws_and_what_the_device_says_afterwards(server: RealServer) -> None:
    async def story(admin: Admin, phone: SimulatedDevice) -> None:
        udid = phone.facts.udid

        async def has(name: str, status: str, tries: int, *last: str) -> Any:
            found = await admin.record(udid, name)
            assert (found["status"], found["num_tries"]) == (status, tries)
            told = [step["step"] for step in found["timeline"] if step["step"] != "pushed"]
            assert tuple(told[-len(last) :]) == last
            return found

        async def hand_out(name: str) -> None:
            assert (await phone.report({"Status": "Idle"}))["CommandUUID"] == name

        async def late(name: str) -> None:
            await phone.report({"Status": "Acknowledged", "CommandUUID": name, "ProfileList": []})

        # Expired: nobody comes, the courier withdraws it.
        await admin.queue(udid, "expiring", "?ttl=1")
        expired = await admin.until(
            lambda: admin.record(udid, "expiring"), lambda one: one["status"] != "Pending"
        )
        assert expired["status"] == "ProtectionCanceled"
        assert timedelta(0) <= at(expired["canceled_at"]) - at(expired["expires_at"]) < timedelta(seconds=10)
        assert await phone.report({"Status": "Idle"}) == {}
        # Cancelled while the device had it: its own answer says what really happened.
        await admin.queue(udid, "cancelled")
        await hand_out("cancelled")
        await admin.ask("DELETE", f"/v1/commands/{udid}/cancelled")
        assert "received_at" not in await has("cancelled", "Cancel", 1, "handed out", "withdrawn")
        await late("cancelled")
        found = await has("cancelled", "Acknowledged", 1, "withdrawn", "answered")
        assert at(found["tried_at"]) <= at(found["canceled_at"]) <= at(found["received_at"])
        # Superseded: a late answer is kept and changes nothing else.
        await admin.queue(udid, "old", group="g")
        await hand_out("old")
        await admin.queue(udid, "new", "?supersede=true&group=g")
        await late("old")
        found = await has("old", "Superseded", 1, "withdrawn", "answered")
        assert found["data"] == {"ProfileList": []} and "received_at" in found
        # Removed with purge: what waits is withdrawn.
        await admin.ask("DELETE", "/v1/devices?purge=true", {"udids": [udid]})
        found = await has("new", "ProtectionCanceled", 1, "handed out", "withdrawn")
        assert at(found["canceled_at"]) == at(found["updated_at"])
        assert await admin.ask("GET", f"/v1/commands/{udid}") == {}

    run(server, story)


def test_two_readers_see_what_the_receiver_gets_in_the_same_order(
    server: RealServer, hook: HookReceiver
) -> None:
    async def story(admin: Admin, phone: SimulatedDevice) -> None:
        async def read(limit: int) -> list[str]:
            seen: list[str] = []
            after = "0"
            while not last or seen[-1:] != last:
                page = await admin.ask("GET", f"/v1/events?after={after}&limit={limit}&wait=1")
                seen += [one["event_id"] for one in page["events"]]
                assert len(page["events"]) <= limit
                after = page["next"]
            return seen

        async def talk(device: SimulatedDevice) -> None:
            for number in range(5):
                await admin.queue(device.facts.udid, f"{device.facts.udid}-{number}")
                await device.connect(lambda command: answer_to(command, device.facts, "acknowledge"))

        last: list[str] = []
        readers = [asyncio.create_task(read(limit)) for limit in (2, 1000)]
        async with server.at.client() as http:
            others = [await enrolled(http, server, number) for number in (1, 2)]
            await asyncio.gather(*map(talk, (phone, *others)))
            await phone.check_out()
        newest = await admin.ask("GET", "/v1/events?limit=1000")
        last += [newest["events"][-1]["event_id"]]
        few, many = await asyncio.gather(*readers)
        late = [one["event_id"] for one in newest["events"]]
        assert few == many == late and len(set(few)) == 3 * (2 + 5 * 2) + 1
        await asyncio.to_thread(hook.wait_for, lambda events: len(events) >= len(late), LIMIT_S)
        assert {one["event_id"] for one in hook.events} == set(late)
        assert lines(hook.events) == lines(newest["events"])

    def lines(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """The events of each device, in order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for one in events:
            inside = one.get("checkin_event") or one["acknowledge_event"]
            found.setdefault(inside["udid"], []).append(one)
        return found

    run(server, story)
