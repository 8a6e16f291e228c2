"""What a device finds in its queue when it has enrolled: stored with its first TokenUpdate or not at all."""

from datetime import timedelta

import pytest

from micromdm_py.errors import IdentityMismatch
from micromdm_py.protocol.enrollment import EnrollmentKind
from micromdm_py.storage.base import Store
from tests.builders import NOW, Device, command, identity, token_update
from tests.storage.test_enrollments import EVERY_KIND

WELCOME = (command("first", origin="creation"), command("second", origin="creation"))
LATER = NOW + timedelta(hours=1)


def updates(phone: Device) -> bool:
    return phone.store.token_update(
        token_update(phone.ref), phone.who, None, at=phone.clock.move(1), welcome=WELCOME
    )


def test_the_first_token_update_queues_in_order(phone: Device) -> None:
    phone.authenticates()
    assert updates(phone)
    assert phone.waiting() == ["first", "second"]
    assert phone.record("first").origin == "creation"
    assert phone.run("Acknowledged", "Acknowledged") == ["first", "second", ""]


def test_a_push_is_due_for_it(store: Store, phone: Device) -> None:
    phone.authenticates()
    updates(phone)
    due, _ = store.due_pushes(at=LATER, limit=10)
    assert [one.target.enrollment_id for one in due] == [phone.id]


def test_a_later_token_update_queues_nothing(phone: Device) -> None:
    phone.authenticates()
    updates(phone)
    phone.run("Acknowledged", "Acknowledged")
    assert not updates(phone)
    assert phone.waiting() == []


def test_authenticate_begins_anew_and_nothing_is_there_twice(phone: Device) -> None:
    for _ in range(2):
        phone.authenticates()
        updates(phone)
        assert phone.waiting() == ["first", "second"]


def test_a_device_without_a_record_gets_nothing(phone: Device) -> None:
    assert not updates(phone)
    assert phone.waiting() == []


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_only_device_channels_are_welcomed(store: Store, kind: EnrollmentKind) -> None:
    channel = Device(store, EVERY_KIND[kind])
    if kind.is_user_channel:
        Device(store, channel.ref.device_id, channel.who).enrolls()
    else:
        channel.authenticates()
    updates(channel)
    assert channel.waiting() == ([] if kind.is_user_channel else ["first", "second"])


def test_a_refused_token_update_queues_nothing(phone: Device) -> None:
    phone.authenticates()
    with pytest.raises(IdentityMismatch):
        phone.store.token_update(
            token_update(phone.ref), identity("another"), None, at=LATER, welcome=WELCOME
        )
    assert phone.waiting() == []
    assert updates(phone)
