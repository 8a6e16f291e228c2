"""A process of its own that leads commands through every transition at random, until it is killed.

``python -m tests.storage.changer STORE SEED`` prints a line for each thing it does.
"""

import itertools
import random
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from micromdm_py.errors import MdmError
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import CommandFilter
from tests.builders import Device, command, event, report
from tests.storage.backends import open_lmdb

STATUSES = ("Idle", "Idle", "Acknowledged", "NotNow", "Error", "CommandFormatError", "Later")


def change(store: Store, phone: Device, draw: random.Random) -> None:
    """Do one thing that changes the state of commands."""
    at = phone.clock.move(1)
    what = draw.randrange(12)
    if what < 4:
        expires_at = at + timedelta(seconds=draw.randrange(1, 30)) if draw.random() < 0.3 else None
        entry = replace(command(f"c{draw.randrange(40)}"), expires_at=expires_at, group=draw.choice("gh"))
        store.enqueue(phone.id, replace(entry, supersede=draw.random() < 0.2), at=at)
    elif what < 9:
        known = store.commands(phone.id, CommandFilter(limit=20)).records
        uuid = draw.choice(known).command_uuid if known else "none"
        status = draw.choice(STATUSES)
        store.record_report(report(phone.ref, status, uuid), phone.who, event("e"), at=at)
    elif what == 9:
        store.cancel(phone.id, f"c{draw.randrange(40)}", at=at)
    elif what == 10:
        store.expire_commands(at=at, limit=3)
        store.forget_commands(before=at - timedelta(seconds=60), limit=5)
    elif draw.random() < 0.1:
        phone.authenticates()
    else:
        store.clear(phone.id, at=at)


def main(path: str, seed: str) -> None:
    store, draw = open_lmdb(Path(path)), random.Random(seed)  # which step comes is no secret
    phones = [Device(store, f"UDID-{number}").enrolls() for number in range(3)]
    for number in itertools.count():
        print(number, flush=True)
        try:
            change(store, draw.choice(phones), draw)
        except MdmError:
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
