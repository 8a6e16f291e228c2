"""NanoMDM's API for commands and pushes: several enrollments at once, with a result for each.

Source: the API of NanoMDM 0.8, whose clients read these shapes.
"""

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from micromdm_py.errors import Forbidden, MdmError, StorageUnavailable
from micromdm_py.logs import request_id
from micromdm_py.protocol.commands import read_raw
from micromdm_py.service.commands import Permit, check_api_id
from micromdm_py.storage.base import CommandQueue
from micromdm_py.storage.records import NewEntry

__all__ = ["Nano"]

Push = Callable[[str, int | None], str]
"""Pushes to an enrollment now and gives APNs' id of the push, see `service.push.PushNow`."""
Result = dict[str, str]

logger = logging.getLogger(__name__)


class Nano:
    """Replies are (HTTP status, JSON): 200 when everything went well, 207 when some of it did, else 500."""

    def __init__(
        self, queue: CommandQueue, push: Push, *, now: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        """Queue into `queue`; pushes that fail are left to the courier, whom `wake` wakes."""
        self._queue, self._push, self._now, self._wake = queue, push, now, wake

    def enqueue(self, ids: str, body: bytes, permit: Permit, *, nopush: bool) -> tuple[int, bytes]:
        """Queue one command for several enrollments, each in a transaction of its own, and push to them.

        Args:
            ids: enrollment ids, separated by commas.
            body: the property list of the command; empty to push only.
            permit: may raise Forbidden for an id and a request type.
            nopush: do not push; the commands wait until the devices connect.
        Raises: Forbidden, StorageUnavailable.
        """
        names = _names(ids)
        if not body:
            return self.push(ids)
        told: dict[str, object] = {"no_push": True} if nopush else {}
        try:
            command = read_raw(body)
        except MdmError as fault:
            return _reply(400, {**told, "command_error": f"decoding command: {fault}"})
        entry = NewEntry(
            command.command_uuid, command.request_type, command.payload, request_id=request_id.get()
        )
        for name in names:
            permit(name, command.request_type, "")
        status: dict[str, Result] = {}
        for name in names:
            status[name] = self._queued(name, entry, push=not nopush)
        if not nopush:
            for name in names:
                if "command_error" not in status[name]:
                    status[name] |= self._pushed(name)
            self._wake()  # for the pushes that have failed just now
        told |= {"command_uuid": command.command_uuid, "request_type": command.request_type}
        return _reply(_code(status), {"status": status, **told})

    def push(self, ids: str) -> tuple[int, bytes]:
        """Push to several enrollments now."""
        status = {name: self._pushed(name) for name in _names(ids)}
        return _reply(_code(status), {"status": status})

    def _queued(self, name: str, entry: NewEntry, *, push: bool) -> Result:
        try:
            self._queue.enqueue(check_api_id("id", name), entry, at=self._now(), push=push)
        except (Forbidden, StorageUnavailable):
            raise
        except MdmError as fault:
            return {"command_error": str(fault)}
        return {}

    def _pushed(self, name: str) -> Result:
        try:
            return {"push_result": self._push(check_api_id("id", name), None)}
        except MdmError as fault:
            return {"push_error": str(fault)}


def _names(ids: str) -> Sequence[str]:
    return tuple(dict.fromkeys(name for name in ids.split(",") if name))


def _code(status: dict[str, Result]) -> int:
    failed = sum("command_error" in one or "push_error" in one for one in status.values())
    if not failed:
        return 200
    return 500 if failed == len(status) else 207


def _reply(status: int, document: dict[str, object]) -> tuple[int, bytes]:
    return status, json.dumps(document, indent="\t").encode() + b"\n"
