"""Reading BER and writing DER, as much of either as CMS needs.

Devices wrap their signatures in BER with indefinite lengths, so the reader takes both forms in one pass. It
returns plain tuples: it runs for every request, and an object per element would double its cost. For any
input, nothing here nests deeper than `MAX_DEPTH` or returns more than `MAX_ELEMENTS` at once.

Source: ITU-T X.690 (8.1 for the general form, 8.1.5 for end-of-contents, 10 and 11 for DER).
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from micromdm_py.errors import MalformedRequest

__all__ = [
    "BMP_STRING",
    "EXPLICIT_0",
    "GENERALIZED_TIME",
    "INTEGER",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "NULL",
    "OCTETS",
    "OID",
    "PRINTABLE",
    "SEQUENCE",
    "SET",
    "UTC_TIME",
    "Element",
    "children",
    "elements",
    "encode_integer",
    "encode_oid",
    "encode_text",
    "encode_time",
    "first",
    "octets",
    "raw",
    "sequence",
    "set_of",
    "tlv",
    "to_der",
]

INTEGER, OCTETS, OID, SEQUENCE, SET, EXPLICIT_0 = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0
UTF8_STRING, PRINTABLE, UTC_TIME, GENERALIZED_TIME, BMP_STRING = 0x0C, 0x13, 0x17, 0x18, 0x1E
CONSTRUCTED = 0x20
NULL = b"\x05\x00"

MAX_DEPTH = 16
"""Deepest nesting of indefinite lengths, and of elements that are rewritten as DER; CMS needs seven."""

MAX_ELEMENTS = 20_000
"""Most elements read at once: enough for 2 MiB in segments of a hundred bytes."""

Element = tuple[int, int, int, int, "list[Element] | None"]
"""Tag byte; offsets of header, contents and end of contents; the children if the length is indefinite."""

_PRINTABLE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?")


def elements(data: bytes, start: int, stop: int) -> list[Element]:
    """Read the consecutive elements in ``data[start:stop]``; those of definite length are not descended into.

    Args:
        data: BER or DER; offsets in the result count from its beginning.
        start: where the first header begins.
        stop: end of the last contents.
    Raises: MalformedRequest when an element extends beyond `stop`, or a limit of this module is exceeded.
    """
    found, pos = _walk(data, start, stop, [MAX_ELEMENTS], 0)
    if pos != stop:
        raise MalformedRequest("misplaced ASN.1 end-of-contents")
    return found


def first(data: bytes) -> Element:
    """Read the first element; what follows it is ignored.

    Raises: MalformedRequest.
    """
    if len(data) > 1 and data[1] != 0x80:
        size, start = data[1], 2
        if size > 0x80:
            size, start = _long_size(data, size, 2)
        if start + size > len(data) or data[0] & 0x1F == 0x1F:
            raise MalformedRequest("ASN.1 element is cut off or has an unsupported tag")
        return data[0], 0, start, start + size, None
    if len(data) < 2:
        raise MalformedRequest("ASN.1 data is cut off")
    kids, stop = _indefinite(data, data[0], 2, len(data), [MAX_ELEMENTS], 0)
    return data[0], 0, 2, stop, kids


def children(data: bytes, element: Element) -> list[Element]:
    """Return the elements inside a constructed element.

    Raises: MalformedRequest, also when the element is primitive.
    """
    tag, _, start, stop, known = element
    if known is not None:
        return known
    if not tag & CONSTRUCTED:
        raise MalformedRequest("ASN.1 structure expected")
    found, pos = _walk(data, start, stop, [MAX_ELEMENTS], 0)  # `elements`, without another call
    if pos != stop:
        raise MalformedRequest("misplaced ASN.1 end-of-contents")
    return found


def _walk(data: bytes, pos: int, end: int, budget: list[int], depth: int) -> tuple[list[Element], int]:
    """Read elements up to `end` or to an end-of-contents; return them and where reading stopped."""
    found: list[Element] = []
    add = found.append
    try:
        for _ in range(budget[0]):
            if pos >= end:
                break
            tag, size, start = data[pos], data[pos + 1], pos + 2
            if size == 0x80:
                kids, stop = _indefinite(data, tag, start, end, budget, depth)
                add((tag, pos, start, stop, kids))
                pos = stop + 2
                continue
            if size > 0x80:
                size, start = _long_size(data, size, start)
            elif not tag:
                return found, pos
            stop = start + size
            if stop > end or tag & 0x1F == 0x1F:
                raise MalformedRequest("ASN.1 element is cut off or has an unsupported tag")
            add((tag, pos, start, stop, None))
            pos = stop
    except IndexError:
        raise MalformedRequest("ASN.1 data is cut off") from None
    if pos >= end:
        return found, pos
    raise MalformedRequest("too many ASN.1 elements")


def _indefinite(
    data: bytes, tag: int, start: int, end: int, budget: list[int], depth: int
) -> tuple[list[Element], int]:
    """Read an element of indefinite length; return its children and where its end-of-contents begins."""
    if depth >= MAX_DEPTH:
        raise MalformedRequest("ASN.1 is nested too deeply")
    if not tag & CONSTRUCTED or tag & 0x1F == 0x1F:
        raise MalformedRequest("primitive ASN.1 element of indefinite length, or an unsupported tag")
    kids, stop = _walk(data, start, end, budget, depth + 1)
    budget[0] -= len(kids) + 1
    if budget[0] < 0:
        raise MalformedRequest("too many ASN.1 elements")
    if stop + 2 > end or data[stop] or data[stop + 1]:
        raise MalformedRequest("ASN.1 end-of-contents is missing")
    return kids, stop


def _long_size(data: bytes, head: int, start: int) -> tuple[int, int]:
    """Read a length of several bytes; return it and where the contents begin."""
    after = start + (head & 0x7F)
    if after - start > 8 or after > len(data):  # no length in use needs more than eight bytes
        raise MalformedRequest("ASN.1 length is too large or cut off")
    return int.from_bytes(data[start:after], "big"), after


def raw(data: bytes, element: Element) -> bytes:
    """Return an element with its header: as sent if its length is definite, otherwise rewritten as DER."""
    if element[4] is None:
        return data[element[1] : element[3]]
    return to_der(data, element)


def octets(data: bytes, element: Element) -> bytes:
    """Return the value of an OCTET STRING, implicitly tagged or not, joined if it was sent in segments.

    Raises: MalformedRequest.
    """
    tag, _, start, stop, _ = element
    if not tag & CONSTRUCTED:
        return data[start:stop]
    return b"".join(_segments(data, element, 0, [MAX_ELEMENTS]))


def _segments(data: bytes, element: Element, depth: int, budget: list[int]) -> Iterable[bytes]:
    for part in _counted(data, element, depth, budget):
        if part[0] == OCTETS:
            yield data[part[2] : part[3]]
        elif part[0] == OCTETS | CONSTRUCTED:
            yield from _segments(data, part, depth + 1, budget)
        else:
            raise MalformedRequest("segments of another type inside an OCTET STRING")


def _counted(data: bytes, element: Element, depth: int, budget: list[int]) -> list[Element]:
    """Return the children while descending a whole tree; `budget` is how many elements may still be read."""
    if depth >= MAX_DEPTH:
        raise MalformedRequest("ASN.1 is nested too deeply")
    found = children(data, element)
    budget[0] -= len(found)
    if budget[0] < 0:
        raise MalformedRequest("too many ASN.1 elements")
    return found


def to_der(data: bytes, element: Element) -> bytes:
    """Rewrite an element with definite, shortest lengths and unsegmented strings; sets keep their order.

    Raises: MalformedRequest.
    """
    return _rewrite(data, element, 0, [MAX_ELEMENTS])


def _rewrite(data: bytes, element: Element, depth: int, budget: list[int]) -> bytes:
    tag, _, start, stop, _ = element
    if not tag & CONSTRUCTED:
        return tlv(tag, data[start:stop])
    if tag == OCTETS | CONSTRUCTED:
        return tlv(OCTETS, *_segments(data, element, depth, budget))
    kids = _counted(data, element, depth, budget)
    return tlv(tag, *[_rewrite(data, kid, depth + 1, budget) for kid in kids])


def tlv(tag: int, *parts: bytes) -> bytes:
    """Encode one element whose contents are `parts`, joined."""
    size = sum(map(len, parts))
    if size < 0x80:
        return b"".join((bytes((tag, size)), *parts))
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"".join((bytes((tag, 0x80 | len(length))), length, *parts))


def sequence(*parts: bytes) -> bytes:
    """Encode a SEQUENCE of parts that are already encoded."""
    return tlv(SEQUENCE, *parts)


def set_of(*parts: bytes) -> bytes:
    """Encode a SET OF parts that are already encoded, in DER's order."""
    return tlv(SET, *sorted(parts))


def encode_integer(value: int) -> bytes:
    """Encode an INTEGER that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encode_oid(dotted: str) -> bytes:
    """Encode an OBJECT IDENTIFIER given in dotted form."""
    head, second, *rest = map(int, dotted.split("."))
    out = bytearray()
    for arc in (head * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        out += bytes(reversed(groups))
    return tlv(OID, bytes(out))


def encode_text(value: str) -> bytes:
    """Encode a string: as PrintableString if its characters allow, otherwise as UTF8String."""
    data = value.encode()
    return tlv(PRINTABLE if _PRINTABLE.issuperset(data) else UTF8_STRING, data)


def encode_time(value: datetime) -> bytes:
    """Encode an aware time in whole seconds: UTCTime for the years 1950 to 2049, otherwise GeneralizedTime.

    Source: RFC 5652, 11.3.
    """
    text = value.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").zfill(15).encode()
    return tlv(UTC_TIME, text[2:]) if b"1950" <= text[:4] < b"2050" else tlv(GENERALIZED_TIME, text)
