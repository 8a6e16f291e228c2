"""Forms with files, read part by part as they arrive; nothing but the piece at hand is held."""

from collections.abc import Iterator

import falcon
from falcon.media import MultipartFormHandler
from falcon.media.multipart import BodyPart, MultipartForm

from micromdm_py.errors import MalformedField
from micromdm_py.http.body import stream_body

__all__ = ["form_parts"]

_FORM = "multipart/form-data"
_PIECE_BYTES = 1 << 16
_NO_END = 1 << 62
_BROKEN = (falcon.HTTPError, ValueError)  # what falcon raises for a form that is wrong; ValueError: not text


def form_parts(req: falcon.Request) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Read a form, however large it is and however long it takes.

    Yields: name of each field with its content; what has not been read of one is skipped before the next.
    Raises: MalformedField; MalformedRequest when the body breaks off.
    """
    content_type: str = req.env.get("CONTENT_TYPE", "")
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise MalformedField("Content-Type", f"isn't {_FORM}")
    body = _Body(stream_body(req))
    try:
        form: MultipartForm = MultipartFormHandler().deserialize(body, content_type, _NO_END)
        for part in form:
            yield part.name or "", _content(part)
    except _BROKEN as fault:
        raise MalformedField("body", f"is not a valid form: {_reason(fault)}") from fault
    body.skip()


def _content(part: BodyPart) -> Iterator[bytes]:
    while piece := part.stream.read(_PIECE_BYTES):
        yield piece


def _reason(fault: Exception) -> str:
    return getattr(fault, "description", None) or str(fault)


class _Body:
    """Pieces as something to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, size: int | None = None, /) -> bytes:
        piece = self._rest or next(self._pieces, b"")
        end = len(piece) if size is None else size
        self._rest = piece[end:]
        return piece[:end]

    def skip(self) -> None:
        """Read what follows the form, so that another request can come on the connection."""
        for _ in self._pieces:
            pass
