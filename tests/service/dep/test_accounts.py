"""Which tokens are used, and for which service."""

from dataclasses import replace

import pytest

from micromdm_py.errors import NotConfigured, NotFound
from micromdm_py.protocol.dep.documents import TOKEN, StoredToken
from micromdm_py.protocol.dep.token import SIMULATOR_TOKEN
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.storage.base import Documents
from micromdm_py.storage.memory.store import MemoryStore

URL = "https://apple.example.com"


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()

    def give(shelf: Documents) -> None:
        for name in ("default", "school"):
            shelf.put(TOKEN, name, StoredToken(replace(SIMULATOR_TOKEN, consumer_key=name)).body())

    store.change_documents(give)
    return store


def test_stored_tokens_go_to_apple(store: MemoryStore) -> None:
    found = [(one.name, one.token.consumer_key, one.url) for one in Accounts(store, URL + "/").all()]
    assert found == [("default", "default", URL), ("school", "school", URL)]


def test_with_a_simulator_nothing_goes_to_apple(store: MemoryStore) -> None:
    accounts = Accounts(store, URL, "http://127.0.0.1:9001/")
    assert [(one.name, one.url) for one in accounts.all()] == [("default", "http://127.0.0.1:9001")]
    assert accounts.get("default").token == SIMULATOR_TOKEN
    with pytest.raises(NotFound):
        accounts.get("school")


def test_the_default_one_may_be_missing_and_others_too() -> None:
    accounts = Accounts(MemoryStore(), URL)
    with pytest.raises(NotConfigured):
        accounts.get("default")
    with pytest.raises(NotFound):
        accounts.get("school")
