"""Reading XML property lists: expat's events become a tree of limited depth and size.

Expat fetches nothing external, and a document with declarations of its own is refused at once: no entity is
ever expanded, no default attribute filled in.
"""

import binascii
import re
from collections.abc import Callable
from datetime import datetime
from xml.parsers.expat import ExpatError, ParserCreate

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.plist.limits import (
    DISTINCT_LEVELS,
    HIGHEST_INTEGER,
    LOWEST_INTEGER,
    MAX_DEPTH,
    MAX_NODES,
    Value,
)

__all__ = ["read_xml"]

_ENCODINGS = {None, "utf-8", "us-ascii"}
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d))?)?)?Z", re.ASCII)


def read_xml(data: bytes, *, trailing: bool, distinct: bool = False) -> Value:
    """Read a document with the root `<plist>`.

    Args:
        data: the document.
        trailing: accept anything after the root element.
        distinct: refuse a repeated key in a dictionary of the first `DISTINCT_LEVELS`.
    Raises: MalformedRequest.
    """
    reader = _Reader(distinct)
    parser = ParserCreate()
    parser.buffer_text = True
    parser.XmlDeclHandler = reader.declaration
    parser.StartDoctypeDeclHandler = reader.document_type
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text.append
    try:
        parser.Parse(data, True)
    except ExpatError as fault:
        if not (trailing and reader.closed):
            raise MalformedRequest(f"not a property list: {fault}") from None
    except (ValueError, TypeError, OverflowError, LookupError) as fault:
        raise MalformedRequest(f"not a property list: {fault}") from None
    return reader.root


class _Reader:
    """Handles the events of one document; reports errors as ValueError or MalformedRequest."""

    __slots__ = ("_distinct", "_inside", "_key", "_leaf", "_left", "_stack", "closed", "root", "text")

    def __init__(self, distinct: bool) -> None:
        self._distinct = distinct
        self.root: Value = None
        self.closed = False
        self.text: list[str] = []
        self._inside = False
        self._leaf = ""
        self._key: str | None = None
        self._stack: list[Value] = []
        self._left = MAX_NODES

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if (encoding and encoding.lower()) not in _ENCODINGS:
            raise MalformedRequest("a property list must be in UTF-8")

    def document_type(self, _name: str, _system: str | None, _public: str | None, declares: int) -> None:
        if declares:  # entities, and default attributes by the thousand, can cost any amount of work
            raise MalformedRequest("a property list must not declare entities or anything else")

    def start(self, tag: str, _attributes: object) -> None:
        if self._leaf:
            raise ValueError(f"an element within <{self._leaf}>")
        self._pass_over_space()
        if tag in _LEAVES and self._inside:
            self._leaf = tag
        elif tag in ("dict", "array") and self._inside:
            container: Value = {} if tag == "dict" else []
            self._add(container)
            self._stack.append(container)
            if len(self._stack) > MAX_DEPTH:
                raise MalformedRequest(f"property list is nested deeper than {MAX_DEPTH}")
        elif tag == "plist" and not self._inside:
            self._inside = True
        else:
            raise ValueError("an element that does not belong there")

    def end(self, tag: str) -> None:
        if self._leaf:
            self._leaf = ""
            text = "".join(self.text)
            self.text.clear()
            if tag == "key":
                self._take_key(text)
            else:
                self._add(_LEAVES[tag](text))
            return
        self._pass_over_space()
        if tag == "plist":
            if self.root is None:
                raise ValueError("it is empty")
            self.closed = True
        else:
            if self._key is not None:
                raise ValueError("a key without value")
            self._stack.pop()

    def _pass_over_space(self) -> None:
        """Discard the text between elements, which must be white space."""
        if self.text and "".join(self.text).strip(" \t\r\n"):
            raise ValueError("text outside an element")
        self.text.clear()

    def _take_key(self, text: str) -> None:
        if self._key is not None or not self._stack or type(self._stack[-1]) is not dict:
            raise ValueError("a key out of place")
        self._key = text

    def _add(self, value: Value) -> None:
        self._left -= 1
        if self._left < 0:
            raise MalformedRequest(f"property list has more than {MAX_NODES} values")
        if not self._stack:
            if self.root is not None:
                raise ValueError("more than one value")
            self.root = value
            return
        top = self._stack[-1]
        if type(top) is list:
            top.append(value)
        elif self._key is None:
            raise ValueError("a value without key")
        elif self._distinct and self._key in top and len(self._stack) <= DISTINCT_LEVELS:
            raise ValueError("a key that occurs twice")
        else:
            top[self._key] = value
            self._key = None


def _integer(text: str) -> int:
    value = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    if not LOWEST_INTEGER <= value <= HIGHEST_INTEGER:
        raise ValueError("integer beyond 64 bits")
    return value


def _data(text: str) -> bytes:
    return binascii.a2b_base64("".join(text.split()), strict_mode=True)


def _date(text: str) -> datetime:
    found = _DATE.match(text)
    if found is None:
        raise ValueError("an invalid date")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    return datetime(year, month, day, hour, minute, second)


_LEAVES: dict[str, Callable[[str], Value]] = {
    "key": str,
    "string": str,
    "integer": _integer,
    "real": float,
    "true": lambda _: True,
    "false": lambda _: False,
    "data": _data,
    "date": _date,
}
