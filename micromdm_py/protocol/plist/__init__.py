"""Property lists from strangers: read within limits, written compactly.

The readers check every bound before they build anything, and raise `MalformedRequest` and nothing else,
whatever the bytes are. They never accept what `plistlib` of the standard library refuses, nor read it
differently, but for white space before an XML document: scripts put it there, and MicroMDM and Apple's
devices pass over it.
"""

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.plist.binary_reader import MAGIC, read_binary
from micromdm_py.protocol.plist.flat import parse_flat
from micromdm_py.protocol.plist.limits import MAX_DEPTH, MAX_NODES, Value
from micromdm_py.protocol.plist.writer import dumps_compact, dumps_indented, xml_text
from micromdm_py.protocol.plist.xml_reader import read_xml

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "Value",
    "dumps_compact",
    "dumps_indented",
    "loads",
    "parse_flat",
    "xml_text",
]


def loads(data: bytes, *, trailing: bool = True, distinct: bool = False) -> dict[str, Value]:
    """Read a property list whose top is a dictionary.

    Args:
        data: XML (declaration and document type may be missing, white space may come first) or binary.
        trailing: accept any bytes after the closing tag, as MicroMDM does for device messages; when false,
            only white space and comments may follow.
        distinct: refuse a key that stands twice at the top, or in a dictionary of the top: one reader takes
            the first of them, another the last. When false, the last counts.
    Returns: str, int, float, bool, bytes, naive datetime in UTC, list and dict; keys are strings.
    Raises: MalformedRequest, whatever is wrong.
    """
    if data.startswith(MAGIC):
        value = read_binary(data, distinct=distinct)
    else:
        value = read_xml(data.lstrip(_SPACE), trailing=trailing, distinct=distinct)
    if not isinstance(value, dict):
        raise MalformedRequest("the top of the property list is not a dictionary")
    return value


_SPACE = b" \t\r\n"
