"""Token files as the portal gives them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.dep.token import DepToken, open_token_file, parse_token, read_time
from micromdm_py.protocol.enveloped import encrypt
from tests.protocol.crypto_samples import certificate, random_bytes, rsa_key

FILE = (Path(__file__).parents[2] / "data" / "dep" / "token.p7m").read_bytes()
PAIR = (rsa_key("device"), certificate("device"))
OTHER = (rsa_key("ca"), certificate("ca"))
TOKEN = DepToken("CK_0123456789abcdef", "CS_x", "AT_x", "AS_x", datetime(2027, 6, 1, tzinfo=UTC))


def sealed(content: bytes) -> bytes:
    return encrypt(content, PAIR[1], "aes128-cbc", random_bytes())


@pytest.mark.parametrize("content", [FILE, FILE.replace(b"\r\n", b"\n"), FILE.partition(b"\n\n")[2]])
def test_a_token_file_is_opened(content: bytes) -> None:
    assert open_token_file(content, [PAIR]) == TOKEN


def test_an_older_key_pair_opens_it_too() -> None:
    assert open_token_file(FILE, [OTHER, PAIR]) == TOKEN


def test_a_file_for_another_key_says_so() -> None:
    with pytest.raises(
        MalformedField,
        match=r"not a token file for this server's public key: .*not encrypted for this certificate",
    ):
        open_token_file(FILE, [OTHER])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a token file"),
        (b"no base64: at all\n\n***", "is not an S/MIME file"),
        (b"x" * (1 << 19), "larger"),
        (FILE[:400], "is not"),
        (sealed(b"nothing between marks"), "contains no message"),
        (sealed(b"-----BEGIN MESSAGE-----[]-----END MESSAGE-----"), "contains no token"),
        (sealed(b"-----BEGIN MESSAGE-----{]-----END MESSAGE-----"), "contains no token"),
        (sealed(b'-----BEGIN MESSAGE-----{"consumer_key": 1}-----END MESSAGE-----'), "without consumer_key"),
    ],
)
def test_what_is_no_token_file_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(MalformedField, match=reason) as caught:
        open_token_file(content, [PAIR])
    assert caught.value.field == "p7m_content"


def test_secrets_are_not_shown() -> None:
    shown = repr(TOKEN)
    assert "CK_" in shown
    assert not any(secret in shown for secret in ("CS_x", "AT_x", "AS_x"))


def test_an_expiry_that_is_no_time_is_unknown() -> None:
    text = b'{"consumer_key":"a","consumer_secret":"b","access_token":"c","access_secret":"d"}'
    assert parse_token(text).expires_at is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2027-06-01T02:00:00+02:00", datetime(2027, 6, 1, tzinfo=UTC)),
        ("2027-06-01T00:00:00.123456789Z", datetime(2027, 6, 1, 0, 0, 0, 123456, UTC)),
        ("2027-06-01T00:00:00.5Z", datetime(2027, 6, 1, 0, 0, 0, 500000, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("2027-13-01T00:00:00Z", None),
        ("tomorrow", None),
    ],
)
def test_times(text: str, at: datetime | None) -> None:
    assert read_time(text) == at
