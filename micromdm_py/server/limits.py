"""The limits on what a client may cost: sizes and times."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are bytes, times seconds.

    Attributes:
        request_line_bytes: longest request line; a SCEP message in a query is about 6 kB.
        head_bytes: request line and all header fields together.
        fields: number of header fields.
        buffered_body_bytes: a body up to this size is collected without occupying a thread; the thread that
            serves the request reads the rest of a larger one.
        head_s: from the first byte (or from accepting the connection) to the end of the head; also for the
            TLS handshake.
        body_s: time for a body of any size, and for sending an answer.
        bytes_per_s: after ``body_s``, clients slower than this on average are cut.
        idle_s: how long a kept-alive connection may wait for its next request.
        linger_s: how long input is discarded after an answer that was sent before the end of the body.
        stop_idle_s: how long connections without a complete head stay open when the server stops.
        stop_s: how long requests may continue when the server stops.
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
