"""Configuration profiles that administrators keep on the server.

Documents: kind `profile`, by PayloadIdentifier: the profile as it was given, byte for byte.
"""

import logging
from collections.abc import Callable

from micromdm_py.errors import Conflict, MalformedField, MalformedRequest, NotFound, SignatureInvalid
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import data, field, read_object, strings
from micromdm_py.protocol.jsonreply import base64_text, json_reply
from micromdm_py.protocol.plist import loads
from micromdm_py.protocol.signature import verify_attached
from micromdm_py.service.blueprints import PROFILE, blueprints_of
from micromdm_py.service.request import Tell, read_fields, tell_nobody
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["Profiles", "payload_identifier"]

_BINARY = b"bplist"

logger = logging.getLogger(__name__)


class Profiles:
    """What an administrator does with profiles; replies are JSON documents in bytes."""

    def __init__(self, shelf: Shelf, sign: Callable[[bytes], bytes]) -> None:
        """Keep them on `shelf`; `sign` wraps a profile in the server's signature."""
        self._shelf, self._sign = shelf, sign

    def list(self, body: bytes) -> bytes:
        """All profiles by identifier, or the one that the body asks for with `id`. Raises: NotFound."""
        name = field(read_fields(body), "id", str) or ""
        found = [(name, self._profile(name))] if name else self._shelf.documents(PROFILE)
        listed = [{"Identifier": one, "Mobileconfig": base64_text(profile)} for one, profile in found]
        return json_reply({"profiles": listed or None})

    def apply(self, body: bytes, *, sign: bool, tell: Tell = tell_nobody) -> bytes:
        """Keep a profile, replacing the one with the same identifier.

        Args:
            body: JSON `{"profile": {"Identifier": …, "Mobileconfig": base64}}`.
            sign: sign it first, unless it is signed already.
            tell: learns the identifier.
        Raises: MalformedRequest.
        """
        found = field(read_object(body, trailing="ignore"), "profile", dict) or {}
        name = field(found, "Identifier", str) or ""
        if not name:
            raise MalformedRequest("Profile struct must have Identifier")
        tell(check_id("Identifier", name))
        profile = data(found, "Mobileconfig")
        if not profile:
            raise MalformedRequest("no Mobileconfig data")
        if payload_identifier(profile) != name:
            raise MalformedRequest("payload Identifier does not match Profile")
        if sign and not _is_signed(profile):
            profile = self._sign(profile)
        self._shelf.change_documents(lambda shelf: shelf.put(PROFILE, name, profile))
        logger.info("profile %s stored", name)
        return json_reply({})

    def remove(self, body: bytes, *, tell: Tell = tell_nobody) -> bytes:
        """Delete the profiles named by `ids`: all or none.

        Raises: NotFound naming the first unknown one; Conflict for one that a blueprint names.
        """
        ids = strings(read_fields(body), "ids")
        tell(", ".join(ids))

        def change(shelf: Documents) -> None:
            named = {name: one.name for one in blueprints_of(shelf.scan) for name in one.profile_ids}
            for name in dict.fromkeys(ids):
                if shelf.get(PROFILE, name) is None:
                    raise _unknown(name)
                if name in named:
                    raise Conflict(f"profile {name} is in use by blueprint {named[name]}")
                shelf.remove(PROFILE, name)

        self._shelf.change_documents(change)
        logger.info("removed %d profiles", len(ids))
        return json_reply({})

    def _profile(self, name: str) -> bytes:
        try:
            return self._shelf.document(PROFILE, name)
        except NotFound:
            raise _unknown(name) from None


def payload_identifier(profile: bytes) -> str:
    """The PayloadIdentifier of a profile, plain or signed; who signed it is not checked.

    Raises: MalformedField for the field `Mobileconfig`.
    """
    try:
        content = verify_attached(profile).content if _is_signed(profile) else profile
        if content.startswith(_BINARY):
            raise MalformedRequest("it is a binary property list")
        found = loads(content).get("PayloadIdentifier")
    except (MalformedRequest, SignatureInvalid) as fault:
        raise MalformedField("Mobileconfig", f"is neither XML nor signed with CMS: {fault}") from None
    if not isinstance(found, str) or not found:
        raise MalformedField("Mobileconfig", "empty PayloadIdentifier in profile")
    return found


def _is_signed(profile: bytes) -> bool:
    """Whether it is CMS: DER begins with the tag of a sequence, as no property list does."""
    return profile.startswith(b"\x30")


def _unknown(name: str) -> NotFound:
    return NotFound(f"not found: Profile id {name}")
