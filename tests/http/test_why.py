"""Why nothing happens: what is said for each thing that can be the matter."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.protocol.jsonreply import rfc3339
from micromdm_py.storage.records import PushCertificate, PushOutcome
from tests.builders import NOW, TOPIC, Device, token_update
from tests.fakes.push_pair import certificate
from tests.http.bench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def phone(bench: Bench) -> Device:
    return Device(bench.store, "A").enrolls()


def why(bench: Bench) -> tuple[str, str]:
    answer = bench.ask("GET", "/v1/devices/A/why")
    assert answer.status == 200, answer.body
    return answer.json()["summary"], " ".join(answer.json()["advice"])


def facts(bench: Bench) -> dict[str, object]:
    found: dict[str, object] = bench.ask("GET", "/v1/devices/A/why").json()["facts"]
    return found


def certify(bench: Bench, days: int = 300) -> None:
    begin, end = NOW - timedelta(days=400), NOW + timedelta(days=days)
    pem = certificate(TOPIC, begin=begin, end=end).public_bytes(Encoding.PEM)
    bench.store.store_push_certificate(PushCertificate(TOPIC, pem, b"key", NOW))


def push(bench: Bench, accepted: bool = True, **how: object) -> None:
    due = bench.store.due_push("A")
    outcome = PushOutcome(NOW + timedelta(hours=1), accepted, **how)  # type: ignore[arg-type]  # its fields
    bench.store.record_push(due, outcome)


def test_nothing_is_the_matter(bench: Bench, phone: Device) -> None:
    certify(bench)
    push(bench)
    summary, advice = why(bench)
    assert "Last contact: 2026-" in summary and "accepted the last push" in summary
    assert "Nothing waits" in summary
    assert advice == ""
    record = bench.store.enrollment("A")
    assert facts(bench)["last_seen_at"] == rfc3339(record.last_seen_at or NOW)


def test_unknown_and_never_seen(bench: Bench) -> None:
    assert bench.ask("GET", "/v1/devices/A/why").status == 404
    Device(bench.store, "A").queue("c")
    summary, advice = why(bench)
    assert "No device with this id has contacted the server yet" in summary
    assert "1 command waits" in summary
    assert "Check the id" in advice


def test_blocked(bench: Bench, phone: Device) -> None:
    bench.store.block("A", at=NOW)
    assert "is blocked" in why(bench)[0] and "unblock" in why(bench)[1]


def test_not_enrolled(bench: Bench, phone: Device) -> None:
    phone.checks_out()
    assert "is not enrolled" in why(bench)[0]
    other = Device(bench.store, "B")
    other.authenticates()
    assert "sent no TokenUpdate" in bench.ask("GET", "/v1/devices/B/why").json()["summary"]


def test_no_certificate_for_the_topic(bench: Bench, phone: Device) -> None:
    assert f"no push certificate for its topic {TOPIC}" in why(bench)[0]
    found = facts(bench)
    assert (found["topic"], found["topic_has_certificate"]) == (TOPIC, False)


def test_enrolled_without_a_topic(bench: Bench, phone: Device) -> None:
    bench.store.token_update(
        token_update(phone.ref, topic=""), phone.who, None, at=NOW + timedelta(minutes=1)
    )
    assert "has no topic" in why(bench)[0] and "then enroll the device again" in why(bench)[1]
    certify(bench)
    assert "has no topic" in why(bench)[0] and "There is a certificate now: enroll" in why(bench)[1]


def test_certificate_that_has_expired_or_soon_will(bench: Bench, phone: Device) -> None:
    certify(bench, days=-1)
    assert "The push certificate expired at" in why(bench)[0]
    certify(bench, days=10)
    assert "expires in 10 days" in why(bench)[0] and "Renew it in time" in why(bench)[1]


def test_dead_token_and_failed_push(bench: Bench, phone: Device) -> None:
    certify(bench)
    push(bench, accepted=False, reason="TooManyRequests", retry_at=NOW + timedelta(hours=2))
    assert "The last push failed" in why(bench)[0] and "TooManyRequests" in why(bench)[0]
    assert facts(bench)["next_push_at"] == "2026-11-23T10:00:00.000Z"
    push(bench, accepted=False, reason="Unregistered", dead=True)
    assert "refuses its push token for good" in why(bench)[0] and "Unregistered" in why(bench)[0]
    last = facts(bench)["last_push"]
    assert isinstance(last, dict) and last["reason"] == "Unregistered"


def test_waiting_without_a_push_that_was_accepted(bench: Bench, phone: Device) -> None:
    certify(bench)
    phone.queue("c1")
    assert "1 command waits, the oldest ProfileList c1." in why(bench)[0]
    push(bench, accepted=False, reason="InternalServerError")
    assert "1 command waits, the oldest ProfileList c1." in why(bench)[0]


def test_pushed_but_not_come(bench: Bench, phone: Device) -> None:
    certify(bench)
    phone.queue("c1", "c2")
    push(bench)
    summary, advice = why(bench)
    assert "2 commands wait, the oldest ProfileList c1; it was pushed and has not come since" in summary
    assert "APNs keeps the push" in advice


def test_handed_out_and_not_answered(bench: Bench, phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.says("Idle")
    assert "ProfileList c1 was handed out 1 times" in why(bench)[0]
    head = facts(bench)["head"]
    assert isinstance(head, dict) and (head["command_uuid"], head["status"]) == ("c1", "Awaiting")


def test_put_off(bench: Bench, phone: Device) -> None:
    phone.queue("c1", "c2")
    phone.run("NotNow", "NotNow")
    assert "2 commands wait, all put off by the device with NotNow" in why(bench)[0]
    assert facts(bench)["not_now"] == 2
