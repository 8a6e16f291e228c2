"""The way to a declarative-management service, which may answer anything."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from micromdm_py.errors import UpstreamFailed
from micromdm_py.net.ddm import MAX_REPLY_BYTES, HttpDeclarative

URL = "https://dm.example.com/ddm/tokens"


class Steps:
    """A clock that goes on by so many seconds at each look."""

    def __init__(self, step_s: float) -> None:
        self._step_s, self._now = step_s, 0.0

    def __call__(self) -> float:
        self._now += self._step_s
        return self._now


def ask(answer: Callable[[httpx.Request], httpx.Response], step_s: float = 0.0) -> bytes:
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        return HttpDeclarative(client, Steps(step_s)).send("PUT", URL, "U", b"{}").body


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def test_an_answer_comes_in_whole() -> None:
    assert ask(lambda _: httpx.Response(200, content=iter([b"a", b"b"]))) == b"ab"


def test_an_answer_without_end_is_cut_by_its_size() -> None:
    with pytest.raises(UpstreamFailed, match="too large"):
        ask(lambda _: httpx.Response(200, content=endless(bytes(MAX_REPLY_BYTES // 8))))


def test_an_answer_that_drips_is_cut_by_its_time() -> None:
    with pytest.raises(UpstreamFailed, match="too long"):
        ask(lambda _: httpx.Response(200, content=endless(b"x")), step_s=6.0)


@pytest.mark.parametrize(
    "location",
    ["http://dm.example.com/ddm/x", "https://other.example.com/", "https://dm.example.com:444/", "//x/"],
)
def test_a_redirect_to_another_place_is_not_followed(location: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(307, headers={"Location": location})

    with pytest.raises(UpstreamFailed, match="another place"):
        ask(answer)
    assert asked == [URL]


def test_a_redirect_within_the_service_is_followed_a_few_times() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(307, headers={"Location": f"/ddm/{len(asked)}"})

    with pytest.raises(UpstreamFailed, match="too many redirects"):
        ask(answer)
    assert asked == ["/ddm/tokens", "/ddm/1", "/ddm/2", "/ddm/3"]
