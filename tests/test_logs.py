"""Log lines: one line a record, quoted as logfmt wants it, without secrets."""

import io
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py import logs


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO) -> Iterator[logging.Logger]:
    logger = logging.getLogger("micromdm_py.part.sub")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.LogfmtFormatter(secrets=("s3cret-value", "tiny")))
    logger.addHandler(handler)
    logger.propagate, level = False, logger.level
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(level)


def line(**fields: object) -> str:
    record = logging.LogRecord("micromdm_py.x", logging.INFO, "", 1, "m", (), None)
    record.fields = fields
    return logs.LogfmtFormatter().format(record)


def test_line_has_micromdms_form(logger: logging.Logger, stream: io.StringIO) -> None:
    logs.log_event(logger, logging.INFO, "no api key", status=200, path="/v1/devices", ok=True, gone=None)
    logger.warning("%d left", 3)
    assert stream.getvalue().splitlines() == [
        'level=info component=part.sub msg="no api key" status=200 path=/v1/devices ok=true',
        'level=warn component=part.sub msg="3 left"',
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("a\nlevel=info msg=forged", '"a\\nlevel=info msg=forged"'),
        ("\r\t\x00\x1b[31m\x7f\x85", '"\\r\\t\\u0000\\u001b[31m\\u007f\\u0085"'),
        ("\u2028\u202e", '"\\u2028\\u202e"'),
        ("\udce9", '"\\udce9"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("grün", "grün"),
        (b"a\xff", '"a\\\\xff"'),
        (False, "false"),
        (1.5, "1.5"),
    ],
)
def test_value_is_quoted(value: object, written: str) -> None:
    assert line(field=value) == f"level=info component=x msg=m field={written}"


@given(st.text(st.characters()))
def test_no_value_begins_a_line_or_a_field(value: str) -> None:
    written = line(field=value).removeprefix("level=info component=x msg=m field=")
    assert len(written.splitlines()) <= 1
    inner = written.removeprefix('"').removesuffix('"') if written.startswith('"') else written
    assert written.startswith('"') or not {" ", "=", '"'} & set(written)
    assert inner.replace("\\\\", "").replace('\\"', "").count('"') == 0


def test_ids_of_the_request_are_in_each_line(logger: logging.Logger, stream: io.StringIO) -> None:
    tokens = logs.request_id.set("r1"), logs.enrollment_id.set("UDID-1")
    logger.info("hello")
    logs.request_id.reset(tokens[0])
    logs.enrollment_id.reset(tokens[1])
    logger.info("bye")
    assert stream.getvalue().splitlines() == [
        "level=info component=part.sub msg=hello request_id=r1 enrollment_id=UDID-1",
        "level=info component=part.sub msg=bye",
    ]


def test_exception_stays_on_the_line(logger: logging.Logger, stream: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines with s3cret-value")
    except ValueError:
        logger.exception("failed")
    [written] = stream.getvalue().splitlines()
    assert 'traceback="Traceback' in written and "ValueError: two\\nlines with ***" in written


def test_secrets_are_not_written(logger: logging.Logger, stream: io.StringIO) -> None:
    logs.log_event(logger, logging.INFO, "x s3cret-value y", url="https://h/?k=s3cret-value", short="tiny")
    for name in ("token", "push_magic", "challenge", "unlock_token", "password", "authorization", "api_key"):
        logs.log_event(logger, logging.INFO, "m", **{name: "abcdef"})
    text = stream.getvalue()
    assert "s3cret-value" not in text and "abcdef" not in text and "short=tiny" in text


def test_time_comes_first_when_asked_for() -> None:
    record = logging.LogRecord("micromdm_py.x", logging.ERROR, "", 1, "m", (), None)
    record.created = 1_700_000_000.25
    written = logs.LogfmtFormatter(log_time=True).format(record)
    assert written == "ts=2023-11-14T22:13:20.250000Z level=error component=x msg=m"


def test_level_below_the_loggers_is_not_written(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.setLevel(logging.WARNING)
    logs.log_event(logger, logging.INFO, "m")
    assert stream.getvalue() == ""
