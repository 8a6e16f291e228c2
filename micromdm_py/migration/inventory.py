"""Who is managed, as MicroMDM's database has it: everything about enrollments but their queues."""

import re
from collections import Counter
from collections.abc import Iterator

from micromdm_py.errors import MalformedField
from micromdm_py.migration.messages import OldBlock, OldDevice, OldPush, OldUser
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID, EnrollmentKind
from micromdm_py.protocol.ids import check_id

__all__ = ["Inventory", "checked", "named"]

DEVICES, PINS, PUSHES = "mdm.Devices", "mdm.UDIDCertAuth", "mdm.PushInfo"
USERS, USER_INDEX, BLOCKS = "mdm.Users", "mdm.UserIdx", "mdm.RemoveDevice"
FINGERPRINT_BYTES = 32

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")


def named(name: str, what: str = "the name") -> str:
    """Return a name unchanged if something in a store may have it. Raises: ValueError."""
    try:
        return check_id(what, name)
    except MalformedField as fault:
        raise ValueError(str(fault)) from None


def checked(name: str) -> str:
    """Return an id unchanged if an enrollment may have it. Raises: ValueError."""
    named(name, "the id")
    if ":" in name:
        raise ValueError("the id: must not contain a colon")
    return name


class Inventory:
    """The records by the id that the queue of an enrollment has, too.

    Attributes:
        devices: device records by UDID.
        serial_only: device records without UDID, as the enrollment programme's sync makes them.
        pins: SHA-256 of the certificate of each device.
        pushes: push data.
        users: every user record, channels and accounts.
        channels: the record of each user channel.
        former: ids of user channels whose record has been replaced by another user's.
        blocks: UDIDs that are refused.
    """

    def __init__(self, old: OldDatabase) -> None:
        """Read everything. Raises: BadDatabase."""
        self._old = old
        self.serial_only: list[OldDevice] = []
        self.devices = self._read_devices()
        self.pins = dict(self._read_pins())
        self.pushes = dict(self._read_pushes())
        self.users: list[OldUser] = []
        index = dict(old.rows(USER_INDEX))
        self.channels = self._read_users(index)
        self.blocks = set(self._read_blocks())
        names = {name.decode("utf-8", "backslashreplace") for name in index}
        self.former = names - self.devices.keys() - self.pins.keys() - self.channels.keys()

    def kind(self, name: str) -> EnrollmentKind | None:
        """What an id is; None for a former user channel and for one that never enrolled."""
        if name in self.devices or name in self.pins:
            return EnrollmentKind.DEVICE
        if name in self.channels:
            return EnrollmentKind.USER
        if name in self.pushes and name not in self.former:
            return EnrollmentKind.USER_ENROLLMENT
        return None

    @property
    def ids(self) -> Iterator[str]:
        """Every id of which something is known."""
        yield from dict.fromkeys(
            (*self.devices, *self.pins, *self.pushes, *self.channels, *sorted(self.blocks))
        )

    @property
    def topics(self) -> Counter[str]:
        """How many enrollments each push topic has."""
        return Counter(push.mdm_topic for push in self.pushes.values())

    def _read_pushes(self) -> Iterator[tuple[str, OldPush]]:
        for key, push in self._old.messages(PUSHES, OldPush):
            with self._old.counted(PUSHES, key):
                if not _HEX.fullmatch(push.token):
                    raise ValueError("the push token is not hexadecimal")
                yield checked(key), push

    def _read_blocks(self) -> Iterator[str]:
        for key, _ in self._old.messages(BLOCKS, OldBlock):
            with self._old.counted(BLOCKS, key):
                yield checked(key)

    def _read_devices(self) -> dict[str, OldDevice]:
        """Records by UDID; the index says which of two records of one UDID is the newer one."""
        index = {key.decode("utf-8", "replace"): value for key, value in self._old.rows("mdm.DeviceIdx")}
        about = self._old.about(DEVICES)
        found: dict[str, OldDevice] = {}
        for key, device in self._old.messages(DEVICES, OldDevice):
            if not device.udid:
                self.serial_only.append(device)
                continue
            if device.udid in found:
                about.left, about.why = about.left + 1, "another record has the same UDID"
                if index.get(device.udid) == key.encode():
                    found[device.udid] = device
                continue
            with self._old.counted(DEVICES, key):
                found[checked(device.udid)] = device
        return found

    def _read_pins(self) -> Iterator[tuple[str, bytes]]:
        for raw, digest in self._old.rows(PINS):
            key = raw.decode("utf-8", "backslashreplace")
            with self._old.counted(PINS, key):
                if len(digest) != FINGERPRINT_BYTES:
                    raise ValueError("is not the SHA-256 of a certificate")
                yield checked(key), digest

    def _read_users(self, index: dict[bytes, bytes]) -> dict[str, OldUser]:
        """User channels by UserID, and in `users` every record."""
        found: dict[str, OldUser] = {}
        for key, user in self._old.messages(USERS, OldUser):
            with self._old.counted(USERS, key):
                if user.uuid != named(key):
                    raise ValueError("has another uuid inside")
                if not user.user_id:
                    self.users.append(user)
                    continue
                checked(user.udid)
                checked(user.user_shortname if user.user_id == SHARED_IPAD_USER_ID else user.user_id)
                self.users.append(user)
                if user.user_id not in found or index.get(user.user_id.encode()) == key.encode():
                    found[user.user_id] = user
        return found
