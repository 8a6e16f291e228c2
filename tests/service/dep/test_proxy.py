"""Calls on behalf of administrators take no more than their share of a worker."""

import json
import threading

import pytest

from micromdm_py.errors import Busy
from micromdm_py.protocol.dep.session import Answer
from micromdm_py.protocol.dep.token import DepToken
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.proxy import DepProxy
from micromdm_py.service.dep.roster import Roster
from micromdm_py.storage.memory.store import MemoryStore
from tests.fakes.clock import Clock
from tests.fakes.dep import URL


def test_more_than_the_slots_allow_are_refused_at_once() -> None:
    store, here, go_on = MemoryStore(), threading.Barrier(3), threading.Event()

    def call(url: str, token: DepToken, method: str, path: str, body: bytes = b"") -> Answer:
        if not go_on.is_set():
            here.wait(20)
            go_on.wait(20)
        return Answer(200, b'{"server_name": "x"}')

    proxy = DepProxy(Accounts(store, URL, URL), Roster(store), call, 2, now=Clock())
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(proxy.account(None))) for _ in range(2)]
    for thread in threads:
        thread.start()
    here.wait(20)
    with pytest.raises(Busy):
        proxy.account(None)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert [json.loads(answer)["server_name"] for answer in [*answers, proxy.account(None)]] == ["x"] * 3
