"""The way to the enrollment hook: what is sent, and what it may answer."""

import base64
import hashlib
import hmac

import httpx
import pytest

from micromdm_py.errors import UpstreamFailed
from micromdm_py.net.enrollment_hook import HttpHook
from micromdm_py.service.enrollment_hook import HookReply

URL = "https://hook.example.com/enroll"


def hook(answer: httpx.Response | Exception, key: bytes = b"") -> tuple[HttpHook, list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return HttpHook(URL, key, httpx.Client(transport=httpx.MockTransport(handle))), asked


def test_question_is_posted_as_json_and_the_answer_taken_whatever_its_status() -> None:
    ask, asked = hook(httpx.Response(403, content=b"no"))
    assert ask(b'{"a": 1}') == HookReply(403, b"no")
    (request,) = asked
    assert (request.method, str(request.url), request.read()) == ("POST", URL, b'{"a": 1}')
    assert request.headers["content-type"] == "application/json"
    assert "x-hmac-signature" not in request.headers


def test_question_is_signed_as_events_are() -> None:
    ask, asked = hook(httpx.Response(200), b"key")
    ask(b"{}")
    expected = base64.b64encode(hmac.digest(b"key", b"{}", hashlib.sha256)).decode()
    assert asked[0].headers["x-hmac-signature"] == expected


def test_redirect_is_an_answer_like_others() -> None:
    ask, asked = hook(httpx.Response(307, headers={"Location": "https://elsewhere.example.com/"}))
    assert (ask(b"{}").status, len(asked)) == (307, 1)


def test_answer_may_not_be_endless() -> None:
    ask, _ = hook(httpx.Response(200, content=bytes(1 << 17)))
    with pytest.raises(UpstreamFailed, match="too large"):
        ask(b"{}")


@pytest.mark.parametrize("fault", [httpx.ConnectError("x"), httpx.ReadTimeout("x")])
def test_no_answer_is_an_error(fault: Exception) -> None:
    ask, _ = hook(fault)
    with pytest.raises(UpstreamFailed, match=type(fault).__name__):
        ask(b"{}")
