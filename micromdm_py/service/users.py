"""Users: accounts that blueprints create on devices, and the people behind user channels.

Documents: kind `user`, by uuid: JSON of the fields that MicroMDM's clients know; kind `user-channel`, by id
of the device, a colon and the SHA-256 of the user's id (two ids can be too long for a name): the uuid of the
user.
"""

import base64
import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from micromdm_py.errors import MalformedField, MalformedRequest, NotFound
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID, EnrollmentKind, EnrollmentRef
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import Json, data, field, read_object, strings
from micromdm_py.protocol.jsonreply import base64_text, json_reply
from micromdm_py.service.request import Tell, page_number, read_fields, tell_nobody
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["USER", "USER_CHANNEL", "User", "Users", "channel_name", "decode_user", "encode_user"]

USER, USER_CHANNEL = "user", "user-channel"
MAX_TEXT = 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class User:
    """A user, its fields named and ordered as in the API.

    Attributes:
        uuid: key of the record, made by the server or by the caller.
        udid, user_id: the user channel, "" for an account that no device has yet.
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
    auth_token: str = dataclasses.field(default="", repr=False)
    password_hash: bytes = dataclasses.field(default=b"", repr=False)
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
            body: JSON with `filter_user_id`, `filter_udid` (any of these), `page`, `per_page` (0: all).
        """
        found = read_fields(body)
        ids, udids = strings(found, "filter_user_id"), strings(found, "filter_udid")
        page, size = page_number(found, "page"), page_number(found, "per_page")
        users = [decode_user(name, row) for name, row in self._shelf.documents(USER)]
        listed = [
            one for one in users if (not ids or one.user_id in ids) and (not udids or one.udid in udids)
        ]
        listed = listed[page * size : page * size + size] if size else listed
        return json_reply({"users": [_shown(one) for one in listed] or None})

    def apply(self, body: bytes, *, tell: Tell = tell_nobody) -> bytes:
        """Make a user, or replace the one with the same uuid.

        Args:
            body: JSON `{"user": {…}}`. `password` may be given in place of `password_hash`; only its hash is
                kept. Without `uuid` a new one is made, and what belongs to a channel is not taken.
            tell: learns the uuid.
        Returns: the user as stored.
        Raises: MalformedRequest.
        """
        given = field(read_object(body, trailing="ignore"), "user", dict)
        if given is None:
            raise MalformedRequest("no user supplied")
        user = self._read(given)
        tell(user.uuid)

        def change(shelf: Documents) -> None:
            shelf.put(USER, user.uuid, encode_user(user))
            if user.udid and user.user_id:
                shelf.put(USER_CHANNEL, channel_name(user), user.uuid.encode())

        self._shelf.change_documents(change)
        logger.info("user %s stored", user.uuid)
        return json_reply({"user": _shown(user)})

    def remove(self, body: bytes, *, tell: Tell = tell_nobody) -> bytes:
        """Delete the users named by `uuids`: all or none; their channels stay enrolled. Raises: NotFound."""
        uuids = strings(read_fields(body), "uuids")
        tell(", ".join(uuids))

        def change(shelf: Documents) -> None:
            for uuid in dict.fromkeys(uuids):
                row = shelf.get(USER, uuid)
                if row is None:
                    raise NotFound(f"not found: User uuid {uuid}")
                shelf.remove(USER, uuid)
                channel = channel_name(decode_user(uuid, row))
                if shelf.get(USER_CHANNEL, channel) == uuid.encode():
                    shelf.remove(USER_CHANNEL, channel)

        self._shelf.change_documents(change)
        logger.info("removed %d users", len(uuids))
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
        given, password = data(found, "password_hash"), _text(found, "password")
        if given and password:
            raise MalformedField("password", "cannot be given together with password_hash")
        return self._hash(password) if password else given

    def seen(self, ref: EnrollmentRef, token: bytes) -> None:
        """Keep whom a user channel belongs to, as its TokenUpdate says.

        As with MicroMDM, a new user replaces the others that were seen on the device, except on a Shared
        iPad.
        """
        channel = _channel(ref.device_id, ref.user_id, ref.user_short_name)

        def change(shelf: Documents) -> None:
            uuid = (shelf.get(USER_CHANNEL, channel) or b"").decode()
            row = shelf.get(USER, uuid) if uuid else None
            if row is None and ref.kind is not EnrollmentKind.SHARED_IPAD:
                _forget_users_of(shelf, ref.device_id)
            user = replace(
                decode_user(uuid, row) if row is not None else User(self._make_uuid()),
                udid=ref.udid,
                user_id=ref.user_id,
                user_shortname=ref.user_short_name,
                user_longname=ref.user_long_name,
                auth_token=token.hex(),
            )
            shelf.put(USER, user.uuid, encode_user(user))
            shelf.put(USER_CHANNEL, channel, user.uuid.encode())

        self._shelf.change_documents(change)


def _forget_users_of(shelf: Documents, device_id: str) -> None:
    for channel, uuid in shelf.scan(USER_CHANNEL, f"{device_id}:"):
        shelf.remove(USER_CHANNEL, channel)
        shelf.discard(USER, uuid.decode())


def channel_name(user: User) -> str:
    """Name of the document that leads from a user's channel to the user."""
    return _channel(user.udid, user.user_id, user.user_shortname)


def _channel(device_id: str, user_id: str, short_name: str) -> str:
    who = short_name if user_id == SHARED_IPAD_USER_ID else user_id
    return f"{device_id}:{hashlib.sha256(who.encode('utf-8', 'surrogatepass')).hexdigest()}"


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
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedField(name, "is not valid Unicode") from None
    return value


def _shown(user: User) -> dict[str, object]:
    return {**asdict(user), "password_hash": base64_text(user.password_hash) if user.password_hash else None}
