"""The rows of a plain SQL dump, as pg_dump, mysqldump and mariadb-dump write it.

Only what says which rows a table has is read: CREATE TABLE for the order of its columns, INSERT and COPY.
Sources: the manuals of pg_dump and mysqldump.
"""

import contextlib
import re
from collections.abc import Collection, Iterator
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from pathlib import Path
from typing import BinaryIO

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.sql_text import SqlText, Token

__all__ = ["Row", "SqlDump"]

Row = dict[str, bytes | None]
"""Values by column: text as its bytes, numbers and booleans as they are written, None for NULL."""

_EDGE_BYTES = 4096
_ENDINGS = {
    rb"^-- PostgreSQL database dump": rb"^-- PostgreSQL database dump complete",
    rb"^-- (?:MySQL|MariaDB) dump": rb"^-- Dump completed",
}
"""First comment of a dump, and the last one, which it lacks when it is cut off."""
_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:--|/\*|[A-Za-z\\])")
_ENCODING = re.compile(rb"SET (?:NAMES |client_encoding = )'?(\w+)")
_PACKED = {
    b"PGDMP": "pg_dump -Fp",
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"PK\x03\x04": "unzip",
}
_NO_COLUMNS = tuple(
    b"PRIMARY UNIQUE KEY INDEX CONSTRAINT CHECK FOREIGN EXCLUDE LIKE FULLTEXT SPATIAL PERIOD".split()
)
"""Words with which what is no column begins in CREATE TABLE."""
_FORGET_BYTES = 32 << 20


class SqlDump:
    """A dump that is read once.

    Attributes:
        postgresql: whether it comes from PostgreSQL; known when the first row is.
    """

    def __init__(self, path: Path, tables: Collection[str]) -> None:
        """Remember which tables are wanted; nothing is read yet."""
        self._path, self._tables = path, tables
        self._columns: dict[str, list[str]] = {}
        self._seen: set[str] = set()
        self.postgresql = False

    def rows(self) -> Iterator[tuple[str, Row]]:
        """The rows of the wanted tables, each with the name of its table, in the order of the dump.

        Raises: BadDatabase when the file is no such dump, is cut off, lacks a wanted table or has it twice;
            the rows that came before count for nothing then.
        """
        try:
            with self._path.open("rb") as file, contextlib.closing(_mapped(file)) as data:
                yield from self._statements(data)
        except OSError as fault:
            raise BadDatabase(f"{self._path}: {fault.strerror}") from fault
        except BadDatabase as fault:
            raise BadDatabase(f"{self._path} {fault}") from fault

    def _statements(self, data: mmap) -> Iterator[tuple[str, Row]]:
        _check_edges(data)
        text, forgotten = SqlText(data), 0
        while (token := text.token()).kind != "end":
            if token.says(b"INSERT", b"REPLACE"):
                yield from self._insert(text)
            elif token.says(b"COPY"):
                yield from self._copy(text)
            else:
                self._other(token, text)
            if text.at - forgotten > _FORGET_BYTES:  # what has been read need not stay in memory
                data.madvise(MADV_DONTNEED)
                forgotten = text.at
        missing = sorted(set(self._tables) - self._seen)
        if missing:
            raise BadDatabase(f"is not a complete dump of NanoMDM's database: it lacks table {missing[0]}")

    # --- statements, each from behind its first word ---

    def _other(self, token: Token, text: SqlText) -> None:
        """A statement that has no rows."""
        if token.says(b"CREATE"):
            self._create(text)
        elif token.says(b"SET"):
            self._set(text)
        elif token.says(b"DELIMITER"):
            _skip_routines(text)
        elif token.says(b"\\"):  # a command of psql
            text.line()
        elif not token.says(b";"):
            _skip(text)

    def _set(self, text: SqlText) -> None:
        if text.token().text == b"standard_conforming_strings":
            text.token()
            self.postgresql, text.escapes = True, text.token().text.lower() == b"off"
        _skip(text)

    def _create(self, text: SqlText) -> None:
        if not text.token().says(b"TABLE"):
            return _skip(text)
        token = text.token()
        while token.says(b"IF", b"NOT", b"EXISTS"):
            token = text.token()
        name, token = _name(text, token)
        if name in self._tables and token.says(b"("):
            if name in self._columns:
                raise BadDatabase(f"has two tables {name}: dump NanoMDM's database alone")
            self._columns[name] = list(_defined(text))
            self._seen.add(name)
        return _skip(text)

    def _copy(self, text: SqlText) -> Iterator[tuple[str, Row]]:
        name, token = _name(text, text.token())
        columns = _listed(text) if token.says(b"(") else self._columns.get(name, [])
        text.line()
        wanted = name in self._tables
        self._seen.add(name)
        for values in text.copied():
            if wanted:
                yield name, _row(name, columns, values)

    def _insert(self, text: SqlText) -> Iterator[tuple[str, Row]]:
        token = text.token()
        while token.says(b"INTO", b"IGNORE", b"DELAYED", b"LOW_PRIORITY"):
            token = text.token()
        name, token = _name(text, token)
        if name not in self._tables:
            return _skip(text)
        columns = self._columns.get(name, [])
        if token.says(b"("):
            columns, token = _listed(text), text.token()
        if not columns:
            raise BadDatabase(f"does not name the columns of {name}: dump it with its schema")
        self._seen.add(name)
        while token.says(b"VALUES", b","):
            _expect(text.token(), b"(")
            yield name, _row(name, columns, list(_values(text)))
            token = text.token()
        if not token.says(b";"):
            _skip(text)


def _mapped(file: BinaryIO) -> mmap:
    try:
        return mmap(file.fileno(), 0, access=ACCESS_READ)
    except ValueError as fault:
        raise BadDatabase("is empty") from fault


def _check_edges(data: mmap) -> None:
    """Refuse what is no plain dump, and a dump without its last line."""
    head, tail = data[:_EDGE_BYTES], data[-_EDGE_BYTES:]
    for magic, tool in _PACKED.items():
        if head.startswith(magic):
            raise BadDatabase(f"is not plain SQL: use {tool} first")
    if b"\0" in head or not _BEGINNING.match(head):
        raise BadDatabase("is not an SQL dump in UTF-8")
    encoding = _ENCODING.search(head)
    if encoding and not encoding.group(1).lower().startswith((b"utf8", b"binary")):
        raise BadDatabase(f"is in {encoding.group(1).decode()}: dump it in UTF-8")
    for first, last in _ENDINGS.items():
        if re.search(first, head, re.MULTILINE) and not re.search(last, tail, re.MULTILINE):
            raise BadDatabase("is cut off: its last line is not the one that says that the dump is complete")


def _skip(text: SqlText) -> None:
    """Go behind the end of the statement."""
    while not (token := text.token()).says(b";"):
        if token.kind == "end":
            raise BadDatabase("is cut off")


def _skip_routines(text: SqlText) -> None:
    """Go behind MySQL's triggers and routines, whose own statements are none of the dump's."""
    if text.line().strip() != b";":
        text.skip_past(b"\nDELIMITER ;")


def _name(text: SqlText, token: Token) -> tuple[str, Token]:
    """A name without its schema, in small letters; and the token behind it."""
    following = text.token()
    while following.says(b"."):
        token, following = text.token(), text.token()
    return token.text.decode("utf-8", "replace").lower(), following


def _defined(text: SqlText) -> Iterator[str]:
    """The columns that a table has; from behind its bracket, to the one that closes it."""
    depth, begins = 1, True
    while depth:
        token = text.token()
        if token.kind == "end":
            raise BadDatabase("is cut off")
        if begins and not token.says(*_NO_COLUMNS):
            yield token.text.decode("utf-8", "replace").lower()
        depth += token.says(b"(") - token.says(b")")
        begins = depth == 1 and token.says(b",")


def _listed(text: SqlText) -> list[str]:
    """Names in brackets, from behind the first one."""
    found = []
    while True:
        found.append(text.token().text.decode("utf-8", "replace").lower())
        if not text.token().says(b","):
            return found


def _values(text: SqlText) -> Iterator[bytes | None]:
    """The values of a row, from behind its bracket, to the one that closes it."""
    closed = False
    while not closed:
        token = text.token()
        if token.kind == "word" and token.text.startswith(b"_"):  # as in _binary 'value'
            token = text.token()
        elif token.says(b"X"):
            token = Token("number", b"0x" + text.token().text)
        yield _value(token)
        token = text.token()
        closed = token.says(b")")
        if not closed:
            _expect(token, b",")


def _value(token: Token) -> bytes | None:
    if token.says(b"NULL"):
        return None
    if token.kind == "number" and token.text.startswith(b"0x"):
        try:
            return bytes.fromhex(token.text[2:].decode())
        except ValueError as fault:
            raise BadDatabase("has an invalid hexadecimal value") from fault
    if token.kind in ("string", "number") or token.says(b"TRUE", b"FALSE"):
        return token.text
    if token.kind == "end":
        raise BadDatabase("is cut off")
    raise BadDatabase(f"has a row with {_shown(token)}, which is not a plain value")


def _row(table: str, columns: list[str], values: list[bytes | None]) -> Row:
    if len(values) != len(columns):
        raise BadDatabase(f"has a row of {len(values)} values for the {len(columns)} columns of {table}")
    return dict(zip(columns, values, strict=True))


def _expect(token: Token, sign: bytes) -> None:
    if token.kind == "end":
        raise BadDatabase("is cut off")
    if not token.says(sign):
        raise BadDatabase(f"has {_shown(token)} where {sign.decode()} is expected")


def _shown(token: Token) -> str:
    """A token for an error; never a string, which may be a secret."""
    return "a string" if token.kind == "string" else repr(token.text[:40].decode("utf-8", "replace"))
