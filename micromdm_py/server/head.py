"""The head of a request: request line and header fields.

The usual request takes a short, strict path here. Whatever that path does not recognise (repeated fields,
transfer codings, odd targets, errors) is left to gunicorn's parser. The short path accepts nothing that
gunicorn's parser would refuse or read differently; a test compares them.
"""

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Protocol

from gunicorn.config import Config as GunicornConfig
from gunicorn.http import errors as gunicorn_errors
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.message import Request

from micromdm_py.server.limits import Limits

__all__ = ["CHUNK_LINE_BYTES", "BadHead", "Head", "HeadParser", "Source"]

CHUNK_LINE_BYTES = 256
"""Longest line with the size of a chunk and its extensions, which nobody uses."""
_TRAILER_BYTES = 8 << 10

_LINE = re.compile(rb"([A-Z]{3,20}) (/(?!/)[\x21\x22\x24-\x7e]*) HTTP/1\.1\r\n")
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"[!#$%&'*+\-.^`|~0-9A-Za-z]+")
_TEXT = b"\t" + bytes(range(0x20, 0x7F))
_MOST_KNOWN_NAMES = 500
_LENGTH = re.compile(r"[0-9]{1,15}")
_UNUSUAL = frozenset({"TRANSFER-ENCODING", "EXPECT", "SCRIPT-NAME", "PATH-INFO"})

# Gunicorn's settings that its parser reads.
_SETTINGS = (
    "casefold_http_method forwarder_headers header_map http_parser permit_obsolete_folding"
    " permit_unconventional_http_method permit_unconventional_http_version proxy_protocol"
    " secure_scheme_headers strip_header_spaces"
).split()

_STATUS = (
    (gunicorn_errors.LimitRequestLine, "414 URI Too Long"),
    (gunicorn_errors.LimitRequestHeaders, "431 Request Header Fields Too Large"),
    (gunicorn_errors.UnsupportedTransferCoding, "501 Not Implemented"),
    (gunicorn_errors.ExpectationFailed, "417 Expectation Failed"),
)


class Source(Protocol):
    """Where a request's bytes come from; what gunicorn calls an unreader."""

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """Return ``size`` bytes, or what is there, waiting for the client if need be."""

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""


class BadHead(Exception):
    """A head that is refused; ``status`` is the status line to answer with."""

    def __init__(self, status: str) -> None:
        """Keep the status line."""
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class Head:
    """A parsed head.

    Attributes:
        target: the request target as sent.
        path: its path, still percent-encoded.
        fields: name in capitals and value, in order; names may repeat.
        length: bytes of body; None when ``chunked`` says where it ends.
        chunked: reader of a chunked body.
        body: the decoded body, when it has been collected already.
    """

    method: str
    target: str
    path: str
    query: str
    version: tuple[int, int]
    fields: list[tuple[str, str]]
    keep_alive: bool
    expects_continue: bool = False
    length: int | None = 0
    chunked: Body | None = None
    body: bytes | None = None


class HeadParser:
    """Reads heads within limits."""

    def __init__(self, limits: Limits) -> None:
        """Copy the settings that gunicorn's parser reads, since its own are slow to read."""
        defaults = GunicornConfig()
        values = {name: getattr(defaults, name) for name in _SETTINGS}
        # The parser trusts no proxy: micromdm_py.http.proxy reads the headers of proxies.
        values |= {"is_ssl": False, "forwarded_allow_ips": [], "forwarded_allow_networks": list}
        values |= {
            "http_parser": "python",
            "limit_request_line": limits.request_line_bytes,
            "limit_request_fields": limits.fields,
            "limit_request_field_size": limits.head_bytes,
        }
        self._settings = SimpleNamespace(**values)
        self._limits = limits
        self._names: dict[str, str] = {}

    def parse(self, source: Source, head: bytes) -> Head:
        """Parse one head.

        Args:
            source: where the body follows.
            head: from the request line to the empty line, complete.
        Raises: BadHead, also for a path with a percent sign that starts no escape.
        """
        found = self._parse_usual(head) or self._parse_with_gunicorn(source, head)
        if "%" in found.path and _NO_ESCAPE.search(found.path):
            raise BadHead("400 Bad Request")
        return found

    def _parse_usual(self, raw: bytes) -> Head | None:
        line = _LINE.match(raw)
        if not line or line[1] == b"CONNECT" or line.end() > self._limits.request_line_bytes + 2:
            return None
        target = line[2].decode("ascii")
        path, _, query = target.partition("?")
        head = Head(line[1].decode("ascii"), target, path, query, (1, 1), [], keep_alive=True)
        return head if self._read_fields(raw[line.end() : -4], head) else None

    def _read_fields(self, raw: bytes, head: Head) -> bool:
        if not raw:
            return True
        breaks = raw.count(b"\r\n")
        # Take the text away, and only line breaks may be left: no other control character, no half a break.
        if breaks >= self._limits.fields or raw.translate(None, _TEXT) != b"\r\n" * breaks:
            return False
        seen = set()
        for line in raw.decode("ascii").split("\r\n"):
            spelling, colon, value = line.partition(":")
            name = self._names.get(spelling) or self._new_name(spelling)
            value = value.strip(" \t")
            if not name or not colon or name in seen:
                return False
            seen.add(name)
            if name == "CONTENT-LENGTH":
                if not _LENGTH.fullmatch(value):
                    return False
                head.length = int(value)
            elif name == "CONNECTION":
                head.keep_alive = value.lower() != "close"
            head.fields.append((name, value))
        return True

    def _new_name(self, spelling: str) -> str:
        """Return a field name in capitals, "" if it is not valid or needs gunicorn's parser."""
        name = spelling.upper()
        if not _NAME.fullmatch(spelling) or name in _UNUSUAL:
            return ""
        if len(self._names) < _MOST_KNOWN_NAMES:
            self._names[spelling] = name
        return name

    def _parse_with_gunicorn(self, source: Source, raw: bytes) -> Head:
        source.unread(raw)
        try:
            request = Request(self._settings, source, ("", 0))
        except (gunicorn_errors.ParseException, StopIteration, OSError) as error:
            raise BadHead(_status(error)) from error
        head = Head(
            request.method, request.uri, request.path, request.query, request.version, request.headers,
            keep_alive=not request.should_close(),
            expects_continue=request._expected_100_continue,
        )  # fmt: skip
        reader = request.body.reader
        if isinstance(reader, LengthReader):
            head.length = reader.length
        else:
            head.length, head.chunked = None, request.body
        if isinstance(reader, ChunkedReader):
            # Gunicorn would let these lines grow as long as the longest header.
            reader.limit_chunk_size_line, reader.limit_trailer_section = CHUNK_LINE_BYTES, _TRAILER_BYTES
        return head


def _status(error: BaseException) -> str:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), "400 Bad Request")
