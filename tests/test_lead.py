"""Who leads: giving up, stepping aside, and who goes on when."""

import threading
from collections.abc import Callable

from micromdm_py import lead
from micromdm_py.lead import Lead


class Worker:
    """Threads of one lead; each does what the test gives it, while it leads."""

    def __init__(self, *jobs: Callable[["Worker"], object], more: bool = True) -> None:
        self.lead = Lead(self._hire, lambda: more)
        self._jobs = list(jobs)
        self._threads: list[threading.Thread] = []
        self.log: list[str] = []
        self.pauses: list[lead.Pause] = []

    def _hire(self) -> bool:
        if not self._jobs:
            return False
        thread = threading.Thread(target=self._work, args=(self._jobs.pop(0),))
        self._threads.append(thread)
        thread.start()
        return True

    def _work(self, job: Callable[["Worker"], object]) -> None:
        assert self.lead.take(10)
        job(self)
        if self.lead.is_mine() and not self.lead.next_back():
            self.lead.pass_on(self.lead.holder)

    def run(self) -> list[str]:
        """Run the first job, and the others as the lead changes; returns the log."""
        self._hire()
        for thread in self._threads:
            thread.join()
        return self.log

    def note(self, text: str) -> None:
        self.log.append(text + (" leading" if self.lead.is_mine() else ""))


def test_a_leader_gives_up_once_and_goes_on_without_the_lead() -> None:
    def first(worker: Worker) -> None:
        lead.give_up()
        lead.give_up()
        worker.note("first")

    assert sorted(Worker(first, lambda worker: worker.note("second")).run()) == ["first", "second leading"]


def test_a_thread_that_does_not_lead_has_nothing_to_give_up() -> None:
    def first(worker: Worker) -> None:
        other = threading.Thread(target=lead.give_up)
        other.start()
        other.join()
        worker.note("first")

    assert Worker(first, lambda worker: worker.note("second")).run()[0] == "first leading"


def test_a_short_wait_keeps_the_lead_and_a_long_one_gives_it_up() -> None:
    def first(worker: Worker) -> None:
        lead.about_to_wait(lead.WORTH_S / 2)
        worker.note("short")
        lead.about_to_wait(lead.WORTH_S * 2)
        worker.note("long")

    assert Worker(first).run() == ["short leading", "long"]


def test_a_waiting_call_gives_up_first_and_passes_everything_on() -> None:
    def first(worker: Worker) -> None:
        def add(a: int, *, b: int) -> int:
            worker.note("called")
            return a + b

        assert lead.waiting(add)(1, b=2) == 3

    assert Worker(first).run() == ["called"]


def test_a_free_lead_is_taken_by_the_next_to_come() -> None:
    worker = Worker(lambda worker: lead.give_up())
    worker.run()
    assert worker.lead.holder == 0
    assert worker.lead.take(0)
    assert worker.lead.is_mine()
    lead.give_up()


def test_waiting_for_the_lead_ends() -> None:
    worker = Worker()
    assert worker.lead.take(0)
    found: list[bool] = []
    other = threading.Thread(target=lambda: found.append(worker.lead.take(0.01)))
    other.start()
    other.join()
    assert found == [False]
    lead.give_up()


def test_nobody_steps_aside_for_nobody() -> None:
    def first(worker: Worker) -> None:
        assert lead.pause() is None
        worker.note("first")

    assert Worker(first, more=False).run() == ["first leading"]
    assert lead.pause() is None  # this thread does not lead


def pausing(worker: Worker) -> None:
    pause = lead.pause()
    assert pause is not None
    worker.pauses.append(pause)
    worker.note("done by another" if pause.wait() else "to be done")


def ending(worker: Worker) -> None:
    for pause in worker.pauses:
        pause.end()
    worker.note("ended")


def test_those_who_stepped_aside_go_on_one_after_the_other_each_leading() -> None:
    assert Worker(pausing, pausing, ending).run() == [
        "ended leading",
        "done by another leading",
        "done by another leading",
    ]


def test_whoever_steps_aside_leads_again_when_there_is_no_company() -> None:
    def second(worker: Worker) -> None:
        worker.note("second")
        assert worker.lead.next_paused()
        worker.note("second")

    log = Worker(pausing, second).run()
    assert log[0] == "second leading"
    assert sorted(log[1:]) == ["second", "to be done leading"]


def test_nobody_steps_aside_when_no_other_thread_can_be_had() -> None:
    assert Worker(pausing).run() == ["to be done leading"]


def test_a_pause_that_is_forgotten_ends_by_itself_without_the_lead() -> None:
    gone = threading.Event()

    def first(worker: Worker) -> None:
        pausing(worker)
        gone.set()

    def second(worker: Worker) -> None:
        gone.wait()
        worker.note("second")

    assert Worker(first, second).run() == ["to be done", "second leading"]


def test_a_thread_that_does_not_lead_ends_a_pause_at_once() -> None:
    gone = threading.Event()

    def first(worker: Worker) -> None:
        pausing(worker)
        gone.set()

    def second(worker: Worker) -> None:
        other = threading.Thread(target=ending, args=(worker,))
        other.start()
        other.join()
        gone.wait()

    assert sorted(Worker(first, second).run()) == ["done by another", "ended"]


def test_a_pause_that_was_ended_before_it_began_is_none() -> None:
    def first(worker: Worker) -> None:
        pause = lead.pause()
        assert pause is not None
        pause.end()
        assert pause.wait()
        worker.note("first")

    assert Worker(first).run() == ["first leading"]


def test_a_leader_that_is_stuck_can_be_replaced() -> None:
    replaced = threading.Event()

    def first(worker: Worker) -> None:
        worker.lead.pass_on(worker.lead.holder)
        replaced.wait()
        lead.give_up()
        worker.note("first")

    def second(worker: Worker) -> None:
        replaced.set()
        worker.note("second")

    assert sorted(Worker(first, second).run()) == ["first", "second leading"]
