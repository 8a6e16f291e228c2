"""Lists wait for the first synchronization, and for nothing else."""

from micromdm_py.protocol.dep.documents import SYNC, SyncState
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.first_sync import LONGEST_S, FirstSync
from micromdm_py.service.waiting import LongPolls
from micromdm_py.storage.memory.store import MemoryStore
from tests.fakes.clock import Clock
from tests.fakes.dep import URL


class Waiting:
    def __init__(self, simulator: str = URL, slots: int = 1, lasts_s: float = 1.0) -> None:
        self.store, self.clock = MemoryStore(), Clock()
        self._began, self._lasts_s = self.clock.now, lasts_s
        polls = LongPolls(slots, pause=self._pause, clock=lambda: self.clock().timestamp())
        self.first = FirstSync(self.store, Accounts(self.store, URL, simulator), polls)

    def _pause(self, seconds: float) -> None:
        self.clock.move(seconds)
        if self.waited_s >= self._lasts_s:
            state = SyncState(tried_at=self.clock())
            self.store.change_documents(lambda shelf: shelf.put(SYNC, "default", state.body()))

    @property
    def waited_s(self) -> float:
        return (self.clock.now - self._began).total_seconds()


def test_without_a_token_nobody_waits() -> None:
    waiting = Waiting("")
    waiting.first()
    assert waiting.waited_s == 0


def test_a_list_waits_for_the_first_sync_only() -> None:
    waiting = Waiting()
    waiting.first()
    assert 1 <= waiting.waited_s < 2
    before = waiting.waited_s
    waiting.first()
    assert waiting.waited_s == before


def test_it_does_not_wait_for_ever() -> None:
    waiting = Waiting(lasts_s=60)
    waiting.first()
    assert waiting.waited_s == LONGEST_S


def test_when_too_many_wait_the_others_do_not() -> None:
    clock, store, answered = Clock(), MemoryStore(), []

    def pause(_seconds: float) -> None:
        clock.move(10)
        first()  # another request, while the first one waits
        answered.append(True)

    polls = LongPolls(1, pause=pause, clock=lambda: clock().timestamp())
    first = FirstSync(store, Accounts(store, URL, URL), polls)
    first()
    assert answered == [True]
