"""The rows of plain SQL dumps, in every spelling that the tools have for them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.sql_dump import SqlDump
from micromdm_py.migration.sql_text import SqlText

TABLE = """CREATE TABLE t (
  `a` int,
  b varchar(3) DEFAULT 'x,y',
  PRIMARY KEY (a), KEY b (b), CHECK (b <> '(')
);
"""
POSTGRESQL = "SET standard_conforming_strings = on;\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dump.sql"


def rows(path: Path, text: str | bytes) -> list[list[bytes | None]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = list(SqlDump(path, ["t"]).rows())
    assert all(table == "t" and list(row) == ["a", "b"] for table, row in found)
    return [list(row.values()) for _, row in found]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("INSERT INTO `t` VALUES (1,'x'),(2,NULL);", [[b"1", b"x"], [b"2", None]]),
        ("INSERT INTO public.t VALUES\n\t(-1.5, true),\n\t(2, '');", [[b"-1.5", b"true"], [b"2", b""]]),
        ('INSERT INTO "public"."t" ("a", "b") VALUES (1, false);', [[b"1", b"false"]]),
        ("insert ignore into db.t (a,b) values (1,2) ON CONFLICT DO NOTHING;", [[b"1", b"2"]]),
        ("REPLACE INTO t VALUES (0x4142,_binary 'x\\0');", [[b"AB", b"x\0"]]),
        ("INSERT INTO t VALUES (X'4142',_utf8mb4 'x');", [[b"AB", b"x"]]),
        ("INSERT INTO t VALUES ('a\\'b''c\\\\','\\n\\r\\t\\Z\\\"\\%');", [[b"a'b'c\\", b'\n\r\t\x1a"%']]),
        ("INSERT INTO t /* , */ VALUES -- (\n(1 # '\n,';--/*');", [[b"1", b";--/*"]]),
        ("/*!40000 INSERT INTO t VALUES (9,9) */; INSERT INTO t VALUES (1,2);", [[b"1", b"2"]]),
        ("INSERT INTO other VALUES (')', f(1), \"x\");", []),
        ("DELIMITER ;;\nCREATE TRIGGER x INSERT INTO t VALUES (NEW.a);;\nDELIMITER ;\n", []),
        ("CREATE FUNCTION f() AS $f$ INSERT INTO t VALUES ('; $$ $f$ LANGUAGE sql;", []),
        ("\\restrict it's\nINSERT INTO t VALUES (1,2);\n\\unrestrict\n", [[b"1", b"2"]]),
        (
            "COPY public.t (a, b) FROM stdin;\n1\t\\N\n\\\\x\\tb\\\\N\t\n\\.\n",
            [[b"1", None], [b"\\x\tb\\N", b""]],
        ),
        ("COPY t FROM stdin;\n\\101\\x42\\q\tb\r\n\\.\r\n", [[b"ABq", b"b"]]),
        ("COPY other (x) FROM stdin;\nINSERT INTO t VALUES ('\n\\.\n", []),
    ],
)
def test_every_spelling_of_a_row(path: Path, statement: str, expected: list[list[bytes | None]]) -> None:
    assert rows(path, TABLE + statement) == expected


def test_a_backslash_is_one_in_postgresql(path: Path) -> None:
    assert rows(path, POSTGRESQL + TABLE + r"INSERT INTO t VALUES ('a\', 'it''s\n');") == [
        [b"a\\", rb"it's\n"]
    ]


def test_a_byte_order_mark_and_lines_of_windows(path: Path) -> None:
    text = "\ufeff-- x\r\n" + TABLE.replace("\n", "\r\n") + "INSERT INTO t VALUES (1,2);\r\n"
    assert rows(path, text) == [[b"1", b"2"]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is empty"),
        (b"<?xml version='1.0'?>", "not an SQL dump"),
        (TABLE.encode("utf-16"), "not an SQL dump"),
        (b"PGDMP\x01", "use pg_dump -Fp first"),
        (b"\x1f\x8b\x08", "use gunzip first"),
        (b"/*!40101 SET NAMES latin1 */;\n", "is in latin1"),
        (b"SET client_encoding = 'SQL_ASCII';", "is in SQL_ASCII"),
        (b"SELECT 1;", "lacks table t"),
        (TABLE * 2, "two tables t"),
        ("INSERT INTO t VALUES (1,2);", "does not name the columns of t"),
        (TABLE + "INSERT INTO t VALUES (1);", "1 values for the 2 columns of t"),
        (TABLE + "INSERT INTO t VALUES (1,2,3);", "3 values for the 2 columns of t"),
        (TABLE + "COPY t (a, b) FROM stdin;\n1\n\\.\n", "1 values for the 2 columns of t"),
        (TABLE + "INSERT INTO t VALUES (now(),2);", "'now', which is not a plain value"),
        (TABLE + "INSERT INTO t VALUES ('a' 'secret');", "a string where , is expected"),
        (TABLE + "INSERT INTO t VALUES (X'xyz',1);", "invalid hexadecimal"),
        (TABLE + "INSERT INTO t VALUES 5;", "'5' where ( is expected"),
        (TABLE + "INSERT INTO t VALUES (1,'x", "is cut off"),
        (TABLE + "INSERT INTO t VALUES (1,'x'),", "is cut off"),
        (TABLE + "COPY t (a, b) FROM stdin;\n1\t2\n", "is cut off"),
        ("-- MySQL dump 10\n" + TABLE, "is cut off"),
        ("CREATE TABLE t (a int", "is cut off"),
        ("CREATE TABLE t (a int /* ", "is cut off"),
    ],
)
def test_what_is_refused(path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(BadDatabase, match=reason.replace("(", r"\(")) as caught:
        rows(path, text)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(BadDatabase, match="No such file"):
        list(SqlDump(path, ["t"]).rows())


def test_a_value_of_absurd_size_is_refused(path: Path) -> None:
    with path.open("wb") as file:
        file.write(TABLE.encode() + b" " * 4096 + b"INSERT INTO t VALUES ('")
        file.truncate(65 << 20)
    with pytest.raises(BadDatabase, match="more than 64 MiB"):
        list(SqlDump(path, ["t"]).rows())


@given(value=st.binary(), quoted=st.booleans())
def test_what_is_quoted_is_read_back(value: bytes, quoted: bool) -> None:
    doubled = value.replace(b"'", b"''") if quoted else value.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
    text = SqlText(b"'" + doubled + b"' x")
    text.escapes = not quoted
    assert text.token().text == value
    assert text.token() == ("word", b"x")


@given(st.binary())
def test_no_text_makes_the_reader_fail_otherwise(data: bytes) -> None:
    text, tokens = SqlText(data), 0
    try:
        while text.token().kind != "end":
            tokens += 1
            assert tokens <= len(data)
    except BadDatabase:
        pass
