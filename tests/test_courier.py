"""The courier as a whole: a real store, receivers and an APNs on loopback."""

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from micromdm_py import courier
from micromdm_py.courier import CourierSettings, clock_steps_back
from micromdm_py.net.wakeup import Waker
from micromdm_py.receivers import WebhookTarget, parse_target
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.rules import DepRules
from micromdm_py.simulator.depserver import DepServer
from micromdm_py.storage.base import Store
from micromdm_py.storage.records import DuePush
from tests.fakes.apns_server import Answer, ApnsServer
from tests.fakes.certificates import push_certificate
from tests.fakes.outgoing import TOPIC, add_event, enroll, new_store, queue
from tests.fakes.webhook_receiver import Got, Reply, WebhookReceiver

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as started:
        yield started


def settings(folder: Path, *urls: str, apns: ApnsServer | None = None, **more: object) -> CourierSettings:
    where = (
        {"apns_url": apns.url, "apns_ca_file": apns.ca_file} if apns else {"apns_url": "https://127.0.0.1:9"}
    )
    targets = tuple(parse_target(url) for url in urls)
    return CourierSettings(folder / "c.sock", "micromdm/test", targets, **{**where, **more})  # type: ignore[arg-type]


@contextlib.contextmanager
def running(store: Store, what: CourierSettings) -> Iterator[Callable[[], None]]:
    """A courier in a thread; gives what wakes it. Receivers begin before it, as at the server's start."""
    for target in what.targets:
        store.receiver(target.url)
    stop = threading.Event()
    thread = threading.Thread(target=courier.run, args=(store, what, stop))
    thread.start()
    try:
        yield Waker(what.socket_path)
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert not what.socket_path.exists()


def eventually(test: Callable[[], bool]) -> None:
    """Wait for something that has no event to wait for."""
    done, limit = threading.Event(), datetime.now(UTC) + timedelta(seconds=20)
    while not test():
        assert datetime.now(UTC) < limit
        done.wait(0.01)


def test_events_and_pushes_go_out(store: Store, receiver: WebhookReceiver, tmp_path: Path) -> None:
    store.store_push_certificate(push_certificate(TOPIC))
    with WebhookReceiver() as other, ApnsServer(tmp_path) as apns:
        what = settings(tmp_path, receiver.url, f"{other.url}#topics=mdm.Connect", apns=apns, hmac_key=b"k")
        with running(store, what) as wake:
            add_event(store, "A", "a1")
            add_event(store, "A", "a2", "mdm.Connect")
            wake()
            assert [got.body for got in receiver.wait_for(2)] == [b"a1", b"a2"]
            assert [got.body for got in other.wait_for(1)] == [b"a2"]
            enroll(store, "A")
            queue(store, "A", "uuid", datetime.now(UTC))
            wake()
            assert [push.body for push in apns.wait_for(1)] == [b'{"mdm":"magic A"}']
            eventually(lambda: store.command("A", "uuid").sent_at is not None)
        assert store.receiver(receiver.url).cursor == 2
        assert len(receiver.got) == 2
        assert len(other.got) == 1


def test_what_everybody_has_is_deleted(store: Store, receiver: WebhookReceiver, tmp_path: Path) -> None:
    store.receiver("https://not-any-more.example.com")
    for number in range(5):
        add_event(store, "A", f"before {number}")
    with running(store, settings(tmp_path, receiver.url)):
        eventually(lambda: store.events_after(0, 10) == [])


def test_an_outage_of_two_seconds_costs_no_event(store: Store, tmp_path: Path) -> None:
    with WebhookReceiver() as down:
        pass  # the port is free again
    with running(store, settings(tmp_path, down.url)) as wake:
        for number in range(400):
            add_event(store, f"D{number % 40}", str(number))
        wake()
        eventually(lambda: bool(store.receiver(down.url).last_error))
        with WebhookReceiver(port=down.port) as up:
            up.wait_for(400)
            assert sorted(int(body) for body in up.bodies()) == list(range(400))
            for device in range(40):
                mine = [int(body) for body in up.bodies() if int(body) % 40 == device]
                assert mine == sorted(mine)


def test_an_error_in_one_part_does_not_stop_the_others(
    store: Store, receiver: WebhookReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty:
        """A store whose first look for pushes fails."""

        def __init__(self) -> None:
            self.failed = threading.Event()

        def __getattr__(self, name: str) -> object:
            return partial(getattr(store, name))

        def due_pushes(self, *, at: datetime, limit: int) -> tuple[list[DuePush], datetime | None]:
            if not self.failed.is_set():
                self.failed.set()
                raise LookupError("a fault")
            return store.due_pushes(at=at, limit=limit)

    store.store_push_certificate(push_certificate(TOPIC))
    enroll(store, "A")
    queue(store, "A", "uuid")
    faulty = Faulty()
    with ApnsServer(tmp_path) as apns:
        what = settings(tmp_path, receiver.url, apns=apns)
        with running(faulty, what) as wake:  # type: ignore[arg-type]  # has all methods by __getattr__
            assert faulty.failed.wait(20)
            add_event(store, "A", "a1")
            wake()
            receiver.wait_for(1)
            apns.wait_for(1)
    assert "courier: push failed" in caplog.text


@pytest.mark.parametrize("step_s", [-31.0, -86_400.0 * 365])
def test_a_clock_that_is_set_back_is_noticed(step_s: float) -> None:
    shown = {"wall": 1_800_000_000.0, "steady": 50.0}
    seconds: list[float] = []

    async def pause(pause_s: float) -> None:
        seconds.append(pause_s)
        shown["steady"] += pause_s
        # Slowed down, then ahead by an hour (the machine slept), and only then set back.
        shown["wall"] += {1: pause_s - 1, 2: pause_s + 3600}.get(len(seconds), pause_s)
        if len(seconds) == 5:
            shown["wall"] += step_s

    asyncio.run(clock_steps_back(lambda: shown["wall"], lambda: shown["steady"], pause))
    assert len(seconds) == 5


def test_a_second_courier_waits_for_the_first(
    store: Store, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    stop = threading.Event()
    what = settings(tmp_path, receiver.url)
    store.receiver(receiver.url)
    add_event(store, "A", "a1")
    with store.lease("courier") as held:
        assert held
        second = threading.Thread(target=courier.run, args=(store, what, stop))
        second.start()
        eventually(lambda: second.is_alive())
        assert receiver.got == []
    receiver.wait_for(1)
    stop.set()
    second.join(20)


def test_without_a_socket_work_is_found_by_looking(
    store: Store, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    what = settings(tmp_path / "none", receiver.url)
    store.receiver(receiver.url)
    add_event(store, "A", "a1")
    with running(store, what) as wake:
        wake()
        receiver.wait_for(1)
        add_event(store, "A", "a2")
        receiver.wait_for(2)


def test_the_same_url_twice_is_one_receiver(store: Store, receiver: WebhookReceiver, tmp_path: Path) -> None:
    what = settings(tmp_path, f"{receiver.url}#topics=mdm.Connect", f"{receiver.url}#topics=mdm.CheckOut")
    with running(store, what) as wake:
        add_event(store, "A", "a1", "mdm.Connect")
        add_event(store, "A", "a2", "mdm.TokenUpdate")
        add_event(store, "A", "a3", "mdm.CheckOut")
        wake()
        assert [got.body for got in receiver.wait_for(2)] == [b"a1", b"a3"]


def test_no_log_line_holds_a_secret(
    store: Store, receiver: WebhookReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store.store_push_certificate(push_certificate(TOPIC))
    receiver.answer = lambda got: Reply(500 if got.body == b"a1" else 200)
    url = receiver.url.replace("://", "://us3r:passw0rd@") + "?token=query-s3cret"
    answers = iter([Answer(410, b'{"reason":"Unregistered"}'), Answer(403, b'{"reason":"BadCertificate"}')])
    secrets = ["us3r", "passw0rd", "query-s3cret", "header-s3cret", "hmac-s3cret", "magic A", "aa" * 32]
    with ApnsServer(tmp_path, lambda push: next(answers, Answer())) as apns:
        what = settings(
            tmp_path, url, apns=apns, hmac_key=b"hmac-s3cret", headers=(("X-Token", "header-s3cret"),)
        )
        assert not any(secret in repr(what) for secret in secrets)
        with running(store, what) as wake:
            for name in ("A", "B"):
                enroll(store, name)
                queue(store, name, "uuid", datetime.now(UTC))
            add_event(store, "A", "a1")
            add_event(store, "B", "b1")
            wake()
            receiver.wait_for(2)
            apns.wait_for(2)
            eventually(lambda: store.receiver(url).held == 1)
    assert receiver.got[0].headers["x-token"] == "header-s3cret"
    assert "refuse" in caplog.text
    for secret in secrets:
        assert secret not in caplog.text


SCRIPT = """
import json, sys, threading
from pathlib import Path
from micromdm_py import courier
from micromdm_py.receivers import WebhookTarget
from micromdm_py.storage.lmdb.store import open_store
folder, url = json.loads(sys.argv[1])
store = open_store(Path(folder) / "store", map_size_bytes=1 << 28)
what = courier.CourierSettings(
    Path(folder) / "c.sock", "micromdm/test", (WebhookTarget(url),), apns_url="https://127.0.0.1:9"
)
courier.run(store, what, threading.Event())
"""


class Killer:
    """A receiver's answers, and the end of the courier after some of them."""

    def __init__(self, *after: int) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.dying = threading.Event()
        self._after, self._count = list(after), 0

    def __call__(self, got: Got) -> Reply:
        self._count += 1
        if self.process and self._after and self._count >= self._after[0]:
            del self._after[0]
            self.process.kill()
            self.dying.set()
        return Reply()


def test_killing_the_courier_again_and_again_loses_nothing(tmp_path: Path) -> None:
    killer = Killer(60, 150, 290)
    with WebhookReceiver(killer) as receiver:
        store = new_store(tmp_path)
        store.receiver(receiver.url)
        for number in range(400):
            add_event(store, f"D{number % 9}", str(number))
        store.close()
        arguments = [sys.executable, "-c", SCRIPT, json.dumps([str(tmp_path), receiver.url])]
        for _ in range(4):
            killer.process = subprocess.Popen(arguments, env={"PYTHONPATH": str(ROOT)})
            receiver.wait_until(lambda got: killer.dying.is_set() or len({one.body for one in got}) == 400)
            killer.process.kill()
            killer.process.wait()
            killer.dying.clear()
    first_times = list(dict.fromkeys(int(body) for body in receiver.bodies()))
    assert sorted(first_times) == list(range(400))
    for device in range(9):
        mine = [number for number in first_times if number % 9 == device]
        assert mine == sorted(mine)


def test_targets_of_one_url_are_put_together() -> None:
    both = (
        WebhookTarget("https://r.example.com", frozenset({"mdm.Connect"})),
        WebhookTarget("https://r.example.com"),
    )
    assert courier._merge(both) == [WebhookTarget("https://r.example.com")]
    assert courier._merge(both[::-1]) == [WebhookTarget("https://r.example.com")]


def test_devices_of_the_enrollment_program_are_synchronized_on_request(store: Store, tmp_path: Path) -> None:
    apple = DepServer(("127.0.0.1", 0), 2, now=lambda: datetime.now(UTC), log=lambda _line: None)
    thread = threading.Thread(target=apple.serve)
    thread.start()
    roster, accounts = Roster(store), Accounts(store, apple.url, apple.url)
    try:
        with running(store, settings(tmp_path, depsim=apple.url)) as wake:
            eventually(lambda: len(list(roster.all())) == 2)
            apple.answer("POST", "/simulator", {}, b'{"add": 3}')
            DepRules(store, accounts, roster, wake=wake, now=lambda: datetime.now(UTC)).sync_now(None)
            eventually(lambda: len(list(roster.all())) == 5)
    finally:
        apple.close()
        thread.join(20)
