"""The reader of request bodies."""

import io
from collections.abc import Callable, Iterable

import falcon
import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import Busy, MalformedRequest, TooLarge
from micromdm_py.http.body import Room, read_body, stream_body


class Input:
    """wsgi.input that gives what has arrived, piece by piece, and counts."""

    def __init__(self, pieces: Iterable[bytes], error: OSError | None = None) -> None:
        self._pieces, self._error = list(pieces), error
        self.given = 0
        self.at_end: Callable[[], object] = lambda: None

    def read(self, size: int) -> bytes:
        if not self._pieces:
            self.at_end()
            if self._error:
                raise self._error
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
            piece = piece[:size]
        self.given += len(piece)
        return piece


def request(source: object, *, length: str | None = None, chunked: bool = False) -> falcon.Request:
    environ = falcon.testing.create_environ(method="DELETE")
    environ["wsgi.input"] = source
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    return falcon.Request(environ)


PIECES = st.lists(st.binary(min_size=1, max_size=50), max_size=6)


@given(PIECES, st.booleans())
def test_a_body_is_read_whole_in_either_framing(pieces: list[bytes], chunked: bool) -> None:
    body = b"".join(pieces)
    length = None if chunked else str(len(body))
    assert read_body(request(Input(pieces), length=length, chunked=chunked), 1000) == body


def test_without_a_length_there_is_no_body() -> None:
    source = Input([b"the next request"])
    assert read_body(request(source), 1000) == b""
    assert source.given == 0


def test_no_more_than_the_announced_length_is_read() -> None:
    source = Input([b"abcdef"])
    assert read_body(request(source, length="3"), 1000) == b"abc"
    assert source.given == 3


def test_a_body_may_be_as_large_as_the_limit() -> None:
    assert read_body(request(Input([b"abc"]), length="3"), 3) == b"abc"
    assert read_body(request(Input([b"abc"]), chunked=True), 3) == b"abc"


def test_an_announced_body_above_the_limit_is_not_read() -> None:
    source = Input([b"abcd"])
    with pytest.raises(TooLarge):
        read_body(request(source, length="4"), 3)
    assert source.given == 0


def test_a_chunked_body_is_not_read_far_beyond_the_limit() -> None:
    source = Input([b"x" * 1000] * 1000)
    with pytest.raises(TooLarge):
        read_body(request(source, chunked=True), 3)
    assert source.given <= 1 << 16


def test_a_body_that_ends_early_is_malformed() -> None:
    with pytest.raises(MalformedRequest, match="ended after 3 of 10 bytes"):
        read_body(request(Input([b"abc"]), length="10"), 1000)


def test_a_body_that_breaks_off_is_malformed() -> None:
    with pytest.raises(MalformedRequest):
        read_body(request(Input([b"abc"], OSError("gone")), chunked=True), 1000)


@pytest.mark.parametrize("length", ["-1", "x", "1.0", "²"])
def test_a_length_that_is_no_number_is_malformed(length: str) -> None:
    with pytest.raises(MalformedRequest):
        read_body(request(Input([b"abc"]), length=length), 1000)


def test_large_bodies_share_a_room() -> None:
    room = Room(100, free=10)

    def read(pieces: int, inside: Callable[[], object] = lambda: None, limit: int = 60) -> bytes:
        source = Input([b"x" * 10] * pieces)
        source.at_end = inside
        return read_body(request(source, chunked=True), limit, room)

    def another() -> None:
        assert len(read(1)) == 10, "small bodies need no room"
        assert len(read(6)) == 60
        with pytest.raises(Busy):
            read(7, limit=70)
        assert len(read(6)) == 60, "what was refused gives back what it had taken"

    assert len(read(6, another)) == 60
    assert len(read(30, limit=300)) == 300, "one body fits, however large they may be"


def test_a_stream_has_no_limit_and_comes_in_pieces() -> None:
    body = b"x" * 300_000
    pieces = list(stream_body(request(io.BytesIO(body), length=str(len(body)))))
    assert b"".join(pieces) == body
    assert len(pieces) > 1
