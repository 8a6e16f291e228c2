"""Log lines in logfmt, MicroMDM's form: ``level=info component=main msg="no api key specified"``.

One record is one line: nothing that a device or caller sends can start a line or a field of its own. Fields
that are secret by name, and the secrets of the configuration wherever they turn up, are shown as ``***``.
"""

import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache

from micromdm_py.config import Config

__all__ = ["LogfmtFormatter", "enrollment_id", "line_writer", "log_event", "quoted", "request_id", "setup"]

request_id: ContextVar[str] = ContextVar("request_id", default="")
enrollment_id: ContextVar[str] = ContextVar("enrollment_id", default="")

_PACKAGE = "micromdm_py."
_HIDDEN = "***"
_MIN_SECRET = 6  # a shorter one would turn up by chance inside other words
_SECRET_FIELDS = frozenset(
    "api_key authorization bootstrap_token challenge cookie hmac_key key password pin private_key push_magic "
    "secret token unlock_token".split()
)
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def log_event(logger: logging.Logger, level: int, msg: str, **fields: object) -> None:
    """Log one line with fields.

    Args:
        logger: the module's logger; its name becomes ``component``.
        level: as in ``logging``.
        msg: constant text; whatever varies goes into fields.
        fields: names in snake_case; a field whose value is None is left out.
    """
    if logger.isEnabledFor(level):
        logger.log(level, "%s", msg, extra={"fields": fields}, stacklevel=2)


class LogfmtFormatter(logging.Formatter):
    """Turns a record into one logfmt line."""

    def __init__(self, *, log_time: bool = False, secrets: tuple[str, ...] = ()) -> None:
        """Take ``-log-time`` and the values that must not be shown."""
        super().__init__()
        self._log_time = log_time
        self._secrets = sorted((s for s in secrets if len(s) >= _MIN_SECRET), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record: the common fields in a fixed order, then those of ``log_event``."""
        pairs: dict[str, object] = {}
        if self._log_time:
            pairs["ts"] = _timestamp(record.created)
        pairs["level"] = {"WARNING": "warn", "CRITICAL": "error"}.get(
            record.levelname, record.levelname.lower()
        )
        pairs["component"] = record.name.removeprefix(_PACKAGE)
        pairs["msg"] = record.getMessage()
        pairs["request_id"] = request_id.get() or None
        pairs["enrollment_id"] = enrollment_id.get() or None
        pairs |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            pairs["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return " ".join(
            f"{key}={self._value(key, value)}" for key, value in pairs.items() if value is not None
        )

    def _value(self, key: str, value: object) -> str:
        if key in _SECRET_FIELDS:
            return _HIDDEN
        text = _text(value)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return quoted(text)


def line_writer(config: Config) -> Callable[[str], None]:
    """A function that writes finished logfmt lines, for those too frequent for the cost of a record."""
    log_time = config.log_time

    def write(line: str) -> None:
        stamp = f"ts={_timestamp(time.time())} " if log_time else ""
        with contextlib.suppress(OSError, ValueError):  # stderr is closed, or its disk is full
            sys.stderr.write(f"{stamp}{line}\n")

    return write


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


@lru_cache(4096)
def quoted(text: str) -> str:
    """A value in logfmt: on one line, in quotes where needed."""
    if text.isprintable() and not any(mark in text for mark in ' ="\\'):
        return text
    return '"' + "".join(_escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) <= 0xFFFF else f"\\U{ord(letter):08x}"


def setup(config: Config) -> None:
    """Send every log line of the process to stderr in logfmt; ``-http-debug`` shows debug lines too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogfmtFormatter(log_time=config.log_time, secrets=config.secrets()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger(_PACKAGE.rstrip(".")).setLevel(logging.DEBUG if config.http_debug else logging.INFO)
    logging.captureWarnings(True)
