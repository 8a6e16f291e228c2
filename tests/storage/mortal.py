"""Every transition of a command, cut off by kill -9 before and after its commit.

``python -m tests.storage.mortal FOLDER`` makes a store for each way to die, in which a process of its own has
died that way.
"""

import contextlib
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from micromdm_py.errors import MdmError
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import PushOutcome
from tests.builders import Device, command
from tests.storage.backends import open_lmdb

HOUR = timedelta(hours=1)
Step = Callable[[Device], object]


def queue(phone: Device) -> None:
    """Queue c, which expires in an hour and is in the group g."""
    at = phone.clock.move(1)
    entry = replace(command("c"), expires_at=at + HOUR, group="g")
    phone.store.enqueue(phone.id, entry, at=at)


def supersede(phone: Device) -> None:
    entry = replace(command("newer"), group="g", supersede=True)
    phone.store.enqueue(phone.id, entry, at=phone.clock.move(1))


def push(accepted: bool) -> Step:
    """Push to every device that one is due for."""

    def run(phone: Device) -> None:
        at = phone.clock.move(60)
        reason, retry_at = ("", None) if accepted else ("TooManyRequests", at + HOUR)
        for one in phone.store.due_pushes(at=at, limit=9)[0]:
            phone.store.record_push(one, PushOutcome(at, accepted, "id", reason, retry_at=retry_at))

    return run


def says(status: str) -> Step:
    return lambda phone: phone.says(status, "" if status == "Idle" else "c")


def later(step: Step) -> Step:
    """The step, when c has expired."""

    def run(phone: Device) -> None:
        phone.clock.now += 2 * HOUR
        step(phone)

    return run


IDLE = says("Idle")
SOURCES: dict[str, tuple[Step, ...]] = {
    "nothing": (),
    "Pending": (queue,),
    "Awaiting": (queue, IDLE),
    "Tried": (queue, IDLE, says("NotNow")),
    "Acknowledged": (queue, IDLE, says("Acknowledged")),
    "Error": (queue, IDLE, says("Error")),
    "CommandFormatError": (queue, IDLE, says("CommandFormatError")),
    "Cancel": (queue, IDLE, lambda phone: phone.store.clear(phone.id, at=phone.clock.move(1))),
    "Superseded": (queue, IDLE, supersede),
    "ProtectionCanceled": (queue, IDLE, Device.authenticates, Device.updates_token),
}
"""How c comes into each state."""

CAUSES: dict[str, Step] = {
    "queue": queue,
    "queue two": lambda phone: phone.store.enqueue_all(
        [(phone.id, command("c")), ("UDID-2", command("d"))], at=phone.clock.move(1)
    ),
    "supersede": supersede,
    "push accepted": push(True),
    "push refused": push(False),
    **{status: says(status) for status in "Idle NotNow Acknowledged Error CommandFormatError Later".split()},
    "cancel": lambda phone: phone.store.cancel(phone.id, "c", at=phone.clock.move(1)),
    "clear": lambda phone: phone.store.clear(phone.id, at=phone.clock.move(1)),
    "expire": later(lambda phone: phone.store.expire_commands(at=phone.clock.move(1), limit=9)),
    "Idle after expiry": later(IDLE),
    "Acknowledged after expiry": later(says("Acknowledged")),
    "authenticate": Device.authenticates,
    "token update": Device.updates_token,
    "check out": Device.checks_out,
    "remove": lambda phone: phone.store.remove_devices([phone.id], purge=False, at=phone.clock.move(1)),
    "purge": lambda phone: phone.store.remove_devices([phone.id], purge=True, at=phone.clock.move(1)),
    "forget": later(lambda phone: phone.store.forget_commands(before=phone.clock.move(1), limit=9)),
}
"""What may move c, or leave it."""


@dataclass(frozen=True)
class Death:
    """A state of c, what comes then, and whether that is committed when the process dies."""

    source: str
    cause: str
    committed: bool

    @property
    def folder(self) -> str:
        return f"{self.source}-{self.cause}-{self.committed}".replace(" ", "_")


DEATHS = [Death(*one) for one in itertools.product(SOURCES, CAUSES, (False, True))]


def lead(store: Store, source: str) -> Device:
    """A device whose command c is in a state."""
    phone = Device(store).enrolls()
    for step in SOURCES[source]:
        step(phone)
    return phone


def move(phone: Device, cause: str) -> None:
    """Let the cause happen; what is refused is tested elsewhere, here it must change nothing."""
    with contextlib.suppress(MdmError):
        CAUSES[cause](phone)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(death: Death, phone: Device, path: Path) -> None:
    """Die in a process of its own, on a store of its own."""
    child = os.fork()
    if not child:
        phone.store = store = open_lmdb(path)
        if not death.committed:
            store._env.before_commit(die)
        move(phone, death.cause)
        die()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit(f"{death} did not die as it should")


def main(name: str) -> None:
    folder, led = Path(name), {}
    for source in SOURCES:
        store = open_lmdb(folder / source)
        led[source] = lead(store, source)
        store.close()  # no environment may cross a fork
    for death in DEATHS:
        path = folder / death.folder
        path.mkdir(mode=0o700)
        shutil.copyfile(folder / death.source / "data.mdb", path / "data.mdb")
        run(death, led[death.source], path)


if __name__ == "__main__":
    main(*sys.argv[1:])
