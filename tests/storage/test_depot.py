"""The certificate authority's memory, challenges, leases and the installation's ids."""

import hashlib
import re
import threading

import pytest

from micromdm_py.storage.base import Store
from tests.builders import NOW


def issue(store: Store) -> int:
    serials: list[int] = []

    def make(serial: int) -> bytes:
        serials.append(serial)
        return f"certificate {serial}".encode()

    certificate = store.issue(make, "name", at=NOW)
    assert certificate == f"certificate {serials[0]}".encode()
    assert store.is_issued(hashlib.sha256(certificate).digest())
    return serials[0]


def test_authority_is_kept_once(store: Store) -> None:
    assert store.authority() is None
    store.create_authority(b"\x30certificate", b"\x00key")
    store.create_authority(b"other", b"other key")
    assert store.authority() == (b"\x30certificate", b"\x00key")


def test_serial_numbers_begin_at_two_and_grow(store: Store) -> None:
    store.create_authority(b"certificate", b"key")
    assert [issue(store) for _ in range(4)] == [2, 3, 4, 5]
    store.create_authority(b"certificate", b"key")
    assert issue(store) == 6


def test_serial_number_of_a_certificate_that_could_not_be_made_is_not_given_again(store: Store) -> None:
    def fail(serial: int) -> bytes:
        raise ValueError(serial)

    store.create_authority(b"certificate", b"key")
    with pytest.raises(ValueError, match="2"):
        store.issue(fail, "name", at=NOW)
    assert issue(store) == 3


def test_serial_numbers_are_unique_when_issued_at_once(store: Store) -> None:
    store.create_authority(b"certificate", b"key")
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(issue(store))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(2, 18))


def test_certificate_that_was_not_issued_is_unknown(store: Store) -> None:
    assert store.is_issued(hashlib.sha256(b"stranger").digest()) is False


def test_challenge_is_used_once(store: Store) -> None:
    store.add_challenge("secret", at=NOW)
    store.add_challenge("other ü", at=NOW)
    assert store.take_challenge("Secret") is False
    assert store.take_challenge("") is False
    assert store.take_challenge("secret") is True
    assert store.take_challenge("secret") is False
    assert store.take_challenge("other ü") is True


def test_challenge_is_taken_by_one_of_many(store: Store) -> None:
    store.add_challenge("secret", at=NOW)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(store.take_challenge("secret"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 7 + [True]


def test_lease_is_held_by_one(store: Store) -> None:
    with store.lease("courier") as held, store.lease("courier") as second, store.lease("other") as other:
        assert (held, second, other) == (True, False, True)
        with store.lease("courier") as third:
            assert third is False
    with store.lease("courier") as again:
        assert again is True


def test_lease_ends_with_an_error_inside(store: Store) -> None:
    with pytest.raises(ValueError, match="inside"), store.lease("courier"):
        raise ValueError("inside")
    with store.lease("courier") as again:
        assert again is True


def test_installation_has_two_ids(store: Store) -> None:
    organization, enterprise = store.organization()
    assert organization != enterprise
    assert re.fullmatch("[0-9a-f]{24}", organization)
    assert re.fullmatch("[0-9a-f]{24}", enterprise)
    assert store.organization() == (organization, enterprise)
