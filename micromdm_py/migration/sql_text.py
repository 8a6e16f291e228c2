"""The text of an SQL dump as tokens: words, numbers, names, strings and signs.

Sources: PostgreSQL's manual, "Lexical Structure" and "COPY" (text format); MySQL's, "Literal Values" and
"Comments".
"""

import re
from collections.abc import Iterator
from mmap import mmap
from typing import Literal, NamedTuple, NoReturn

from micromdm_py.errors import BadDatabase

__all__ = ["SqlText", "Token"]

MAX_BYTES = 64 << 20
"""Longest value that is read; a command with a package's worth of payload is shorter."""

_BETWEEN = re.compile(rb"(?:\s+|--[^\n]*|#[^\n]*)*")
_WORD = re.compile(rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*")
_NUMBER = re.compile(rb"[-+]?(?:0x[0-9A-Fa-f]+|[0-9][0-9.]*(?:[eE][-+]?[0-9]+)?)")
_TAG = re.compile(rb"\$(?:[A-Za-z_]\w{0,63})?\$")
_STOP = re.compile(rb"['\\]")
_ESCAPED = re.compile(rb"\\(.)|''", re.DOTALL)
_ESCAPES = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a", b"b": b"\b"}
_COPY_ESCAPED = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
_COPY_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


class Token(NamedTuple):
    """A piece of the text; words, numbers and signs as written, names and strings without their quotes."""

    kind: Literal["word", "number", "name", "string", "sign", "end"]
    text: bytes

    def says(self, *words: bytes) -> bool:
        """Whether this is one of these words, in whatever case, or signs; a name or string is none."""
        return self.kind in ("word", "sign") and self.text.upper() in words


class SqlText:
    """Reads a dump from its beginning to its end.

    Attributes:
        escapes: whether a backslash in a string escapes, as it does for MySQL; for PostgreSQL it does not.
        at: bytes that have been read.
    """

    def __init__(self, data: mmap | bytes) -> None:
        """Begin with the first byte, or behind a byte order mark."""
        self._data = data
        self.escapes, self.at = True, 3 if data[:3] == b"\xef\xbb\xbf" else 0

    def token(self) -> Token:
        """The next token, which is `end` when there is none. Raises: BadDatabase."""
        self._skip_comments()
        data, at = self._data, self.at
        first = data[at : at + 1]
        if first == b"'":
            return Token("string", self._escaped() if self.escapes else self._doubled(first))
        if first in (b'"', b"`"):
            return Token("name", self._doubled(first))
        if found := _WORD.match(data, at):
            self.at = found.end()
            return Token("word", found.group())
        if found := _NUMBER.match(data, at):
            self.at = found.end()
            return Token("number", found.group())
        if found := _TAG.match(data, at):
            return Token("string", self._until(found.group(), found.end()))
        self.at = at + len(first)
        return Token("sign", first) if first else Token("end", b"")

    def line(self) -> bytes:
        """What is left of this line, without its end. Raises: BadDatabase when the text ends before it."""
        return self._until(b"\n", self.at).removesuffix(b"\r")

    def skip_past(self, mark: bytes) -> None:
        """Go behind the next `mark`. Raises: BadDatabase when there is none."""
        at = self._data.find(mark, self.at)
        if at < 0:
            raise BadDatabase("is cut off")
        self.at = at + len(mark)

    def copied(self) -> Iterator[list[bytes | None]]:
        r"""The rows below a COPY statement, up to the line ``\.``. Raises: BadDatabase."""
        while (line := self.line()) != b"\\.":
            yield [_copied(value) for value in line.split(b"\t")]

    def _skip_comments(self) -> None:
        while True:
            if found := _BETWEEN.match(self._data, self.at):
                self.at = found.end()
            if self._data[self.at : self.at + 2] != b"/*":
                return
            self.skip_past(b"*/")

    def _until(self, mark: bytes, start: int) -> bytes:
        """From `start` to the next `mark`, behind which reading goes on."""
        end = self._data.find(mark, start, start + MAX_BYTES)
        if end < 0:
            self._endless(start)
        self.at = end + len(mark)
        return self._data[start:end]

    def _doubled(self, quote: bytes) -> bytes:
        """A name or string in which nothing but the quote is special, by being doubled."""
        start = at = self.at + 1
        while (end := self._data.find(quote, at, start + MAX_BYTES)) >= 0:
            if self._data[end + 1 : end + 2] != quote:
                self.at = end + 1
                return self._data[start:end].replace(quote * 2, quote)
            at = end + 2
        self._endless(start)

    def _escaped(self) -> bytes:
        """A string in which a quote is doubled, or a backslash stands before it."""
        data, start = self._data, self.at + 1
        at = start
        while found := _STOP.search(data, at, start + MAX_BYTES):
            end = found.start()
            if data[end] == _QUOTE and data[end + 1 : end + 2] != b"'":
                self.at = end + 1
                return _ESCAPED.sub(_unescape, data[start:end])
            at = end + 2
        self._endless(start)

    def _endless(self, start: int) -> NoReturn:
        if len(self._data) - start >= MAX_BYTES:
            raise BadDatabase(f"has a value of more than {MAX_BYTES >> 20} MiB at byte {start}")
        raise BadDatabase("is cut off")


_QUOTE = ord("'")


def _unescape(found: re.Match[bytes]) -> bytes:
    escaped = found.group(1)
    return b"'" if escaped is None else _ESCAPES.get(escaped, escaped)


def _copied(value: bytes) -> bytes | None:
    if value == rb"\N":
        return None
    return _COPY_ESCAPED.sub(_uncopy, value) if b"\\" in value else value


def _uncopy(found: re.Match[bytes]) -> bytes:
    escaped = found.group(1)
    if escaped in _COPY_ESCAPES:
        return _COPY_ESCAPES[escaped]
    if escaped[:1].isdigit() and escaped < b"8":
        return bytes([int(escaped, 8) & 0xFF])
    return bytes([int(escaped[1:], 16)]) if escaped[:1] == b"x" and len(escaped) > 1 else escaped
