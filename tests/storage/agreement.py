"""Whether records, queue and indexes of a store say the same of every command."""

from micromdm_py.protocol.lifecycle import OPEN_STATES
from micromdm_py.storage.base import Store
from micromdm_py.storage.lmdb.commands import Command, index_key
from micromdm_py.storage.lmdb.queue import LETTERS
from micromdm_py.storage.lmdb.tables import COMMAND, QUEUE, UUID, pair, u64, unu64
from tests.storage.observing import contents

Rows = dict[bytes, bytes]


def check_agreement(store: Store) -> int:
    """Fail unless the rows of an LMDB store agree; returns how many commands it holds."""
    tables = {name: dict(rows) for name, rows in contents(store).items()}  # type: ignore[call-overload]
    own: Rows = tables["own"]
    commands = {
        (unu64(key), unu64(key[9:])): Command.decode(value)
        for key, value in own.items()
        if key[8:9] == COMMAND and len(key) == 17
    }
    queued = {key: unu64(value) for key, value in own.items() if key[8:9] == QUEUE and len(key) == 18}
    uuids = {key: value for key, value in own.items() if key[8:9] == UUID}
    expected_uuids: Rows = {}
    expiring: Rows = {}
    places: dict[bytes, int] = {}
    for (number, sequence), command in commands.items():
        key = index_key(number, sequence, command)
        order = unu64(uuids[key][1:])
        expected_uuids[key] = uuids[key]
        assert u64(sequence) in tables["payload"]
        assert bool(command.has_report) == (u64(sequence) in tables["report"])
        if command.state in OPEN_STATES:
            assert uuids[key][:1] == command.state[0].encode()
            places[u64(number) + QUEUE + LETTERS[command.state] + u64(order)] = sequence
            if command.expires_ms:
                expiring[pair(command.expires_ms, sequence)] = u64(number)
        else:
            assert order == 0
    assert queued == places
    assert uuids == expected_uuids
    assert tables["expiry"] == expiring
    done = {(unu64(value), unu64(key[8:])) for key, value in tables["done"].items()}
    assert len(done) == len(tables["done"])
    assert done == {name for name, command in commands.items() if command.state not in OPEN_STATES}
    assert len(tables["payload"]) == len(commands)
    return len(commands)
