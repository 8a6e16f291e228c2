"""Pushes on request over HTTP, in both spellings."""

import pytest

from micromdm_py.errors import Busy, Conflict, MdmError, NotConfigured, NotFound, TokenDead, UpstreamFailed
from tests.http.bench import Bench

SPELLINGS = [("POST", "/v1/push/"), ("GET", "/push/")]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(("method", "path"), SPELLINGS)
def test_a_push_is_answered_with_its_id(bench: Bench, method: str, path: str) -> None:
    answer = bench.ask(method, path + "U%3AUSER")
    assert answer.status == 200
    assert answer.json() == {"status": "success", "push_notification_id": "id-1"}
    assert bench.push.asked == [("U:USER", None)]


@pytest.mark.parametrize(("method", "path"), SPELLINGS)
@pytest.mark.parametrize(
    ("query", "expiration"),
    [("", None), ("expiration=", None), ("expiration=0", 0), ("expiration=1893456000", 1893456000)],
)
def test_an_expiration_comes_by_query(
    bench: Bench, method: str, path: str, query: str, expiration: int | None
) -> None:
    assert bench.ask(method, f"{path}U?{query}").status == 200
    assert bench.push.asked == [("U", expiration)]


@pytest.mark.parametrize(("method", "path"), SPELLINGS)
@pytest.mark.parametrize("text", ["tomorrow", "-1", "1.5", "0x10", "%D9%A1", "9" * 13, "1 "])
def test_any_other_expiration_is_400_and_nobody_is_pushed(
    bench: Bench, method: str, path: str, text: str
) -> None:
    answer = bench.ask(method, f"{path}U?expiration={text}".replace(" ", "%20"))
    assert (answer.status, answer.error) == (400, "expiration: must be seconds since 1970")
    assert bench.push.asked == []


@pytest.mark.parametrize(("method", "path"), SPELLINGS)
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (NotFound("no push data"), 404),
        (TokenDead("token refused since"), 409),
        (Conflict("ambiguous"), 409),
        (UpstreamFailed("BadDeviceToken"), 502),
        (NotConfigured("no push certificate"), 503),
        (Busy("too many"), 503),
    ],
)
def test_a_failed_push_says_why(bench: Bench, method: str, path: str, fault: MdmError, status: int) -> None:
    bench.push.answer = fault
    answer = bench.ask(method, path + "U")
    assert (answer.status, answer.error) == (status, str(fault))


@pytest.mark.parametrize(("method", "path"), SPELLINGS)
@pytest.mark.parametrize("udid", ["%00", "%FE", "x" * 256])
def test_an_id_that_cannot_be_is_400(bench: Bench, method: str, path: str, udid: str) -> None:
    assert bench.ask(method, path + udid).status == 400
    assert bench.push.asked == []
