"""Both senders against a small APNs: HTTP/2, client certificates, faults."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.net.apns import ApnsSender, AsyncApnsSender
from micromdm_py.protocol.apns import Fate, PushReply, PushRequest, push_request
from micromdm_py.storage.records import PushCertificate
from tests.fakes.apns_server import APNS_ID, Answer, ApnsServer, Cut, GoAway, Push, Reaction
from tests.fakes.certificates import push_certificate

TOPIC = "com.apple.mgmt.External.1111"
TOKEN = "ab" * 32
REQUEST = push_request(TOKEN, "magic", TOPIC, 1_900_000_000)
Send = Callable[[PushCertificate, PushRequest], PushReply]


class Once:
    """Reacts to the first push in one way and to all others with 200."""

    def __init__(self, first: Reaction) -> None:
        self.first: Reaction | None = first

    def __call__(self, push: Push) -> Reaction:
        first, self.first = self.first, None
        return first or Answer()


@pytest.fixture(params=["loop", "thread"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def certificate() -> PushCertificate:
    return push_certificate(TOPIC)


class Sending:
    """Either sender, for one push after another."""

    def __init__(self, kind: str, server: ApnsServer, url: str = "", ca_file: str = "") -> None:
        where = (url or server.url, ca_file or server.ca_file)
        self._runner = asyncio.Runner()
        self._async = AsyncApnsSender(*where, user_agent="micromdm/test")
        self._sync = ApnsSender(*where, user_agent="micromdm/test")
        self._kind = kind

    def __call__(self, certificate: PushCertificate, request: PushRequest = REQUEST) -> PushReply:
        if self._kind == "thread":
            return self._sync(certificate, request)

        async def one() -> PushReply:
            return await self._async(certificate, request)

        return self._runner.run(one())

    def __enter__(self) -> "Sending":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._async.aclose())
        self._runner.close()
        self._sync.close()


def test_a_push_over_http2_with_the_push_certificate(
    kind: str, certificate: PushCertificate, tmp_path: Path
) -> None:
    with (
        ApnsServer(tmp_path, accepted=(certificate.certificate,)) as server,
        Sending(kind, server) as send,
    ):
        assert send(certificate) == PushReply(Fate.ACCEPTED, APNS_ID)
        assert send(certificate).fate is Fate.ACCEPTED
        assert server.connections == 1
        push = server.pushes[0]
        assert (
            x509.load_der_x509_certificate(push.certificate).public_bytes(Encoding.PEM)
            == certificate.certificate
        )
        assert (push.token, push.body) == (TOKEN, b'{"mdm":"magic"}')
        wanted = {
            ":method": "POST",
            "content-type": "application/json",
            "content-length": "15",
            "apns-topic": TOPIC,
            "apns-push-type": "mdm",
            "apns-expiration": "1900000000",
            "user-agent": "micromdm/test",
        }
        assert {name: push.headers[name] for name in wanted} == wanted


def test_the_reason_and_the_wait_that_apns_gives(
    kind: str, certificate: PushCertificate, tmp_path: Path
) -> None:
    refusal = Answer(429, b'{"reason":"TooManyRequests"}', {"retry-after": "7"})
    with ApnsServer(tmp_path, lambda push: refusal) as server, Sending(kind, server) as send:
        assert send(certificate) == PushReply(Fate.LATER, APNS_ID, "TooManyRequests", 7.0)


@pytest.mark.parametrize("fault", [GoAway(), Cut()])
def test_after_a_broken_connection_the_next_push_opens_another(
    kind: str, fault: Reaction, certificate: PushCertificate, tmp_path: Path
) -> None:
    with ApnsServer(tmp_path, Once(fault)) as server, Sending(kind, server) as send:
        first = send(certificate)
        # After GOAWAY the library may have repeated the push by itself: the server had not handled it.
        assert first.fate in (Fate.DOWN, Fate.ACCEPTED)
        assert isinstance(fault, GoAway) or first.reason.startswith("connection failed")
        assert send(certificate).fate is Fate.ACCEPTED
        assert server.connections == 2


def test_a_connection_that_was_cut_while_idle_is_replaced(
    kind: str, certificate: PushCertificate, tmp_path: Path
) -> None:
    with ApnsServer(tmp_path) as server, Sending(kind, server) as send:
        assert send(certificate).fate is Fate.ACCEPTED
        server.drop_connections()
        assert Fate.ACCEPTED in {send(certificate).fate, send(certificate).fate}
        assert server.connections == 2


def test_another_certificate_of_the_topic_gets_a_connection_of_its_own(kind: str, tmp_path: Path) -> None:
    old, new = push_certificate(TOPIC), push_certificate(TOPIC)
    with (
        ApnsServer(tmp_path, accepted=(old.certificate, new.certificate)) as server,
        Sending(kind, server) as send,
    ):
        for certificate in (old, new, new):
            assert send(certificate).fate is Fate.ACCEPTED
        assert server.connections == 2
        assert server.pushes[0].certificate != server.pushes[1].certificate


def test_a_certificate_that_the_other_side_refuses_locks_us_out(
    kind: str, certificate: PushCertificate, tmp_path: Path
) -> None:
    with (
        ApnsServer(tmp_path, accepted=(push_certificate(TOPIC).certificate,)) as server,
        Sending(kind, server) as send,
    ):
        reply = send(certificate)
        assert reply.fate in (Fate.LOCKED_OUT, Fate.DOWN)
        assert server.pushes == []


def test_a_certificate_that_cannot_be_used_is_a_reply(kind: str, tmp_path: Path) -> None:
    broken = replace(push_certificate(TOPIC), key=b"no key")
    with ApnsServer(tmp_path) as server, Sending(kind, server) as send:
        reply = send(broken)
        assert reply.fate is Fate.LOCKED_OUT
        assert "unusable" in reply.reason


def test_a_server_of_an_unknown_authority_is_not_trusted(
    kind: str, certificate: PushCertificate, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        ApnsServer(tmp_path) as server,
        ApnsServer(tmp_path_factory.mktemp("other")) as other,
        Sending(kind, server, ca_file=other.ca_file) as send,
    ):
        assert send(certificate).fate is Fate.DOWN
        assert server.pushes == []


def test_nobody_there_is_a_reply(kind: str, certificate: PushCertificate, tmp_path: Path) -> None:
    with ApnsServer(tmp_path) as server:
        pass
    with Sending(kind, server) as send:
        assert send(certificate).fate is Fate.DOWN


def test_the_loop_sends_many_pushes_at_once_over_one_connection(
    certificate: PushCertificate, tmp_path: Path
) -> None:
    async def story(server: ApnsServer) -> list[PushReply]:
        sender = AsyncApnsSender(server.url, server.ca_file, user_agent="micromdm/test")
        warm = await sender(certificate, REQUEST)
        server.gather = 20
        replies = await asyncio.gather(*(sender(certificate, REQUEST) for _ in range(60)))
        await sender.aclose()
        return [warm, *replies]

    with ApnsServer(tmp_path) as server:
        replies = asyncio.run(story(server))
        assert {reply.fate for reply in replies} == {Fate.ACCEPTED}
        assert (len(server.pushes), server.connections) == (61, 1)


def test_many_pushes_at_once_survive_going_away(certificate: PushCertificate, tmp_path: Path) -> None:
    count = iter(range(1000))

    def sometimes(push: Push) -> Reaction:
        return GoAway() if next(count) % 25 == 24 else Answer()

    async def story(server: ApnsServer) -> int:
        sender = AsyncApnsSender(server.url, server.ca_file, user_agent="micromdm/test")
        accepted = 0
        while accepted < 100:
            replies = await asyncio.gather(*(sender(certificate, REQUEST) for _ in range(20)))
            accepted += sum(reply.fate is Fate.ACCEPTED for reply in replies)
            assert {reply.fate for reply in replies} <= {Fate.ACCEPTED, Fate.DOWN}
        await sender.aclose()
        return accepted

    with ApnsServer(tmp_path, sometimes) as server:
        assert asyncio.run(story(server)) >= 100


def test_threads_do_not_wait_for_each_other(certificate: PushCertificate, tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=20)

    def meet(push: Push) -> Reaction:
        together.wait()
        return Answer()

    with ApnsServer(tmp_path, meet) as server, ThreadPoolExecutor(4) as pool:
        sender = ApnsSender(server.url, server.ca_file, user_agent="micromdm/test")
        for _ in range(2):
            replies = list(pool.map(lambda _: sender(certificate, REQUEST), range(4)))
            assert {reply.fate for reply in replies} == {Fate.ACCEPTED}
        sender.close()
        assert server.connections == 4
