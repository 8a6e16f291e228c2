"""Who leads: giving up once, and only in the thread that leads."""

import threading

from micromdm_py import lead


def test_a_leader_gives_up_once() -> None:
    calls: list[str] = []
    lead.lead_with(lambda: calls.append("handed over"))
    lead.give_up()
    lead.give_up()
    assert calls == ["handed over"]


def test_a_thread_that_does_not_lead_has_nothing_to_give_up() -> None:
    calls: list[str] = []
    lead.lead_with(lambda: calls.append("handed over"))
    other = threading.Thread(target=lead.give_up)
    other.start()
    other.join()
    assert calls == []
    lead.give_up()


def test_a_waiting_call_gives_up_first_and_passes_everything_on() -> None:
    calls: list[str] = []
    lead.lead_with(lambda: calls.append("handed over"))

    def add(a: int, *, b: int) -> int:
        calls.append("called")
        return a + b

    assert lead.waiting(add)(1, b=2) == 3
    assert calls == ["handed over", "called"]
