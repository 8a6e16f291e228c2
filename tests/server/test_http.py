"""Heads, chunks and answers without a socket."""

import contextlib
import socket

import pytest
from gunicorn.http.body import Body
from gunicorn.http.errors import ParseException
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.server.connection import Connection, Phase
from micromdm_py.server.head import CHUNK_LINE_BYTES, BadHead, Head, HeadParser
from micromdm_py.server.intake import Intake, chunked_end
from micromdm_py.server.limits import Limits
from micromdm_py.server.response import Response

PARSER = HeadParser(Limits())


class Bytes:
    """A source that has all it will ever have."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        size = len(self._data) if size is None else size
        data, self._data = self._data[:size], self._data[size:]
        return data

    def unread(self, data: bytes) -> None:
        self._data = data + self._data


def careful(raw: bytes) -> Head | str:
    try:
        return PARSER._parse_with_gunicorn(Bytes(), raw)
    except BadHead as bad:
        return bad.status


NAMES = st.sampled_from(
    "Host Content-Length Content-Type Connection Expect Transfer-Encoding Mdm-Signature X_Y X-Y Cookie"
    " Script-Name Trailer Upgrade".split()
) | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=5)
VALUES = st.sampled_from(
    "close|keep-alive|Close| close |close, x|0|5|05|+5|1_0|chunked|100-continue|a,b".split("|")
) | st.text(st.characters(max_codepoint=0xFF), max_size=8)  # fmt: skip
TARGETS = st.sampled_from(
    ["/", "/a?b", "/a?b?c#d", "//a/b", "/%41", "*", "http://a/b", "a:80", "/a#b", "/a//b", "/?", "/;x"]
) | st.text(st.characters(max_codepoint=0xFF), max_size=6)
METHODS = st.sampled_from(["GET", "PUT", "get", "CONNECT", "OPTIONS", "X", "A" * 21, "G#T", "M-SEARCH"])
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "http/1.1"])
COLONS = st.sampled_from([": ", ":", " : ", ":\t", ""])
LINES = st.tuples(NAMES, COLONS, VALUES).map("".join)
ENDS = st.sampled_from(["\r\n"] * 9 + ["\n", "\r"])


@given(METHODS, TARGETS, VERSIONS, st.lists(LINES, max_size=5), ENDS)
def test_the_short_path_reads_only_what_gunicorn_reads_and_reads_the_same(
    method: str, target: str, version: str, lines: list[str], end: str
) -> None:
    raw = end.join([f"{method} {target} {version}", *lines]).encode("latin-1") + b"\r\n\r\n"
    if usual := PARSER._parse_usual(raw):
        assert careful(raw) == usual


def test_the_usual_request_takes_the_short_path() -> None:
    head = PARSER._parse_usual(b"PUT /mdm/connect?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n")
    assert head is not None
    assert (head.method, head.path, head.query, head.length) == ("PUT", "/mdm/connect", "a=b", 12)


@pytest.mark.parametrize(("value", "kept"), [("close", False), ("Close", False), ("keep-alive", True)])
def test_the_short_path_closes_the_connection_when_asked_to(value: str, kept: bool) -> None:
    raw = f"GET / HTTP/1.1\r\nHost: close\r\nConnection: {value}\r\n\r\n".encode()
    head = PARSER._parse_usual(raw)
    assert head is not None
    assert head.keep_alive is kept


class Arriving:
    """A connection on which bytes arrive in pieces."""

    def __init__(self, limits: Limits) -> None:
        self._client, sock = socket.socketpair()
        sock.setblocking(False)
        self.connection = Connection(sock, ("", 0), ("", 0), limits)
        self._intake = Intake(limits)

    def deadline_after(self, piece: bytes) -> float:
        self._client.sendall(piece)
        assert self._intake.next_request(self.connection) is None
        return self.connection.deadline

    def close(self) -> None:
        self._client.close()
        self.connection.sock.close()


def test_a_client_gains_no_time_by_sending_little_at_a_time() -> None:
    with contextlib.closing(Arriving(Limits(bytes_per_s=1 << 60))) as arriving:
        arriving.connection.phase = Phase.IDLE
        head = [arriving.deadline_after(piece) for piece in (b"PUT / HT", b"TP/1.1\r\n", b"Host: a\r\n")]
        body = [arriving.deadline_after(piece) for piece in (b"Content-Length: 9\r\n\r\n", b"a", b"b")]
        assert len(set(head)) == len(set(body)) == 1


def encode(chunks: list[bytes], trailers: bytes) -> bytes:
    return (
        b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        + b"0\r\n"
        + trailers
        + b"\r\n"
    )


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC: d\r\n"]),
    st.data(),
)
def test_the_end_of_a_chunked_body_is_found_however_it_arrives(
    chunks: list[bytes], trailers: bytes, data: st.DataObject
) -> None:
    whole = encode(chunks, trailers)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole) - 1), max_size=8)))
    start = 0
    for cut in cuts:
        start, ended = chunked_end(bytearray(whole[:cut]), start)
        assert not ended
    assert chunked_end(bytearray(whole + b"GET / HTTP/1.1"), start)[1]


LONG_LINE = b"a" * (CHUNK_LINE_BYTES + 1)
PIECES = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"0", b"f" * 17, b";", b";x=y", b' "', b"A: b\r\n", b"1\r\na\r\n", LONG_LINE]
) | st.binary(max_size=3)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_reading_a_chunked_body_whose_end_was_found_waits_for_nothing(junk: bytes) -> None:
    try:
        start, ended = chunked_end(bytearray(junk), 0)
    except BadHead as bad:
        assert bad.status.startswith("400")
        return
    assert 0 <= start <= len(junk)
    if ended:
        with contextlib.suppress(OSError):  # still broken
            chunked_body(junk).read()


@pytest.mark.parametrize("body", [b"5" + b"0" * 300, b"1;" + b"a" * 300, b"0\r\n" + b"A: b\r\n" * 2000])
def test_lines_beside_a_chunked_body_are_short(body: bytes) -> None:
    with pytest.raises(ParseException):
        chunked_body(body).read()


class Ending(Bytes):
    """A source that must not be asked for more than it has."""

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        data = super().read(size, read_ahead)
        assert data, "waits for the client"
        return data


def chunked_body(data: bytes) -> Body:
    source = Ending()
    head = PARSER.parse(source, b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    source.unread(data)
    assert head.chunked
    return head.chunked


class Wire:
    """Collects what a response writes."""

    def __init__(self, method: str = "GET", version: tuple[int, int] = (1, 1)) -> None:
        self.data = b""
        self.response = Response(self._write, method, version, keep_alive=True)

    def _write(self, data: bytes) -> None:
        self.data += data

    def start(self, status: str = "200 OK", **headers: str) -> "Wire":
        self.response.start_response(status, list(headers.items()))
        return self

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


def test_pieces_of_unknown_length_are_chunked() -> None:
    wire = Wire().start()
    for piece in (b"ab", b"", b"c"):
        wire.response.write(piece)
    wire.response.finish()
    assert b"Transfer-Encoding: chunked" in wire.head
    assert wire.body == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


def test_pieces_of_unknown_length_end_the_connection_of_http_1_0() -> None:
    wire = Wire(version=(1, 0)).start()
    wire.response.write(b"ab")
    wire.response.finish()
    assert wire.body == b"ab"
    assert not wire.response.keep_alive


def test_no_more_than_the_announced_length_is_sent() -> None:
    wire = Wire().start(**{"Content-Length": "2"})
    wire.response.write_all(b"abc")
    wire.response.finish()
    assert wire.body == b"ab"


def test_less_than_the_announced_length_is_a_fault() -> None:
    wire = Wire().start(**{"Content-Length": "4"})
    wire.response.write_all(b"abc")
    with pytest.raises(RuntimeError):
        wire.response.finish()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_some_answers_have_neither_body_nor_length(status: str) -> None:
    wire = Wire().start(status)
    wire.response.write_all(b"abc")
    wire.response.finish()
    assert wire.body == b""
    assert b"Content-Length" not in wire.head


def test_headers_are_spelled_as_scripts_search_for_them() -> None:
    wire = Wire().start(**{"content-type": "a", "www-authenticate": "b", "ETag": "c", "Location": "d"})
    wire.response.write_all(b"")
    lines = b"\r\nContent-Type: a\r\nWww-Authenticate: b\r\nEtag: c\r\nLocation: d\r\n"
    assert lines in wire.head + b"\r\n"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb"])
def test_a_header_cannot_begin_another(value: str) -> None:
    wire = Wire().start(**{"X-Name": value})
    with pytest.raises(ValueError, match="line break"):
        wire.response.write_all(b"")
    assert wire.data == b""


def test_the_application_can_close_the_connection() -> None:
    wire = Wire().start(Connection="close")
    wire.response.write_all(b"")
    assert wire.head.count(b"Connection: close") == 1
    assert not wire.response.keep_alive
