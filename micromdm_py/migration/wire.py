"""The wire form of protocol buffers: numbered fields, as far as MicroMDM's messages use it.

Source: protobuf.dev, "Encoding". Groups and packed lists do not occur.
"""

from collections.abc import Iterator

from micromdm_py.errors import BadDatabase

__all__ = ["Field", "bytes_field", "fields", "number_field"]

Field = tuple[int, int | bytes]
"""Number and value: bytes of a length-delimited field, the bits of any other as a number."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST = (1 << 64) - 1
_FIXED = {_FIXED64: 8, _FIXED32: 4}


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in their order.

    Raises: BadDatabase when the bytes are no message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number or number >= 1 << 29:
            raise BadDatabase(f"a message has a field numbered {number}")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise BadDatabase(f"field {number} of a message is of the unknown kind {kind}")
        if size > len(data) - at:
            raise BadDatabase(f"field {number} of a message is cut off")
        value_bytes = data[at : at + size]
        at += size
        yield number, value_bytes if kind == _BYTES else int.from_bytes(value_bytes, "little")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise BadDatabase("a message is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise BadDatabase("a message has a number longer than 64 bits")
    if value > _LARGEST:
        raise BadDatabase("a message has a number longer than 64 bits")
    return value, at


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(number: int, value: int) -> bytes:
    """A field that is a number; negative ones as 64-bit two's complement."""
    return _encode_varint(number << 3 | _VARINT) + _encode_varint(value & _LARGEST)


def bytes_field(number: int, value: bytes) -> bytes:
    """A field that is bytes, a text in UTF-8 or a message."""
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(value)) + value
