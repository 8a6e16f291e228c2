r"""A strict shortcut for the plain XML documents that devices send with every connect.

It reads only what it recognises at once: UTF-8, the usual prologue, no entities, comments, CDATA, data, dates
or carriage returns, and no repeated keys. It gives up on anything else, and the full reader takes over.
"""

import re

from micromdm_py.protocol.plist.limits import MAX_DEPTH, Value

__all__ = ["parse_flat"]

_SPACE = r"[ \t\n]*+"
_HEAD = re.compile(
    rf'(?:<\?xml version="1\.0" encoding="(?:UTF-8|utf-8)"\?>{_SPACE})?'
    r'(?:<!DOCTYPE plist PUBLIC "-//Apple(?: Computer)?//DTD PLIST 1\.0//EN"'
    rf' "[\x21\x23-\x3b\x3d\x3f-\x7e]*">{_SPACE})?'
    rf'<plist version="1\.0">{_SPACE}<dict>{_SPACE}'
)
# What XML can carry except markup, ">" (part of "]]>", which XML forbids) and "\r" (which XML reads as "\n").
_TEXT = "[^\x00-\x08\x0b-\x1f<>&\ud800-\udfff\ufffe\uffff]*+"
_NUMBER = r"-?[0-9]{1,18}+"
_KEY = f"<key>{_TEXT}</key>{_SPACE}"
_SCALAR = (
    rf"(?:<string>{_TEXT}</string>|<true/>|<false/>|<integer>{_NUMBER}</integer>"
    rf"|<real>-?[0-9]{{1,15}}+(?:\.[0-9]{{1,15}}+)?</real>|<string/>|<dict/>|<array/>){_SPACE}"
)
_PAIR = re.compile(
    rf"<key>({_TEXT})</key>{_SPACE}"
    rf"(?:<string>({_TEXT})</string>|<(true|false)/>|<integer>({_NUMBER})</integer>|<string/>|(<(?:dict|array)/?+>))"
    rf"{_SPACE}"
)
# Groups are repeated greedily, not possessively: before Python 3.11.5, possessive groups match wrongly.
_DICT_RUN = re.compile(f"(?:{_KEY}{_SCALAR})*(?:({_KEY})?(<dict>|<array>|</dict>){_SPACE})")
_ARRAY_RUN = re.compile(f"(?:{_SCALAR})*(?:()(<dict>|<array>|</array>){_SPACE})")
_DICT_END = re.compile(f"</dict>{_SPACE}")
_TAIL = re.compile(rf"</dict>{_SPACE}</plist>")
_LAST_TAIL = re.compile(rf"</dict>{_SPACE}</plist>{_SPACE}\Z")


def parse_flat(data: bytes, inner: str = "", *, trailing: bool = True) -> dict[str, Value] | None:
    """Read the strings, booleans and integers in the root of a plain document.

    Arrays and dictionaries are checked to be well formed but returned empty: what a server needs of a report
    is in the root, and the report itself is kept as received.

    Args:
        data: the document.
        inner: a key of the root whose dictionary is read in the same way.
        trailing: accept bytes after the closing tag; when False, only white space may follow.
    Returns: what `loads` returns, except for the empty containers; None for a document that is not so plain
        and must be read with `loads`.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    head = _HEAD.match(text)
    if head is None:
        return None
    found: dict[str, Value] = {}
    position = _pairs(text, head.end(), found, inner)
    tail = _TAIL if trailing else _LAST_TAIL
    return found if position >= 0 and tail.match(text, position) else None


def _pairs(text: str, position: int, found: dict[str, Value], inner: str) -> int:
    """Read pairs of key and value into `found`; returns the offset after them, -1 if one is not plain."""
    match_pair = _PAIR.match
    while (pair := match_pair(text, position)) is not None:
        name, string, flag, number, container = pair.groups()
        position = pair.end()
        if name in found:
            return -1
        if string is not None:
            found[name] = string
        elif container is not None:
            found[name] = {} if "d" in container else []
            if container[-2] == "/":
                continue
            if container == "<dict>" and inner and name == inner:
                position = _pairs(text, position, found[name], "")
                closing = _DICT_END.match(text, position) if position >= 0 else None
                position = closing.end() if closing else -1
            else:
                position = _skip(text, position, container)
            if position < 0:
                return -1
        elif flag is not None:
            found[name] = flag == "true"
        else:
            found[name] = int(number) if number is not None else ""
    return position


def _skip(text: str, position: int, opened: str) -> int:
    """The offset after a container whose start tag has been read, -1 if something in it is not plain."""
    stack = [opened]
    while stack:
        in_dict = stack[-1] == "<dict>"
        run = (_DICT_RUN if in_dict else _ARRAY_RUN).match(text, position)
        if run is None or len(stack) >= MAX_DEPTH:
            return -1
        key, tag = run.groups()
        if tag.startswith("</"):
            if key:
                return -1
            stack.pop()
        else:
            if in_dict and not key:
                return -1
            stack.append(tag)
        position = run.end()
    return position
