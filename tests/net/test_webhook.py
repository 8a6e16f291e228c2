"""The webhook sender against a real receiver."""

import asyncio
import base64
import hashlib
import hmac
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from micromdm_py.net.tls_context import outgoing_context
from micromdm_py.net.webhook import WebhookSender
from micromdm_py.protocol.delivery import DeliveryResult, Verdict
from micromdm_py.storage.records import StoredEvent
from tests.fakes.certificates import Authority
from tests.fakes.webhook_receiver import Got, Reply, WebhookReceiver

EVENT = StoredEvent(1, "A", "mdm.Connect", datetime(2026, 11, 23, tzinfo=UTC), b'{"topic": "mdm.Connect"}')
HEADERS = (("Authorization", "Bearer receiver-token"), ("X-Tenant", "7"))


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as started:
        yield started


def post(
    url: str,
    *,
    times: int = 1,
    at_once: int = 1,
    headers: tuple[tuple[str, str], ...] = (),
    hmac_key: bytes = b"",
    timeout_s: float = 20.0,
    context: ssl.SSLContext | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[DeliveryResult]:
    async def main() -> list[DeliveryResult]:
        sender = WebhookSender(
            url,
            headers=headers,
            hmac_key=hmac_key,
            user_agent="micromdm/test",
            context=context or outgoing_context(),
            timeout_s=timeout_s,
        )
        results: list[DeliveryResult] = []
        for number in range(times):
            if number:
                between()
            results += await asyncio.gather(*(sender(EVENT) for _ in range(at_once)))
        await sender.aclose()
        return results

    return asyncio.run(main())


def test_what_a_receiver_sees(receiver: WebhookReceiver) -> None:
    assert post(receiver.url + "?token=t") == [DeliveryResult(Verdict.DELIVERED)]
    (got,) = receiver.got
    assert (got.method, got.path, got.body) == ("POST", "/hook?token=t", EVENT.body)
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert got.headers["user-agent"] == "micromdm/test"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-length"] == str(len(EVENT.body))
    assert "x-hmac-signature" not in got.headers
    assert "transfer-encoding" not in got.headers


def test_extra_headers_signature_and_credentials_of_the_url(receiver: WebhookReceiver) -> None:
    url = receiver.url.replace("://", "://us%40er:pass@")
    post(url, headers=HEADERS[1:], hmac_key=b"secret")
    headers = receiver.got[0].headers
    signature = base64.b64encode(hmac.new(b"secret", EVENT.body, hashlib.sha256).digest()).decode()
    assert headers["x-hmac-signature"] == signature
    assert headers["x-tenant"] == "7"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"us@er:pass").decode()
    assert receiver.got[0].path == "/hook"


def test_extra_headers_take_the_place_of_ours(receiver: WebhookReceiver) -> None:
    post(receiver.url.replace("://", "://user:pass@"), headers=(*HEADERS, ("user-agent", "mine")))
    headers = receiver.got[0].headers
    assert (headers["authorization"], headers["user-agent"]) == ("Bearer receiver-token", "mine")


def test_connections_are_kept(receiver: WebhookReceiver) -> None:
    post(receiver.url, times=5)
    assert len({got.port for got in receiver.got}) == 1


def test_each_event_on_its_way_has_its_own_connection(receiver: WebhookReceiver) -> None:
    together = threading.Barrier(4, timeout=20)

    def meet(got: Got) -> Reply:
        together.wait()
        return Reply()

    receiver.answer = meet
    post(receiver.url, times=3, at_once=4)
    assert len({got.port for got in receiver.got}) == 4


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (304, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (500, Verdict.REFUSED),
        (501, Verdict.REFUSED),
        (429, Verdict.UNREACHABLE),
        (502, Verdict.UNREACHABLE),
        (503, Verdict.UNREACHABLE),
        (504, Verdict.UNREACHABLE),
    ],
)
def test_the_meaning_of_each_status(receiver: WebhookReceiver, status: int, verdict: Verdict) -> None:
    receiver.answer = lambda got: Reply(status, {"Retry-After": "11"})
    (result,) = post(receiver.url)
    assert result.verdict is verdict
    assert result.error == ("" if verdict is Verdict.DELIVERED else f"status {status}")
    assert result.retry_after_s == (0 if verdict is Verdict.DELIVERED else 11)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_keeps_method_and_body(receiver: WebhookReceiver, status: int) -> None:
    receiver.answer = lambda got: Reply(status, {"Location": "/new?x=1"}) if got.path == "/hook" else Reply()
    assert post(receiver.url, headers=HEADERS) == [DeliveryResult(Verdict.DELIVERED)]
    assert [(got.method, got.path, got.body) for got in receiver.got] == [
        ("POST", "/hook", EVENT.body),
        ("POST", "/new?x=1", EVENT.body),
    ]
    assert receiver.got[1].headers["authorization"] == "Bearer receiver-token"


@pytest.mark.parametrize(("redirects", "verdict"), [(3, Verdict.DELIVERED), (4, Verdict.REFUSED)])
def test_three_redirects_and_no_more(receiver: WebhookReceiver, redirects: int, verdict: Verdict) -> None:
    def answer(got: Got) -> Reply:
        number = int(got.path.removeprefix("/hook") or 0)
        return Reply(307, {"Location": f"/hook{number + 1}"}) if number < redirects else Reply()

    receiver.answer = answer
    assert post(receiver.url)[0].verdict is verdict
    assert len(receiver.got) == 4


def test_another_origin_gets_the_event_but_not_the_headers_meant_for_the_first(
    receiver: WebhookReceiver,
) -> None:
    with WebhookReceiver() as other:
        receiver.answer = lambda got: Reply(308, {"Location": other.url})
        results = post(receiver.url.replace("://", "://u:p@"), times=2, headers=HEADERS[1:], hmac_key=b"k")
        assert {result.verdict for result in results} == {Verdict.DELIVERED}
        assert [got.body for got in other.got] == [EVENT.body] * 2
        assert "x-tenant" not in other.got[0].headers
        assert "authorization" not in other.got[0].headers
        assert other.got[0].headers["x-hmac-signature"]
        for got in (receiver.got, other.got):
            assert len({one.port for one in got}) == 1  # the connections are kept


@pytest.mark.parametrize("location", ["", "ftp://r.example.com/", "mailto:x"])
def test_a_redirect_to_nowhere_is_a_refusal(receiver: WebhookReceiver, location: str) -> None:
    receiver.answer = lambda got: Reply(307, {"Location": location} if location else {})
    assert post(receiver.url)[0] == DeliveryResult(Verdict.REFUSED, "status 307 to an unusable location")


def test_no_answer_in_time(receiver: WebhookReceiver) -> None:
    never = threading.Event()
    receiver.answer = lambda got: Reply(after=never)
    assert post(receiver.url, timeout_s=0.05) == [
        DeliveryResult(Verdict.UNREACHABLE, "no answer within 0.05 s")
    ]
    never.set()


def test_nobody_there() -> None:
    with WebhookReceiver() as gone:
        pass
    (result,) = post(gone.url + "?token=secret")
    assert result.verdict is Verdict.UNREACHABLE
    assert "secret" not in result.error


def test_a_host_that_cannot_be_looked_up_is_no_fault_of_the_program(receiver: WebhookReceiver) -> None:
    receiver.answer = lambda got: Reply(307, {"Location": f"http://{'a' * 70}.invalid/"})
    assert post(receiver.url)[0].verdict is Verdict.UNREACHABLE


def test_an_answer_cut_off(receiver: WebhookReceiver) -> None:
    receiver.answer = lambda got: Reply(0)
    assert post(receiver.url) == [DeliveryResult(Verdict.UNREACHABLE, "RemoteProtocolError")]


def test_a_kept_connection_that_the_receiver_closes_costs_no_failure(receiver: WebhookReceiver) -> None:
    answers = iter([Reply(), Reply(0), Reply()])
    receiver.answer = lambda got: next(answers)
    results = post(receiver.url, times=2)
    assert {result.verdict for result in results} == {Verdict.DELIVERED}
    assert len(receiver.got) == 3


def test_a_receiver_that_cuts_off_a_new_connection_too_has_failed(receiver: WebhookReceiver) -> None:
    answers = iter([Reply(), Reply(0), Reply(0)])
    receiver.answer = lambda got: next(answers, Reply())
    results = post(receiver.url, times=2)
    assert [result.verdict for result in results] == [Verdict.DELIVERED, Verdict.UNREACHABLE]
    assert len(receiver.got) == 3


def test_a_huge_answer_is_not_read_to_its_end(receiver: WebhookReceiver) -> None:
    receiver.answer = lambda got: Reply(body=b"x" * 3_000_000)
    assert [result.verdict for result in post(receiver.url, times=2)] == [Verdict.DELIVERED] * 2
    assert len({got.port for got in receiver.got}) == 2


def test_an_untrusted_receiver_gets_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(authority.server_file)

    async def main() -> tuple[DeliveryResult, DeliveryResult, int]:
        heard = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal heard
            await reader.readuntil(b'mdm.Connect"}')
            heard += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        results = []
        for context in (outgoing_context(), outgoing_context(str(authority.file))):
            sender = WebhookSender(url, user_agent="micromdm/test", context=context)
            results.append(await sender(EVENT))
            await sender.aclose()
        server.close()
        return results[0], results[1], heard

    untrusted, trusted, heard = asyncio.run(main())
    assert untrusted.verdict is Verdict.UNREACHABLE
    assert "certificate" in untrusted.error.lower()
    assert (trusted.verdict, heard) == (Verdict.DELIVERED, 1)
