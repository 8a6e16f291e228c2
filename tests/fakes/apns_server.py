"""A small APNs: HTTP/2 over TLS with client certificates, also behind an HTTP proxy of its own (CONNECT)."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.fakes.certificates import Authority

APNS_ID = "EC1BF194-B3B2-424A-89A9-5A918A6E6B5D"


@dataclass(frozen=True)
class Push:
    """One request as it came."""

    connection: int
    certificate: bytes
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return self.headers[":path"].removeprefix("/3/device/")


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GoAway:
    """Close the connection in order; the request is not handled."""


@dataclass(frozen=True)
class Cut:
    """Close the connection without a word."""


Reaction = Answer | GoAway | Cut


class ApnsServer:
    """Answers with `answer(push)`; keeps what came in `pushes`.

    Args:
        folder: for certificates.
        answer: decides about each request.
        gather: requests are answered only when so many wait on a connection: it multiplexes.
        accepted: PEM of the push certificates that are accepted; without any, none is asked for.
        streams: how many requests a connection may carry at once.
    """

    def __init__(
        self,
        folder: Path,
        answer: Callable[[Push], Reaction] = lambda push: Answer(),
        *,
        gather: int = 1,
        accepted: tuple[bytes, ...] = (),
        streams: int = 100,
    ) -> None:
        self.answer, self.gather, self._streams = answer, gather, streams
        self.pushes: list[Push] = []
        self.connections = 0
        self.tunnels: list[str] = []
        self._arrived = threading.Condition()
        self._links: list[socket.socket] = []
        authority = Authority(folder)
        self.ca_file = str(authority.file)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.server_file)
        self._context.set_alpn_protocols(["h2"])
        if accepted:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(cadata=b"".join(accepted).decode())
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.url = f"https://127.0.0.1:{self._listeners[0].getsockname()[1]}"
        self.proxy_url = f"http://127.0.0.1:{self._listeners[1].getsockname()[1]}"

    def __enter__(self) -> "ApnsServer":
        for listener, serve in zip(self._listeners, (self._direct, self._proxied), strict=True):
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Cut all connections there are."""
        with self._arrived:
            links, self._links = self._links, []
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def wait_for(self, count: int, limit_s: float = 20.0) -> list[Push]:
        """All pushes so far, when there are at least `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.pushes) >= count, limit_s), len(self.pushes)
            return list(self.pushes)

    def _accept(self, listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                threading.Thread(target=self._guard, args=(link, serve), daemon=True).start()

    def _guard(self, link: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError), link:
            serve(link)

    def _proxied(self, link: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = link.recv(1)
            if not part:
                return
            head += part
        self.tunnels.append(head.split(b"\r\n")[0].decode())
        link.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._direct(link)

    def _direct(self, link: socket.socket) -> None:
        with self._context.wrap_socket(link, server_side=True) as secure:
            with self._arrived:
                self._links.append(secure)
                self.connections += 1
                number = self.connections
            self._http2(secure, number)

    def _http2(self, link: ssl.SSLSocket, number: int) -> None:
        certificate = link.getpeercert(binary_form=True) or b""
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        http = h2.connection.H2Connection(config)
        http.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self._streams})
        http.initiate_connection()
        link.sendall(http.data_to_send())
        open_streams: dict[int, tuple[dict[str, str], bytearray]] = {}
        complete: list[int] = []
        while data := link.recv(65535):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    open_streams[event.stream_id] = (
                        {str(k): str(v) for k, v in event.headers},
                        bytearray(),
                    )
                elif isinstance(event, h2.events.DataReceived):
                    open_streams[event.stream_id][1].extend(event.data)
                    http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    complete.append(event.stream_id)
            if len(complete) >= self.gather:
                for stream in complete:
                    headers, body = open_streams.pop(stream)
                    if not self._react(http, stream, Push(number, certificate, headers, bytes(body)), link):
                        return
                complete = []
            link.sendall(http.data_to_send())

    def _react(self, http: h2.connection.H2Connection, stream: int, push: Push, link: ssl.SSLSocket) -> bool:
        reaction = self.answer(push)
        with self._arrived:
            self.pushes.append(push)
            self._arrived.notify_all()
        if isinstance(reaction, Cut):
            return False
        if isinstance(reaction, GoAway):
            http.close_connection(last_stream_id=max(stream - 2, 0))
            link.sendall(http.data_to_send())
            return False
        headers = [(":status", str(reaction.status)), ("apns-id", APNS_ID), *reaction.headers.items()]
        http.send_headers(stream, headers, end_stream=not reaction.body)
        if reaction.body:
            http.send_data(stream, reaction.body, end_stream=True)
        return True
