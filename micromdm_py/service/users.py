"""Users: accounts that blueprints create on devices, and the people behind user channels.

Documents: kind `user`, by uuid: JSON of the fields that MicroMDM's clients know; kind `user-channel`, by
enrollment id of the channel: the uuid of its user.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from micromdm_py.errors import MalformedField, MalformedRequest
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import Json, data, field, read_object, strings
from micromdm_py.protocol.jsonreply import base64_text, json_reply
from micromdm_py.service.wrapped import number, options
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["USER", "USER_CHANNEL", "User", "Users", "decode_user", "encode_user"]

USER, USER_CHANNEL = "user", "user-channel"
MAX_TEXT = 1024


@dataclass(frozen=True, slots=True)
class User:
    """A user, its fields named and ordered as in the API.

    Attributes:
        uuid: key of the record, made by the server or by the caller.
        udid, user_id: the user channel, "" for an account that is only a plan.
        user_shortname, user_longname: names of the account.
        auth_token: push token of the channel in hex.
        password_hash: property list with a salted hash, b"" for none.
        hidden: the account is not shown in the login window.
    """

    uuid: str
    udid: str = ""
    user_id: str = ""
    user_shortname: str = ""
    user_longname: str = ""
    auth_token: str = ""
    password_hash: bytes = b""
    hidden: bool = False


class Users:
    """What an administrator does with users; replies are JSON documents in bytes."""

    def __init__(
        self, shelf: Shelf, *, make_uuid: Callable[[], str], hash_password: Callable[[str], bytes]
    ) -> None:
        """Keep them on `shelf`; `hash_password` makes what a device takes for a password."""
        self._shelf, self._make_uuid, self._hash = shelf, make_uuid, hash_password

    def list(self, body: bytes) -> bytes:
        """The users that match the filter in the body, by uuid.

        Args:
            body: JSON with `filter_user_id`, `filter_udid` (any of), `page`, `per_page` (0: all).
        """
        found = options(body)
        ids, udids = strings(found, "filter_user_id"), strings(found, "filter_udid")
        page, size = number(found, "page"), number(found, "per_page")
        users = [decode_user(name, row) for name, row in self._shelf.documents(USER)]
        listed = [
            one for one in users if (not ids or one.user_id in ids) and (not udids or one.udid in udids)
        ]
        listed = listed[page * size : page * size + size] if size else listed
        return json_reply({"users": [_shown(one) for one in listed] or None})

    def apply(self, body: bytes) -> bytes:
        """Make a user, or replace the one with the same uuid.

        Args:
            body: JSON `{"user": {…}}`. `password` may be given in place of `password_hash`; only its hash is
                kept. Without `uuid` a new one is made, and what belongs to a channel is not taken.
        Returns: the user as stored.
        Raises: MalformedRequest.
        """
        given = field(read_object(body, trailing="ignore"), "user", dict)
        if given is None:
            raise MalformedRequest("no user supplied")
        user = self._read(given)

        def change(shelf: Documents) -> None:
            shelf.put(USER, user.uuid, encode_user(user))
            if user.udid and user.user_id:
                shelf.put(USER_CHANNEL, f"{user.udid}:{user.user_id}"[:MAX_TEXT], user.uuid.encode())

        self._shelf.change_documents(change)
        return json_reply({"user": _shown(user)})

    def remove(self, body: bytes) -> bytes:
        """Delete the users named by `uuids`: all or none; their channels stay enrolled. Raises: NotFound."""
        uuids = strings(options(body), "uuids")

        def change(shelf: Documents) -> None:
            for uuid in dict.fromkeys(uuids):
                shelf.remove(USER, uuid)

        self._shelf.change_documents(change)
        return json_reply({})

    def _read(self, found: dict[str, Json]) -> User:
        uuid = field(found, "uuid", str) or ""
        user = User(
            check_id("uuid", uuid) if uuid else self._make_uuid(),
            user_shortname=_text(found, "user_shortname"),
            user_longname=_text(found, "user_longname"),
            password_hash=self._password(found),
            hidden=field(found, "hidden", bool) or False,
        )
        if not uuid:
            return user
        udid, user_id = _text(found, "udid"), _text(found, "user_id")
        for name, value in (("udid", udid), ("user_id", user_id)):
            if value:
                check_id(name, value)
        return replace(user, udid=udid, user_id=user_id, auth_token=_text(found, "auth_token"))

    def _password(self, found: dict[str, Json]) -> bytes:
        given, password = data(found, "password_hash"), field(found, "password", str) or ""
        if given and password:
            raise MalformedField("password", "must not come together with password_hash")
        return self._hash(password) if password else given

    def seen(self, ref: EnrollmentRef, token: bytes) -> None:
        """Keep who a user channel belongs to, as its TokenUpdate tells.

        A user that is new replaces the others that were seen on the device, as MicroMDM's clients know it.
        """

        def change(shelf: Documents) -> None:
            name = (shelf.get(USER_CHANNEL, ref.enrollment_id) or b"").decode()
            row = shelf.get(USER, name) if name else None
            if row is not None:
                user = decode_user(name, row)
            else:
                user = User(self._make_uuid())
                _forget_users_of(shelf, ref.udid)
            user = replace(
                user,
                udid=ref.udid,
                user_id=ref.user_id,
                user_shortname=ref.user_short_name,
                user_longname=ref.user_long_name,
                auth_token=token.hex(),
            )
            shelf.put(USER, user.uuid, encode_user(user))
            shelf.put(USER_CHANNEL, ref.enrollment_id, user.uuid.encode())

        self._shelf.change_documents(change)


def _forget_users_of(shelf: Documents, udid: str) -> None:
    for channel, name in shelf.scan(USER_CHANNEL, f"{udid}:"):
        shelf.remove(USER_CHANNEL, channel)
        if shelf.get(USER, name.decode()) is not None:
            shelf.remove(USER, name.decode())


def encode_user(user: User) -> bytes:
    """The document of a user."""
    fields = {**asdict(user), "password_hash": base64_text(user.password_hash)}
    del fields["uuid"]
    return json.dumps(fields).encode()


def decode_user(uuid: str, row: bytes) -> User:
    """The user of a document."""
    fields = json.loads(row)
    return User(uuid, **{**fields, "password_hash": base64.b64decode(fields["password_hash"])})


def _text(found: dict[str, Json], name: str) -> str:
    value = field(found, name, str) or ""
    if len(value) > MAX_TEXT:
        raise MalformedField(name, f"is longer than {MAX_TEXT} characters")
    return value


def _shown(user: User) -> dict[str, object]:
    return {**asdict(user), "password_hash": base64_text(user.password_hash) if user.password_hash else None}
