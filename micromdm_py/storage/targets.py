"""Which enrollment a name means: the rules that all backends share."""

from collections.abc import Callable, Iterable

from micromdm_py.errors import Conflict, NotFound
from micromdm_py.storage.records import EnrollmentRecord

__all__ = ["choose_target", "plain_imei"]


def plain_imei(text: str) -> str:
    """An IMEI without the spaces that devices send."""
    return text.replace(" ", "")


def choose_target(name: str, records: Iterable[EnrollmentRecord], *, user: bool) -> EnrollmentRecord:
    """The record that a name means, among those that may be meant: see `CommandHistory.find_target`."""
    of_kind = [record for record in records if name and record.is_user_channel is user]
    for fits in _USER_NAMES if user else _DEVICE_NAMES:
        found = [record for record in of_kind if fits(record, name)]
        if len(found) > 1:
            choices = ", ".join(sorted(record.enrollment_id for record in found))
            raise Conflict(f"{name} has several enrollments: {choices}")
        if found:
            return found[0]
    raise NotFound(f"not found: enrollment {name}")


_Fits = Callable[[EnrollmentRecord, str], bool]
_IDS: tuple[_Fits, ...] = (
    lambda record, name: record.target_id == name.lower(),
    lambda record, name: record.enrollment_id == name,
)
_DEVICE_NAMES: tuple[_Fits, ...] = (
    *_IDS,
    lambda record, name: record.serial_number == name,
    lambda record, name: plain_imei(record.facts.get("imei", "")) == plain_imei(name),
)
_USER_NAMES: tuple[_Fits, ...] = (
    *_IDS,
    lambda record, name: record.user_id == name,
    lambda record, name: record.user_short_name == name,
)
