"""The DEP client: both kinds, over a transport that answers from a function."""

import asyncio
from collections.abc import Callable
from itertools import count

import httpx
import pytest

from micromdm_py.net import dep
from micromdm_py.net.dep import AsyncDepClient, DepClient, DepSessions
from micromdm_py.protocol.dep.faults import DepFault, Meaning
from micromdm_py.protocol.dep.token import DepToken
from tests.fakes.clock import Clock

URL = "https://dep.example.com"
TOKEN = DepToken("CK_1", "CS", "AT", "AS", None)
Handler = Callable[[httpx.Request], httpx.Response]
Ask = Callable[..., bytes]


def sessions() -> DepSessions:
    return DepSessions(user_agent="micromdm/1", now=Clock(), make_nonce=map(str, count()).__next__)


def in_thread(handler: Handler, limit_s: float = 20.0) -> Ask:
    client = DepClient(sessions(), httpx.Client(transport=httpx.MockTransport(handler)), limit_s)
    return lambda *call: client(URL, TOKEN, *call).body


def in_loop(handler: Handler, limit_s: float = 20.0) -> Ask:
    shared = sessions()

    async def ask(*call: object) -> bytes:
        transport = httpx.MockTransport(handler)
        client = AsyncDepClient(shared, httpx.AsyncClient(transport=transport), limit_s)
        try:
            return (await client(URL, TOKEN, *call)).body  # type: ignore[arg-type]  # passed on
        finally:
            await client.aclose()

    return lambda *call: asyncio.run(ask(*call))


@pytest.fixture(params=[in_thread, in_loop])
def make(request: pytest.FixtureRequest) -> Callable[..., Ask]:
    found: Callable[..., Ask] = request.param
    return found


class Service:
    """Opens sessions and gives the answers of a list."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.seen = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if request.url.path == "/session":
            return httpx.Response(200, json={"auth_session_token": f"tok-{len(self.seen)}"})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_calls_share_a_session(make: Callable[..., Ask]) -> None:
    service = Service(httpx.Response(200, content=b"1"), httpx.Response(200, content=b"2"))
    ask = make(service)
    assert [ask("POST", "/devices", b"{}"), ask("GET", "/profile?profile_uuid=a%20b")] == [b"1", b"2"]
    assert [(one.method, str(one.url)) for one in service.seen] == [
        ("GET", f"{URL}/session"),
        ("POST", f"{URL}/devices"),
        ("GET", f"{URL}/profile?profile_uuid=a%20b"),
    ]
    assert service.seen[1].headers["X-ADM-Auth-Session"] == "tok-1"
    assert service.seen[1].content == b"{}"
    assert service.seen[0].headers["Authorization"].startswith("OAuth ")


def test_a_refusal_is_a_fault_with_its_code(make: Callable[..., Ask]) -> None:
    ask = make(Service(httpx.Response(429, headers={"Retry-After": "7"})))
    with pytest.raises(DepFault) as caught:
        ask("POST", "/devices", b"{}")
    assert (caught.value.code, caught.value.retry_after_s) == ("TOO_MANY_REQUESTS", 7)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (httpx.ConnectError("refused"), "no answer from Apple: ConnectError"),
        (httpx.ReadTimeout("late"), "no answer from Apple in time"),
        (OSError("name"), "no answer from Apple: OSError"),
    ],
)
def test_no_answer_is_a_fault_too(make: Callable[..., Ask], fault: Exception, text: str) -> None:
    with pytest.raises(DepFault, match=text) as caught:
        make(Service(fault))("GET", "/account")
    assert caught.value.meaning is Meaning.UNAVAILABLE


def test_an_endless_answer_is_given_up(make: Callable[..., Ask]) -> None:
    body = b"x" * (dep.MAX_ANSWER_BYTES + 1)
    with pytest.raises(DepFault, match="too large"):
        make(Service(httpx.Response(200, content=body)))("GET", "/account")


def test_an_answer_that_takes_too_long_is_given_up_by_a_thread() -> None:
    with pytest.raises(DepFault, match="no answer from Apple in time"):
        in_thread(Service(httpx.Response(200, content=b"x")), limit_s=-1.0)("GET", "/account")


def test_an_answer_that_takes_too_long_is_given_up_by_the_loop() -> None:
    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(DepFault, match="no answer from Apple in time"):
        in_loop(never, limit_s=0.01)("GET", "/account")  # type: ignore[arg-type]  # a transport takes both


def test_tokens_in_use_keep_their_sessions() -> None:
    shared = sessions()
    tokens = [TOKEN, DepToken("CK_2", "", "", "", None)]
    first = [shared.of(URL, token) for token in tokens]
    assert all(shared.of(URL, token) is found for token, found in zip(tokens, first, strict=True))


def test_tokens_of_the_past_are_forgotten() -> None:
    shared = sessions()
    first = shared.of(URL, TOKEN)
    assert shared.of(URL, TOKEN) is first
    for number in range(dep.MAX_SESSIONS):
        shared.of(URL, DepToken(f"CK_{number}", "", "", "", None))
    assert shared.of(URL, TOKEN) is not first
