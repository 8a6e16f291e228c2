"""The tree of processes: start, faults at the start, deaths, stop."""

import os
import signal
from pathlib import Path

import pytest

from micromdm_py.server.lock import FileLock
from tests.server.harness import Client, Server, alive, eventually, free_port, launch, refused, running


def answers(server: Server) -> bool:
    try:
        return server.ask("GET", "/pid").status == 200
    except (OSError, IndexError):
        return False


def start_waiting(server: Server) -> Client:
    client = server.connect()
    client.send(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    eventually((server.folder / "waiting").exists, "request in progress")
    return client


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_requests_and_exits_with_zero(server: Server, signum: int) -> None:
    client = start_waiting(server)
    for pid in [server.process.pid, *server.children()]:  # as a terminal does with Ctrl-C
        os.kill(pid, signum)
    eventually(lambda: not answers(server), "refusal of new connections")
    (server.folder / "go").touch()
    answer = client.answer()
    assert (answer.body, answer.headers["connection"]) == (b"waited", "close")
    assert server.process.wait(30) == 0
    assert (server.folder / "courier.stopped").exists()
    assert list(server.folder.glob("closed-*"))


def test_a_stop_does_not_wait_for_idle_connections(server: Server) -> None:
    client = server.connect()
    client.ask("GET", "/pid")
    assert server.stop() == 0
    assert client.is_closed()


def test_a_killed_worker_is_replaced(server: Server) -> None:
    worker = int(server.ask("GET", "/pid").body)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: answers(server), "new worker")
    assert int(server.ask("GET", "/pid").body) != worker


def test_a_killed_courier_is_replaced_and_there_is_never_a_second(server: Server) -> None:
    eventually(lambda: len(server.couriers()) == 1, "courier")
    os.kill(server.couriers()[0], signal.SIGKILL)
    eventually(lambda: len(server.couriers()) == 2, "second courier")
    assert [alive(pid) for pid in server.couriers()] == [False, True]
    lock = FileLock(server.folder / "courier.lock")
    assert not lock.acquire(0)
    assert lock.owner() == str(server.couriers()[1])


def test_nothing_survives_the_kill_of_the_arbiter_and_a_restart_works_at_once(tmp_path: Path) -> None:
    folder, port = tmp_path / "store", free_port()
    with running(folder, http_addr=f"127.0.0.1:{port}", workers=2) as server:
        eventually(server.couriers, "courier")
        start_waiting(server)
        children = server.children()
        assert len(children) == 3
        server.process.kill()
        server.process.wait()
        with running(folder, http_addr=f"127.0.0.1:{port}") as again:
            assert answers(again)
            eventually(lambda: not any(map(alive, children)), "end of the children")
            eventually(lambda: len(again.couriers()) == 2, "new courier")


def test_hangup_replaces_the_workers(server: Server) -> None:
    worker = server.ask("GET", "/pid").body
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: answers(server) and server.ask("GET", "/pid").body != worker, "new worker")


def test_a_second_server_on_the_store_is_refused(server: Server) -> None:
    code, log = refused(server.folder)
    assert code == 1
    assert "in use" in log and str(server.process.pid) in log
    assert answers(server)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"http_addr": "nonsense"}, "calling ListenAndServe: httputil: couldn't parse address"),
        ({"http_addr": "127.0.0.1:none"}, "calling ListenAndServe: httputil: creating TCP Listener: "),
        ({"http_addr": "host.invalid:80"}, "calling ListenAndServe: httputil: creating TCP Listener: "),
        ({"tls": True}, "-tls-cert"),
        ({"tls": True, "tls_cert": "/none.pem", "tls_key": "/none.key"}, "open /none.pem: no such file"),
        ({"prepare_error": "the store is newer than this program"}, "the store is newer than this program"),
    ],
)
def test_a_fault_at_the_start_is_one_line_and_status_1(
    tmp_path: Path, settings: dict[str, object], line: str
) -> None:
    code, log = refused(tmp_path / "store", **settings)
    assert code == 1
    assert line in log
    assert len(log.splitlines()) == 1


def test_a_port_in_use_is_refused(server: Server, tmp_path: Path) -> None:
    code, log = refused(tmp_path / "other", http_addr=f"127.0.0.1:{server.port}")
    assert code == 1
    assert "calling ListenAndServe: httputil: creating TCP Listener: " in log
    assert "address already in use" in log


def test_a_config_path_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, log = refused(tmp_path, config_path=str(tmp_path / "file" / "store"))
    assert code == 1
    assert f"creating config directory {tmp_path}/file/store: " in log


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "store" / "server.lock").mkdir(parents=True)
    code, log = refused(tmp_path / "store")
    assert code == 1
    assert log == f"opening store {tmp_path}/store: server.lock: is a directory\n"


def test_a_worker_that_cannot_start_stops_the_server(tmp_path: Path) -> None:
    server = launch(tmp_path / "store", build_error="the store is broken")
    assert server.process.wait(30) == 1
    server.end()
    assert "the store is broken" in server.log()
