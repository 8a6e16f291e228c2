"""A fleet of simulated devices: enrolling them, letting them connect, and summing up what happened."""

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from micromdm_py.errors import MdmError, in_words
from micromdm_py.simulator.answers import Behaviour, Facts, answer_to, choose
from micromdm_py.simulator.device import Refused, SimulatedDevice
from micromdm_py.simulator.enrol import Enroller

__all__ = ["Fleet", "Plan", "Summary", "facts_of", "percentile"]

T = TypeVar("T")
SIMULTANEOUS = 32
"""How many requests may be in progress at once; more would only measure the queue in front of the server."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fleet is to do.

    Attributes:
        devices: number of devices.
        behaviour: how they answer.
        connect_rate: connects per second of the whole fleet; 0 lets each device connect once.
        duration_s: how long to keep connecting, in seconds.
        seed: seed of everything random.
    """

    devices: int
    behaviour: Behaviour = "acknowledge"
    connect_rate: float = 0.0
    duration_s: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class Summary:
    """What a fleet has seen.

    Attributes:
        enrolled: number of devices that got through Authenticate and TokenUpdate.
        connects: number of connects, each from Idle to the empty reply.
        answers: how often each Status was sent.
        failures: how often each failure happened, by its text.
        latencies_s: durations of each kind of step, in seconds, by its name.
    """

    enrolled: int = 0
    connects: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    latencies_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def lines(self) -> list[str]:
        """The summary as text, one fact per line."""
        lines = [f"devices enrolled  {self.enrolled}", f"connects          {self.connects}"]
        lines += [f"answers           {status}: {count}" for status, count in sorted(self.answers.items())]
        for name, seconds in self.latencies_s.items():
            found = [f"p{p} {percentile(seconds, p) * 1000:.1f} ms" for p in (50, 95, 99)]
            lines.append(f"{name:<18}{'  '.join(found)}")
        lines += [f"failed            {text}: {count}" for text, count in self.failures.most_common()]
        return lines


def _runs(plan: Plan) -> int:
    return max(plan.devices, int(plan.connect_rate * plan.duration_s))


def percentile(values: list[float], percent: float) -> float:
    """The value below which `percent` of the values lie (nearest rank); 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(len(ordered) * percent / 100 + 0.5) - 1))]


def facts_of(number: int, seed: int) -> Facts:
    """Made-up facts of one device, the same for the same seed."""
    chance = random.Random(f"{seed}-{number}")
    udid = str(uuid.UUID(int=chance.getrandbits(128), version=4)).upper()
    return Facts(udid, f"SIM{seed:04d}{number:06d}", device_name=f"Simulated Mac {number}")


class Fleet:
    """Devices that act according to a plan."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        enroller: Enroller,
        plan: Plan,
        *,
        clock: Callable[[], float] = time.monotonic,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a fleet; `progress` is called after each step that counts for the progress bar."""
        self.summary = Summary()
        self._http, self._enroller, self._plan = http, enroller, plan
        self._clock, self._progress = clock, progress
        self._chance = random.Random(plan.seed)
        self._slots = asyncio.Semaphore(SIMULTANEOUS)
        self._put_off: set[tuple[str, str]] = set()
        self.devices: list[SimulatedDevice] = []

    @staticmethod
    def steps_of(plan: Plan) -> int:
        """How often `progress` will be called: once per device and once per connect."""
        return plan.devices + _runs(plan)

    async def run(self) -> Summary:
        """Enroll the fleet, then let it connect."""
        await asyncio.gather(*(self._enrol(number) for number in range(self._plan.devices)))
        if self.devices:
            await self._connect_all()
        return self.summary

    async def _enrol(self, number: int) -> None:
        async with self._slots:
            device = await self._timed("enrollment", self._enrol_one(number))
        if device is not None:
            self.summary.enrolled += 1
            self.devices.append(device)
        self._progress()

    async def _enrol_one(self, number: int) -> SimulatedDevice:
        device = await self._enroller.device(facts_of(number, self._plan.seed))
        await device.authenticate()
        token = random.Random(f"token-{self._plan.seed}-{number}").randbytes(32)
        await device.token_update(token, f"magic-{number}")
        return device

    async def _connect_all(self) -> None:
        """Connect, spread evenly over the devices and, with a rate, over time."""
        begin, rate = self._clock(), self._plan.connect_rate
        running: set[asyncio.Task[None]] = set()
        for number in range(_runs(self._plan)):
            if rate and (wait := begin + number / rate - self._clock()) > 0:
                await asyncio.sleep(wait)
            await self._slots.acquire()
            task = asyncio.create_task(self._connect(self.devices[number % len(self.devices)]))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _connect(self, device: SimulatedDevice) -> None:
        try:
            step = device.connect(lambda command: self._answer(device, command))
            answered = await self._timed("connect", step)
            self.summary.connects += 1
            for _, status in answered or ():
                self.summary.answers[status] += 1
        finally:
            self._slots.release()
            self._progress()

    def _answer(self, device: SimulatedDevice, command: Mapping[str, object]) -> dict[str, object] | None:
        """Answer according to the plan; a command put off with NotNow is acknowledged the next time."""
        behaviour = choose(self._plan.behaviour, self._chance)
        key = (device.facts.udid, str(command.get("CommandUUID", "")))
        if behaviour == "notnow":
            if key in self._put_off:
                self._put_off.discard(key)
                behaviour = "acknowledge"
            else:
                self._put_off.add(key)
        return answer_to(command, device.facts, behaviour)

    async def _timed(self, name: str, step: Awaitable[T]) -> T | None:
        """Await a step and note how long it took, or why it failed."""
        begin = self._clock()
        try:
            result = await step
        except (Refused, MdmError, httpx.HTTPError) as fault:
            self.summary.failures[f"{name}: {in_words(fault)}"] += 1
            return None
        self.summary.latencies_s.setdefault(name, []).append(self._clock() - begin)
        return result
