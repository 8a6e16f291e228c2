"""Blueprints: what devices get when they enroll, or when an administrator says so.

Documents: kind `blueprint`, by uuid: JSON of the eight fields that MicroMDM's clients know.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol

from micromdm_py.errors import Conflict, MalformedRequest, NotFound
from micromdm_py.logs import request_id
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import Json, field, read_object, strings
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.protocol.plist import Value, dumps_compact
from micromdm_py.service.commands import check_api_id
from micromdm_py.service.request import Tell, read_fields, tell_nobody
from micromdm_py.service.users import USER, User, decode_user
from micromdm_py.storage.base import CommandQueue, Documents, Shelf
from micromdm_py.storage.records import NewEntry

__all__ = [
    "BLUEPRINT",
    "PROFILE",
    "Blueprint",
    "Blueprints",
    "blueprints_of",
    "decode_blueprint",
    "encode_blueprint",
]

BLUEPRINT = "blueprint"
PROFILE = "profile"
ENROLL = "enroll"
"""The value of `apply_at`, in lower case, with which a blueprint is applied to every device that enrolls."""
MAX_ITEMS = 1000
MAX_BYTES = 64 << 20
"""Most bytes of commands that one request may queue, as they go into one transaction."""
MANAGED = 1
"""ManagementFlags: remove the app with the MDM profile."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A blueprint, its fields named and ordered as in the API."""

    uuid: str
    name: str
    install_application_manifest_urls: tuple[str, ...] = ()
    profile_ids: tuple[str, ...] = ()
    user_uuids: tuple[str, ...] = ()
    skip_primary_setup_account_creation: bool = False
    set_primary_setup_account_as_regular_user: bool = False
    apply_at: tuple[str, ...] = ()

    @property
    def at_enrollment(self) -> bool:
        """Whether every device that enrolls gets it."""
        return any(moment.lower() == ENROLL for moment in self.apply_at)


class BlueprintStore(Shelf, CommandQueue, Protocol):
    """What blueprints need of the store."""


class Blueprints:
    """What an administrator does with blueprints, and the commands they give to devices that enroll."""

    def __init__(
        self,
        store: BlueprintStore,
        *,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_uuid: Callable[[], str],
    ) -> None:
        """Keep them in `store` and queue their commands; `wake` wakes the courier for the pushes."""
        self._store, self._wake, self._now, self._make_uuid = store, wake, now, make_uuid

    def list(self, body: bytes) -> bytes:
        """All blueprints by uuid, or the one that the body asks for with `FilterName`. Raises: NotFound."""
        found = read_fields(body)
        name = field(found, "FilterName", str) or field(found, "filter_name", str) or ""
        listed = blueprints_of(self._store.documents)
        if name:
            listed = [_named(listed, name)]
        return json_reply({"blueprints": [_shown(one) for one in listed] or None})

    def apply(self, body: bytes, *, tell: Tell = tell_nobody) -> bytes:
        """Keep a blueprint, replacing the one with the same uuid.

        Args:
            body: JSON `{"blueprint": {…}}`.
            tell: learns the name.
        Raises: MalformedRequest, also for a profile that does not exist; Conflict for a name that is taken.
        """
        found = field(read_object(body, trailing="ignore"), "blueprint", dict)
        if found is None:
            raise MalformedRequest("no blueprint supplied")
        blueprint = _read(found)
        tell(blueprint.name)

        def change(shelf: Documents) -> None:
            for other in blueprints_of(shelf.scan):
                if other.name == blueprint.name and other.uuid != blueprint.uuid:
                    raise Conflict(f"Blueprint not saved: same name {blueprint.name} exists")
            for name in blueprint.profile_ids:
                if shelf.get(PROFILE, name) is None:
                    raise MalformedRequest(f"Profile ID {name} in Blueprint {blueprint.name} does not exist")
            shelf.put(BLUEPRINT, blueprint.uuid, encode_blueprint(blueprint))

        self._store.change_documents(change)
        logger.info("blueprint %s stored", blueprint.name)
        return json_reply({})

    def remove(self, body: bytes, *, tell: Tell = tell_nobody) -> bytes:
        """Delete the blueprints named by `names`: all or none. Raises: NotFound."""
        names = strings(read_fields(body), "names")
        tell(", ".join(names))

        def change(shelf: Documents) -> None:
            listed = blueprints_of(shelf.scan)
            for name in dict.fromkeys(names):
                shelf.remove(BLUEPRINT, _named(listed, name).uuid)

        self._store.change_documents(change)
        return json_reply({})

    def apply_to(self, name: str, body: bytes, *, tell: Tell = tell_nobody) -> bytes:
        """Queue the commands of a blueprint for the devices named by `udids`, now.

        Returns: `{"udids": {udid: [command uuids]}}`.
        Raises: NotFound, MalformedRequest, Conflict.
        """
        blueprint = _named(blueprints_of(self._store.documents), name)
        udids = [check_api_id("udids", udid) for udid in strings(read_fields(body), "udids")]
        if not 0 < len(udids) <= MAX_ITEMS:
            raise MalformedRequest(f"udids: must name 1 to {MAX_ITEMS} devices")
        tell(", ".join(udids))
        commands = self._commands(blueprint)
        size = sum(len(dumps_compact(one)) for one in commands) * len(udids)
        if size > MAX_BYTES:
            raise MalformedRequest(
                f"udids: {len(udids)} devices would get {size} bytes of commands; at most {MAX_BYTES} at once"
            )
        queued: dict[str, list[str]] = {udid: [] for udid in udids}
        orders = [(udid, self._entry(one, "unknown", blueprint.name)) for udid in queued for one in commands]
        self._store.enqueue_all(orders, at=self._now())
        for udid, entry in orders:
            queued[udid].append(entry.command_uuid)
        self._wake()
        logger.info("blueprint %s given to %d devices", name, len(queued))
        return json_reply({"udids": queued})

    def at_enrollment(self, *, awaiting: bool) -> Sequence[NewEntry]:
        """The commands for a device that has just enrolled; none when there is no blueprint for that.

        Args:
            awaiting: whether the device waits for DeviceConfigured, which then comes last.
        """
        chosen = [one for one in blueprints_of(self._store.documents) if one.at_enrollment]
        if not chosen:
            return ()
        entries = [
            self._entry(one, "creation", blueprint.name)
            for blueprint in chosen
            for one in self._commands(blueprint)
        ]
        if awaiting:
            entries.append(self._entry({"RequestType": "DeviceConfigured"}, "creation", chosen[-1].name))
        return entries

    def _commands(self, blueprint: Blueprint) -> Sequence[dict[str, Value]]:
        """First accounts, for which the Setup Assistant waits, then profiles, then apps."""
        commands = [_account(blueprint, user) for user in self._users(blueprint)]
        for name in blueprint.profile_ids:
            try:
                profile = self._store.document(PROFILE, name)
            except NotFound:
                logger.warning("blueprint %s names profile %s, which is gone", blueprint.name, name)
            else:
                commands.append({"RequestType": "InstallProfile", "Payload": profile})
        for url in blueprint.install_application_manifest_urls:
            commands.append(
                {"RequestType": "InstallApplication", "ManifestURL": url, "ManagementFlags": MANAGED}
            )
        return commands

    def _users(self, blueprint: Blueprint) -> Sequence[User]:
        users = []
        for name in blueprint.user_uuids:
            try:
                users.append(decode_user(name, self._store.document(USER, name)))
            except NotFound:
                logger.warning("blueprint %s names user %s, who is gone", blueprint.name, name)
        return users

    def _entry(self, command: dict[str, Value], origin: str, blueprint: str) -> NewEntry:
        uuid = self._make_uuid()
        payload = dumps_compact({"Command": command, "CommandUUID": uuid})
        info = {"blueprint": blueprint}
        name = request_id.get()
        return NewEntry(uuid, str(command["RequestType"]), payload, origin, info=info, request_id=name)


def _account(blueprint: Blueprint, user: User) -> dict[str, Value]:
    """The AccountConfiguration command, without what is false or empty."""
    optional = {"fullName": user.user_longname, "hidden": user.hidden}
    flags = {
        "SkipPrimarySetupAccountCreation": blueprint.skip_primary_setup_account_creation,
        "SetPrimarySetupAccountAsRegularUser": blueprint.set_primary_setup_account_as_regular_user,
    }
    account = {"shortName": user.user_shortname, "passwordHash": user.password_hash, **_set(optional)}
    return {"RequestType": "AccountConfiguration", "AutoSetupAdminAccounts": [account], **_set(flags)}


def _set(fields: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if value}


def blueprints_of(scan: Callable[[str], Iterable[tuple[str, bytes]]]) -> list[Blueprint]:
    """All blueprints, by uuid; `scan` reads the documents of a kind."""
    return [decode_blueprint(row) for _, row in scan(BLUEPRINT)]


def encode_blueprint(blueprint: Blueprint) -> bytes:
    """The document of a blueprint."""
    return json.dumps(asdict(blueprint)).encode()


def decode_blueprint(row: bytes) -> Blueprint:
    """The blueprint of a document."""
    found: dict[str, Json] = json.loads(row)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return Blueprint(**fields)  # type: ignore[arg-type]  # as `encode_blueprint` wrote them


def _read(found: dict[str, Json]) -> Blueprint:
    uuid, name = field(found, "uuid", str) or "", field(found, "name", str) or ""
    if not uuid or not name:
        raise MalformedRequest("Blueprint must have Name and UUID")
    return Blueprint(
        check_id("uuid", uuid),
        check_id("name", name),
        strings(found, "install_application_manifest_urls"),
        strings(found, "profile_ids"),
        strings(found, "user_uuids"),
        field(found, "skip_primary_setup_account_creation", bool) or False,
        field(found, "set_primary_setup_account_as_regular_user", bool) or False,
        strings(found, "apply_at"),
    )


def _named(listed: list[Blueprint], name: str) -> Blueprint:
    for one in listed:
        if one.name == name:
            return one
    raise NotFound(f"not found: Blueprint name {name}")


def _shown(blueprint: Blueprint) -> dict[str, object]:
    return {
        name: (list(value) or None) if isinstance(value, tuple) else value
        for name, value in asdict(blueprint).items()
    }
