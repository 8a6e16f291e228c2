"""Slots: who gets one, who is refused, and that they are given back."""

import pytest

from micromdm_py.errors import Busy
from micromdm_py.service.slots import Slots


def test_call_beyond_the_last_slot_is_refused() -> None:
    slots = Slots(2, "too many calls")
    with slots, slots, pytest.raises(Busy, match="too many calls"), slots:
        pytest.fail("there is no third slot")


def test_slot_is_given_back_after_an_error() -> None:
    slots = Slots(1, "too many calls")
    for _ in range(3):
        with pytest.raises(ValueError, match="failed"), slots:
            raise ValueError("failed")
