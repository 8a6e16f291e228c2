"""The push request and the meaning of what APNs answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micromdm_py.protocol.apns import Fate, InvalidPushToken, push_request, read_reply

TOPIC = "com.apple.mgmt.External.1111"


def test_a_push_has_the_magic_the_topic_and_the_push_type() -> None:
    request = push_request("ab" * 32, 'M"AGIC', TOPIC)
    assert request.path == "/3/device/" + "ab" * 32
    assert json.loads(request.body) == {"mdm": 'M"AGIC'}
    assert dict(request.headers) == {
        "content-type": "application/json",
        "apns-push-type": "mdm",
        "apns-topic": TOPIC,
    }


@pytest.mark.parametrize("expiration", [0, 1_900_000_000])
def test_an_expiration_is_sent_when_asked_for(expiration: int) -> None:
    assert dict(push_request("ab" * 32, "M", TOPIC, expiration).headers)["apns-expiration"] == str(expiration)


@pytest.mark.parametrize(
    "token", ["", "ab" * 31, "ab" * 101, "zz" * 32, "ab" * 32 + "\n", b"fakeToken".hex()]
)
def test_a_token_that_is_not_64_to_200_hex_digits_is_invalid(token: str) -> None:
    with pytest.raises(InvalidPushToken, match=r"^invalid push token$"):
        push_request(token, "M", TOPIC)


@pytest.mark.parametrize("token", ["ab" * 32, "AB" * 100])
def test_short_and_long_tokens_are_valid(token: str) -> None:
    assert push_request(token, "M", TOPIC).path.endswith(token)


@pytest.mark.parametrize(
    ("status", "reason", "fate"),
    [
        (200, "", Fate.ACCEPTED),
        (410, "Unregistered", Fate.DEAD),
        (410, "ExpiredToken", Fate.DEAD),
        (410, "", Fate.DEAD),
        (400, "BadDeviceToken", Fate.DEAD),
        (400, "DeviceTokenNotForTopic", Fate.REFUSED),
        (400, "TopicDisallowed", Fate.REFUSED),
        (413, "PayloadTooLarge", Fate.REFUSED),
        (403, "BadCertificate", Fate.LOCKED_OUT),
        (429, "TooManyRequests", Fate.LATER),
        (500, "InternalServerError", Fate.DOWN),
        (503, "ServiceUnavailable", Fate.DOWN),
    ],
)
def test_the_meaning_of_each_answer(status: int, reason: str, fate: Fate) -> None:
    reply = read_reply(status, {"apns-id": "ID"}, json.dumps({"reason": reason}).encode() if reason else b"")
    assert (reply.fate, reply.apns_id) == (fate, "ID")
    assert reply.reason == (reason or ("" if status == 200 else f"status {status}"))


@given(st.integers(100, 599), st.binary() | st.text().map(str.encode))
def test_any_body_is_survived_and_never_shown(status: int, body: bytes) -> None:
    reply = read_reply(status, {}, body)
    assert reply.reason.replace(" ", "").isalnum() or not reply.reason


def test_a_strange_reason_is_not_repeated() -> None:
    assert read_reply(400, {}, b'{"reason":"a\\nb"}').reason == "status 400"
    assert read_reply(400, {}, b'{"reason":["x"]}').reason == "status 400"
    assert read_reply(400, {}, b"[" * 100_000).reason == "status 400"
