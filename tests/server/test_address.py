"""Listen addresses."""

import socket

import pytest

from micromdm_py.errors import StartupError
from micromdm_py.server.address import Address, listen, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":https", Address("", 443)),
        (":http", Address("", 80)),
        (":8080", Address("", 8080)),
        ("127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("[::1]:443", Address("::1", 443)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8080", "localhost", "::1:443", "[::1]", "a:b:c"])
def test_bad_addresses_are_named(text: str) -> None:
    with pytest.raises(
        StartupError, match="calling ListenAndServe: httputil: couldn't parse address"
    ) as caught:
        parse_address(text)
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize("text", [":nope", ":65536", ":-1", ":"])
def test_bad_ports_are_named(text: str) -> None:
    with pytest.raises(StartupError, match=r"creating TCP Listener: listen tcp: lookup tcp/.*: unknown port"):
        parse_address(text)


def test_no_host_is_every_interface() -> None:
    with listen(Address("", 0)) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("[::1]:443", ":8080", "127.0.0.1:9000"):
        assert str(parse_address(text)) == text
