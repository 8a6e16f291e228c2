"""What a client may cost: sizes and times, in one value."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are bytes, times seconds.

    Attributes:
        request_line_bytes: longest request line; a SCEP message in a query is about 6 kB.
        head_bytes: request line and all header fields together.
        fields: number of header fields.
        buffered_body_bytes: a body up to this size is collected without a thread; the rest of a
            larger one is read by the thread that serves the request.
        head_s: from the first byte (or the connection) to the end of the header; TLS handshake too.
        body_s: time for a body, whatever its size; sending an answer has the same.
        bytes_per_s: slower than this after ``body_s`` is cut.
        idle_s: how long a kept connection may wait for its next request.
        linger_s: how long input is thrown away after an answer that came before the end of the body.
        stop_idle_s: how long connections without a complete header stay open when the server stops.
        stop_s: how long requests may go on when the server stops.
    """

    request_line_bytes: int = 8190
    head_bytes: int = 1 << 20
    fields: int = 100
    buffered_body_bytes: int = 1 << 16
    head_s: float = 10.0
    body_s: float = 60.0
    bytes_per_s: int = 16 << 10
    idle_s: float = 60.0
    linger_s: float = 30.0
    stop_idle_s: float = 0.5
    stop_s: float = 30.0
