"""Waking the courier: it works, and where it cannot it does nothing."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from micromdm_py.net.wakeup import Waker, drain, listen


@pytest.fixture(params=["courier.sock", "deep" * 40 + "/courier.sock"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found = tmp_path / str(request.param)
    found.parent.mkdir(exist_ok=True)
    return found


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    with listen(path) as opened:
        yield opened


def rings(listener: socket.socket) -> int:
    """How many messages wait, by taking them."""
    count = 0
    while True:
        try:
            listener.recv(16)
        except BlockingIOError:
            return count
        count += 1


def test_a_message_arrives(listener: socket.socket, path: Path) -> None:
    wake = Waker(path)
    wake()
    wake()
    assert rings(listener) == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_many_messages_wake_once(listener: socket.socket, path: Path) -> None:
    wake, woken = Waker(path), []
    for _ in range(5):
        wake()
    drain(listener, lambda: woken.append(1))
    assert (woken, rings(listener)) == ([1], 0)


def test_a_full_socket_and_nobody_there_are_no_matter(path: Path, listener: socket.socket) -> None:
    wake = Waker(path)
    for _ in range(5000):
        wake()
    assert rings(listener) > 0
    listener.close()
    wake()
    path.unlink()
    wake()
    Waker(path.parent / "none" / "courier.sock")()


def test_a_socket_left_over_is_replaced(path: Path, listener: socket.socket) -> None:
    wake = Waker(path)
    wake()
    with listen(path) as second:
        wake()
        assert rings(second) == 1
    assert rings(listener) == 1


def test_a_waker_goes_on_after_a_fork(path: Path, listener: socket.socket) -> None:
    wake = Waker(path)
    wake()
    child = os.fork()
    if not child:
        wake()
        os._exit(0)
    os.waitpid(child, 0)
    assert rings(listener) == 2


def test_no_folder_is_an_error_for_the_listener(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listen(tmp_path / "none" / "courier.sock")
