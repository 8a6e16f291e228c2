"""The real process: framing, deadlines, refusals, and what a slow client costs."""

import json
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.harness import Client, Server, eventually, running

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
FAST_CUT = {"head_s": 0.5, "body_s": 0.5}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of this module that need no other settings."""
    with running(tmp_path_factory.mktemp("serving")) as started:
        yield started


def test_a_body_comes_back(server: Server) -> None:
    for body in (b"", b"x", b"y" * 300_000):
        answer = server.ask("PUT", "/echo", body)
        assert (answer.status, answer.body) == (200, body)


def test_a_chunked_delete_has_its_body(server: Server) -> None:
    client = server.connect()
    client.send(
        b"DELETE /echo HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n"
    )
    answer = client.answer()
    assert (answer.headers["x-method"], answer.body) == ("DELETE", b"abcdef")
    assert client.ask("GET", "/environ").status == 200


def test_a_chunked_body_that_comes_in_pieces(server: Server) -> None:
    client = server.connect()
    client.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED)
    for piece in (b"4\r", b"\nab", b"cd\r\n", b"0\r\n", b"\r\n"):
        client.send(piece)
    assert client.answer().body == b"abcd"


def test_a_large_chunked_body(server: Server) -> None:
    client = server.connect()
    client.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED)
    for _ in range(30):
        client.send(b"4000\r\n" + b"z" * 0x4000 + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert client.answer().body == b"z" * 0x4000 * 30
    assert client.ask("GET", "/environ").status == 200


@pytest.mark.parametrize("chunks", [b"xyz\r\nabc\r\n0\r\n\r\n", b"2\r\nabc\r\n0\r\n\r\n", b"5" + b"0" * 300])
def test_broken_chunks_are_refused(server: Server, chunks: bytes) -> None:
    client = server.connect()
    client.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + chunks)
    assert client.answer().status == 400
    assert client.is_closed()


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    client = server.connect()
    request = b"PUT /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n%03d"
    client.send(b"".join(request % number for number in range(200)))
    assert [client.answer().body for _ in range(200)] == [b"%03d" % number for number in range(200)]


def test_clients_that_never_pause_leave_room_for_others(server: Server) -> None:
    request = b"PUT /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
    enough = threading.Event()
    answered: list[bytes] = []

    def press(client: Client) -> None:
        client.send(request * 300)
        while not enough.is_set():
            answered.append(client.answer().body)
            client.send(request)

    pressing = [threading.Thread(target=press, args=(server.connect(),)) for _ in range(6)]
    for thread in pressing:
        thread.start()
    for _ in range(20):
        assert server.connect().ask("PUT", "/echo", b"y").body == b"y"
    enough.set()
    for thread in pressing:
        thread.join()
    assert set(answered) == {b"x"}
    assert len(answered) < 40_000  # a few each time; when others starve, it is thousands


def test_an_unread_small_body_does_not_end_the_connection(server: Server) -> None:
    client = server.connect()
    assert client.ask("POST", "/deny", b"secret").status == 401
    assert client.ask("GET", "/environ").status == 200


def test_an_early_refusal_reaches_a_client_that_is_still_sending(server: Server) -> None:
    client = server.connect()
    client.send(b"POST /deny HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000\r\n\r\n")
    for _ in range(40):
        client.send(b"x" * 1_000_000)
    answer = client.answer()
    assert (answer.status, answer.body, answer.headers["connection"]) == (401, b"denied", "close")


def test_a_client_that_asks_first_is_told_to_continue_only_when_the_body_is_wanted(server: Server) -> None:
    client = server.connect()
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    client.send(head % b"/echo")
    assert client.answer().status == 100
    client.send(b"hello")
    assert client.answer().body == b"hello"
    client.send(head % b"/deny")
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nBad Name: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: magic\r\n\r\n", 501),
        (b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * (1 << 20), 431),
        (b"\x00\x01\r\n\r\n", 400),
        (b"GET /a% HTTP/1.1\r\n\r\n", 400),
        (b"GET /a%2 HTTP/1.0\r\n\r\n", 400),
        (b"GET /%zz?a HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_bad_heads_are_refused(server: Server, head: bytes, status: int) -> None:
    client = server.connect()
    client.send(head)
    assert client.answer().status == status
    assert client.is_closed()


def test_a_signature_header_of_many_kilobytes_is_taken(server: Server) -> None:
    client = server.connect()
    assert client.ask("PUT", "/echo", b"x", **{"Mdm-Signature": "A" * 500_000}).body == b"x"


def test_http_1_0_closes_unless_asked_not_to(server: Server) -> None:
    client = server.connect()
    client.send(b"GET /pid HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.answer().headers["connection"] == "keep-alive"
    client.send(b"GET /pid HTTP/1.0\r\n\r\n")
    assert client.answer().headers["connection"] == "close"
    assert client.is_closed()


def test_head_has_no_body(server: Server) -> None:
    client = server.connect()
    client.send(b"HEAD /pid HTTP/1.1\r\nHost: localhost\r\n\r\nGET /pid HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, headers = client._file.readline(), b""
    while (line := client._file.readline()) != b"\r\n":
        headers += line
    assert b"200" in status and b"Content-Length" in headers
    assert client.answer().status == 200


def test_a_fault_of_the_application_is_a_500_and_the_connection_goes_on(server: Server) -> None:
    client = server.connect()
    answer = client.ask("POST", "/fail", b"x")
    assert (answer.status, answer.body) == (500, b"")
    assert client.ask("GET", "/environ").status == 200
    eventually(lambda: "on purpose" in server.log(), "log line")


def test_the_environ_tells_about_the_connection(server: Server) -> None:
    environ = json.loads(server.ask("GET", "/environ?a=b%20c").body)
    assert environ["QUERY_STRING"] == "a=b%20c"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(server.port)
    assert environ["wsgi.url_scheme"] == "http"


def test_percent_signs_in_the_path_are_decoded_once(server: Server) -> None:
    client = server.connect()
    client.send(b"GET /%65nviron?100% HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert json.loads(client.answer().body)["RAW_URI"] == "/%65nviron?100%"


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HTT",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"PUT /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
        b"PUT /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc",
        b"PUT /echo HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"5\r\nab",
    ],
)
def test_a_client_that_stalls_is_cut(tmp_path: Path, beginning: bytes) -> None:
    with running(tmp_path / "store", limits=FAST_CUT) as server:
        client = server.connect()
        client.send(beginning)
        assert client.is_closed()


def test_idle_connections_are_closed(tmp_path: Path) -> None:
    with running(tmp_path / "store", limits={"idle_s": 0.1}) as server:
        client = server.connect()
        assert client.ask("GET", "/pid").status == 200
        assert client.is_closed()


def test_a_stalled_tls_handshake_is_cut(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    settings = {"tls": True, "tls_cert": str(cert), "tls_key": str(key), "limits": FAST_CUT}
    with running(tmp_path / "store", **settings) as server:
        client = server.connect(plain=True)
        client.send(b"\x16\x03\x01")
        assert client.is_closed()


def test_a_slow_body_is_cut_unless_the_application_is_patient(tmp_path: Path) -> None:
    with running(tmp_path / "store", limits={"body_s": 2.0, "bytes_per_s": 1 << 30}) as server:
        hurried, patient = server.connect(), server.connect()
        head = b"PUT /%s HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED
        hurried.send(head % b"echo")
        patient.send(head % b"patient")
        piece, sent, pause = b"x" * 70_000, 0, threading.Event()
        hurried.sock.setblocking(False)
        cut = False
        while not cut:
            sent += 1
            patient.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            try:
                hurried.sock.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                cut = hurried.sock.recv(1) == b""
            except BlockingIOError:
                pause.wait(0.2)
            except ConnectionError:
                cut = True
        patient.send(b"0\r\n\r\n")
        assert len(patient.answer().body) == sent * len(piece)


def test_slow_bodies_hold_no_thread(tmp_path: Path) -> None:
    with running(tmp_path / "store", threads=2) as server:
        slow = [server.connect() for _ in range(40)]
        for client in slow:
            client.send(b"PUT /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\na")
        assert server.ask("PUT", "/echo", b"quick").body == b"quick"
        for client in slow:
            client.send(b"bcdefghij")
            assert client.answer().body == b"abcdefghij"


def test_large_bodies_that_stall_leave_threads_for_others(tmp_path: Path) -> None:
    with running(tmp_path / "store", threads=8) as server:
        stalled = [server.connect() for _ in range(20)]
        for client in stalled:
            client.send(b"PUT /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\na")
        assert {client.answer().status for client in stalled[2:]} == {503}
        assert server.ask("PUT", "/echo", b"quick").body == b"quick"
        for client in stalled[:2]:
            client.send(b"b" * 99_999)
            assert len(client.answer().body) == 100_000
        assert len(server.ask("PUT", "/echo", b"c" * 100_000).body) == 100_000


def test_waiting_requests_do_not_hold_up_others(server: Server) -> None:
    waiting = [server.connect() for _ in range(40)]
    for client in waiting:
        client.send(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert server.ask("PUT", "/echo", b"quick").body == b"quick"
    (server.folder / "go").touch()
    assert {client.answer().body for client in waiting} == {b"waited"}


@pytest.mark.parametrize("secure", [False, True])
def test_a_large_answer_to_a_slow_reader_holds_no_thread(
    tmp_path: Path, certificate: tuple[Path, Path], secure: bool
) -> None:
    cert, key = certificate
    settings: dict[str, object] = {"tls": True, "tls_cert": str(cert), "tls_key": str(key)} if secure else {}
    with running(tmp_path / "store", threads=2, **settings) as server:
        if secure:
            server.context = ssl.create_default_context(cafile=str(cert))
        slow = [server.connect() for _ in range(6)]
        for client in slow:
            client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert server.ask("GET", "/pid").status == 200
        for client in slow:
            assert len(client.answer().body) == 8_000_000
        assert slow[0].ask("GET", "/pid").status == 200


@pytest.mark.parametrize("secure", [False, True])
def test_files_are_sent_to_slow_readers_by_no_thread(
    tmp_path: Path, certificate: tuple[Path, Path], secure: bool
) -> None:
    cert, key = certificate
    settings: dict[str, object] = {"tls": True, "tls_cert": str(cert), "tls_key": str(key)} if secure else {}
    content = os.urandom(1 << 20) * 12
    with running(tmp_path / "store", threads=2, **settings) as server:
        (server.folder / "file").write_bytes(content)
        if secure:
            server.context = ssl.create_default_context(cafile=str(cert))
        slow = [server.connect() for _ in range(6)]
        for client in slow:
            client.send(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert server.ask("GET", "/pid").status == 200
        for client in slow:
            assert client.answer().body == content
        assert slow[0].ask("GET", "/file?3").body == content[:3]
        assert slow[0].ask("GET", "/pid").status == 200


def open_files(server: Server, name: str) -> int:
    worker = int(server.ask("GET", "/pid").body)
    links = Path(f"/proc/{worker}/fd").iterdir()
    return sum(os.path.lexists(link) and str(link.readlink()).endswith(name) for link in links)


def test_a_file_is_closed_when_its_reader_goes_and_when_it_became_shorter(server: Server) -> None:
    (server.folder / "file").write_bytes(bytes(20_000_000))
    client = server.connect()
    client.send(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.sock.recv(1)
    assert open_files(server, "/file") == 1
    client.close()
    eventually(lambda: open_files(server, "/file") == 0, "closing")
    client = server.connect()
    client.send(b"GET /file?20000001 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert len(client.answer().body) == 20_000_000
    eventually(lambda: open_files(server, "/file") == 0, "closing")
