"""Reading untrusted property lists within limits, and writing property lists.

The readers check every bound before they build anything, and for any input raise nothing but
`MalformedRequest`. They accept nothing that the standard library's `plistlib` refuses, and read nothing
differently, with one exception: white space before an XML document, which scripts put there and which
MicroMDM and Apple's devices skip.
"""

from micromdm_py.errors import MalformedRequest
from micromdm_py.protocol.plist.binary_reader import MAGIC, read_binary
from micromdm_py.protocol.plist.flat import parse_flat
from micromdm_py.protocol.plist.limits import MAX_DEPTH, MAX_NODES, Value
from micromdm_py.protocol.plist.writer import NOT_IN_XML, dumps_compact, dumps_indented, xml_text
from micromdm_py.protocol.plist.xml_reader import read_xml

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "NOT_IN_XML",
    "Value",
    "dumps_compact",
    "dumps_indented",
    "loads",
    "parse_flat",
    "xml_text",
]


def loads(data: bytes, *, trailing: bool = True, distinct: bool = False) -> dict[str, Value]:
    """Read a property list whose root is a dictionary.

    Args:
        data: XML (declaration and document type may be missing, white space may come first) or binary.
        trailing: accept any bytes after the closing tag, as MicroMDM does for device messages; when False,
            only white space and comments may follow.
        distinct: refuse a repeated key in the root or in a dictionary directly below it, since some readers
            take the first occurrence and some the last. When False, the last counts.
    Returns: a tree of str, int, float, bool, bytes, naive datetime in UTC, list and dict with string keys.
    Raises: MalformedRequest, for any error.
    """
    if data.startswith(MAGIC):
        value = read_binary(data, distinct=distinct)
    else:
        value = read_xml(data.lstrip(_SPACE), trailing=trailing, distinct=distinct)
    if not isinstance(value, dict):
        raise MalformedRequest("the root of the property list is not a dictionary")
    return value


_SPACE = b" \t\r\n"
