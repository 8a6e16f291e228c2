"""Sessions: the OAuth step, renewal, and what refusals become."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from micromdm_py.protocol.dep.faults import REMEDIES, DepFault, Meaning
from micromdm_py.protocol.dep.session import Answer, Call, Session, authorization, fault_of
from micromdm_py.protocol.dep.token import DepToken
from tests.fakes.clock import Clock

TOKEN = DepToken("CK & 1", "CS/secret", "AT+é", "AS%", None)
URL = "https://mdmenrollment.example.com"


def opened(value: str = "session-1") -> Answer:
    return Answer(200, b'{"auth_session_token": "%s"}' % value.encode())


class Talk:
    """A session and the calls it makes, answered from a list."""

    def __init__(self) -> None:
        self.clock, self.calls = Clock(), list[Call]()
        self.session = Session(
            TOKEN, URL, user_agent="micromdm/1", now=self.clock, make_nonce=iter("abcdefgh").__next__
        )

    def ask(self, *answers: Answer) -> Answer:
        script: Iterator[Answer] = iter(answers)
        talk = self.session.converse("POST", "/devices", b"{}")
        try:
            call = next(talk)
            while True:
                self.calls.append(call)
                call = talk.send(next(script))
        except StopIteration as end:
            assert list(script) == []
            answer: Answer = end.value
            return answer

    @property
    def paths(self) -> list[str]:
        return [call.path for call in self.calls]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_the_signature_is_that_of_the_standard(talk: Talk) -> None:
    header = authorization(TOKEN, f"{URL}/session", "abc123", talk.clock())
    fields = {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', header)}
    assert header.startswith('OAuth oauth_consumer_key="CK%20%26%201", ')
    base = (
        "GET&https%3A%2F%2Fmdmenrollment.example.com%2Fsession&oauth_consumer_key%3DCK%2520%2526%25201%26"
        "oauth_nonce%3Dabc123%26oauth_signature_method%3DHMAC-SHA1%26"
        f"oauth_timestamp%3D{int(talk.clock().timestamp())}%26"
        "oauth_token%3DAT%252B%25C3%25A9%26oauth_version%3D1.0"
    )
    key = b"CS%2Fsecret&AS%25"
    wanted = base64.b64encode(hmac.new(key, base.encode(), hashlib.sha1).digest()).decode()
    assert fields["oauth_signature"] == wanted


def test_a_session_is_opened_once_and_kept(talk: Talk) -> None:
    assert talk.ask(opened(), Answer(200, b"1")).body == b"1"
    assert talk.ask(Answer(200, b"2")).body == b"2"
    assert talk.paths == ["/session", "/devices", "/devices"]
    first = talk.calls[1]
    assert first.headers["X-ADM-Auth-Session"] == "session-1"
    assert first.headers["X-Server-Protocol-Version"] == "3"
    assert "Authorization" not in first.headers


def test_it_is_opened_again_after_three_minutes(talk: Talk) -> None:
    talk.ask(opened(), Answer(200, b""))
    talk.clock.move(180)
    talk.ask(opened("session-2"), Answer(200, b""))
    assert talk.calls[-1].headers["X-ADM-Auth-Session"] == "session-2"


def test_a_token_in_an_answer_is_used_from_then_on(talk: Talk) -> None:
    talk.ask(opened(), Answer(200, b"", {"x-adm-auth-session": "session-9"}))
    talk.ask(Answer(200, b""))
    assert talk.calls[-1].headers["X-ADM-Auth-Session"] == "session-9"


@pytest.mark.parametrize("status", [401, 403])
def test_a_session_that_has_ended_is_renewed_once(talk: Talk, status: int) -> None:
    talk.ask(opened(), Answer(200, b""))
    assert talk.ask(Answer(status, b"UNAUTHORIZED"), opened("session-2"), Answer(200, b"x")).body == b"x"
    talk.calls.clear()
    with pytest.raises(DepFault) as caught:
        talk.ask(Answer(status, b""), opened(), Answer(status, b""))
    assert caught.value.status == status
    assert talk.paths == ["/devices", "/session", "/devices"]


def test_terms_that_nobody_has_accepted_are_told_at_once(talk: Talk) -> None:
    with pytest.raises(DepFault, match=r"T_C_NOT_SIGNED .*terms and conditions") as caught:
        talk.ask(opened(), Answer(403, b'"T_C_NOT_SIGNED"'))
    assert caught.value.meaning is Meaning.REFUSED


def test_a_refused_session_ends_the_call(talk: Talk) -> None:
    challenge = {"www-authenticate": 'OAuth realm="ADM", oauth_problem="token_expired"'}
    with pytest.raises(DepFault, match=r"token_expired .*download a new token file"):
        talk.ask(Answer(401, b"", challenge))
    assert talk.paths == ["/session"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"auth_session_token": "a\\nb"}', b"[" * 99_999])
def test_an_answer_without_session_is_a_fault(talk: Talk, body: bytes) -> None:
    with pytest.raises(DepFault, match="no session token"):
        talk.ask(Answer(200, body))


@pytest.mark.parametrize(
    ("status", "body", "code", "meaning"),
    [
        (400, b"EXPIRED_CURSOR", "EXPIRED_CURSOR", Meaning.START_AGAIN),
        (400, b'"INVALID_CURSOR"\n', "INVALID_CURSOR", Meaning.START_AGAIN),
        (400, b"CURSOR_REQUIRED", "CURSOR_REQUIRED", Meaning.START_AGAIN),
        (400, b"EXHAUSTED_CURSOR", "EXHAUSTED_CURSOR", Meaning.ALL_FETCHED),
        (403, b'{"code": "T_C_NOT_SIGNED", "message": "x"}', "T_C_NOT_SIGNED", Meaning.REFUSED),
        (403, b"", "FORBIDDEN", Meaning.SESSION_OVER),
        (403, b"ACCESS_DENIED", "ACCESS_DENIED", Meaning.REFUSED),
        (429, b"", "TOO_MANY_REQUESTS", Meaning.TOO_MANY),
        (500, b"<html>", "INTERNAL_SERVER_ERROR", Meaning.UNAVAILABLE),
        (503, b"\xff\xfe", "SERVICE_UNAVAILABLE", Meaning.UNAVAILABLE),
        (404, b"NOT_FOUND", "NOT_FOUND", Meaning.REFUSED),
        (400, b"SOMETHING\nNEW", "SOMETHING NEW", Meaning.REFUSED),
        (418, b"", "HTTP 418", Meaning.REFUSED),
    ],
)
def test_what_a_refusal_means(status: int, body: bytes, code: str, meaning: Meaning) -> None:
    fault = fault_of(Answer(status, body))
    assert (fault.code, fault.meaning) == (code, meaning)
    assert fault.remedy == REMEDIES.get(code, "")
    assert f"status={status} DEP API Error: {code}" in str(fault)


@pytest.mark.parametrize(("text", "wait"), [("120", 120), ("99999", 3600), ("soon", 0), ("9" * 5000, 0)])
def test_the_wait_that_is_asked_for(text: str, wait: int) -> None:
    assert fault_of(Answer(429, b"", {"retry-after": text})).retry_after_s == wait


def test_every_code_has_a_remedy() -> None:
    assert all(len(remedy) > 8 for remedy in REMEDIES.values())
