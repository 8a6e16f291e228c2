"""Waiting requests: how long, how many."""

import threading

import pytest

from micromdm_py.errors import Busy
from micromdm_py.service.waiting import LongPolls


class Time:
    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_waits_until_it_is_done() -> None:
    time, looks = Time(), iter([0, 0, 0, 7, 8])
    wait = LongPolls(1, pause=time.pause, clock=lambda: time.now)
    assert wait(lambda: next(looks), bool, 60) == 7
    assert len(time.pauses) == 3


def test_gives_what_it_saw_last_when_the_time_is_over() -> None:
    time = Time()
    wait = LongPolls(1, pause=time.pause, clock=lambda: time.now)
    assert wait(lambda: 0, bool, 10) == 0
    assert time.now == pytest.approx(10)
    assert max(time.pauses) <= 0.5
    assert len(time.pauses) < 40


def test_only_so_many_may_wait_and_a_place_comes_back() -> None:
    inside, go = threading.Event(), threading.Event()
    wait = LongPolls(1)

    def look() -> bool:
        inside.set()
        return go.wait(30)

    waiting = threading.Thread(target=wait, args=(look, bool, 60))
    waiting.start()
    assert inside.wait(30)
    with pytest.raises(Busy):
        wait(lambda: True, bool, 0)
    go.set()
    waiting.join()
    assert wait(lambda: True, bool, 0) is True
