"""A process of its own that uses a store and says each thing after it is done.

``python -m tests.storage.producer STORE NAME COUNT queue|live``: queues COUNT commands, one after another, to
the devices in turn, and prints each as ``queued DEVICE UUID``. With ``live`` a device also connects now and
then: ``sent DEVICE UUID`` when a command was handed out, ``answered DEVICE UUID`` when its answer was taken.
"""

import sys
from pathlib import Path

from micromdm_py.storage.base import Store
from tests.builders import NOW, command, device, event, identity, report
from tests.storage.backends import open_lmdb

DEVICES = tuple(f"UDID-{number}" for number in range(4))


def say(*words: str) -> None:
    print(*words, flush=True)


def live(store: Store, udid: str) -> None:
    """Connect once: get a command and answer it."""
    ref, who = device(udid), identity(udid)
    got = store.record_report(report(ref, "Idle"), who, event("idle"), at=NOW).command_uuid
    if got:
        say("sent", udid, got)
        store.record_report(report(ref, "Acknowledged", got), who, event(got), at=NOW)
        say("answered", udid, got)


def main(path: str, name: str, count: str, mode: str) -> None:
    store = open_lmdb(Path(path))
    for number in range(int(count)):
        udid, uuid = DEVICES[number % len(DEVICES)], f"{name}-{number}"
        store.enqueue(udid, command(uuid), at=NOW)
        say("queued", udid, uuid)
        if mode == "live" and number % 3 == 2:
            live(store, DEVICES[number // 3 % len(DEVICES)])
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
