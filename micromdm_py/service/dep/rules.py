"""Automatic assignment for administrators: the rules, syncs on request, and the state of things."""

import logging
from collections.abc import Callable
from datetime import datetime

from micromdm_py.errors import MalformedField, NotFound
from micromdm_py.protocol.dep import documents as kept
from micromdm_py.protocol.dep.documents import Rule, SyncState
from micromdm_py.protocol.ids import check_id
from micromdm_py.protocol.jsonbody import field, read_object
from micromdm_py.protocol.jsonreply import json_reply, json_time
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.tokens import check_name
from micromdm_py.service.request import Tell, tell_nobody
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["DepRules", "rule_of"]

EVERYTHING = "*"

logger = logging.getLogger(__name__)


def rule_of(shelf: Shelf, name: str) -> Rule | None:
    """The rule of a token, None when it has none."""
    try:
        return Rule.of(shelf.document(kept.AUTOASSIGNER, name))
    except NotFound:
        return None


class DepRules:
    """What an administrator does with automatic assignment; replies are JSON documents in bytes."""

    def __init__(
        self,
        shelf: Shelf,
        accounts: Accounts,
        roster: Roster,
        *,
        wake: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        """Keep rules on `shelf`; `wake` tells the courier that a sync is wanted."""
        self._shelf, self._accounts, self._roster = shelf, accounts, roster
        self._wake, self._now = wake, now

    def show(self, name: str | None) -> bytes:
        """The rule of a token."""
        rule = rule_of(self._shelf, check_name(name))
        return json_reply({"autoassigners": [rule.fields()] if rule else None})

    def store(self, body: bytes, name: str | None, *, tell: Tell = tell_nobody) -> bytes:
        """Set the rule of a token and have it applied to its devices at once.

        Args:
            body: JSON with `filter`, which must be `*`, and `profile_uuid`.
            name: of the token.
            tell: learns token and profile.
        Raises: MalformedField.
        """
        found, called = read_object(body, trailing="ignore"), check_name(name)
        if field(found, "filter", str) != EVERYTHING:
            raise MalformedField("filter", "only '*' filter auto-assigners supported")
        profile = check_id("profile_uuid", field(found, "profile_uuid", str) or "")
        rule = Rule(profile, self._now())
        tell(f"{called}: {profile}")

        def change(shelf: Documents) -> None:
            shelf.put(kept.AUTOASSIGNER, called, rule.body())
            shelf.put(kept.WANTED, called, b"")

        self._shelf.change_documents(change)
        logger.info("devices of the DEP token %s get the profile %s", called, profile)
        self._wake()
        return json_reply({})

    def remove(self, body: bytes, name: str | None, *, tell: Tell = tell_nobody) -> bytes:
        """Remove the rule of a token, if it has one; what was assigned stays.

        `tell` learns the token's name. Raises: MalformedField.
        """
        found, called = read_object(body, trailing="ignore"), check_name(name)
        tell(called)

        if field(found, "filter", str) == EVERYTHING:
            self._shelf.change_documents(lambda shelf: shelf.discard(kept.AUTOASSIGNER, called))
        return json_reply({})

    def sync_now(self, name: str | None) -> None:
        """Ask for a sync of one token, or of all; the courier makes it soon.

        Raises: MalformedField; NotFound; NotConfigured when the default token is named and there is none.
        """
        accounts = self._accounts.all() if name is None else [self._accounts.get(check_name(name))]
        if not accounts:
            return

        def change(shelf: Documents) -> None:
            for account in accounts:
                shelf.put(kept.WANTED, account.name, b"")

        self._shelf.change_documents(change)
        self._wake()

    def status(self) -> bytes:
        """The state of the synchronization of every token, without secrets."""
        devices: dict[str, int] = {}
        for _, known in self._roster.all():
            devices[known.token] = devices.get(known.token, 0) + 1
        accounts = self._accounts.all()
        listed = [self._standing(one.name, devices.get(one.name, 0)) for one in accounts]
        return json_reply({"tokens": listed})

    def _standing(self, name: str, devices: int) -> dict[str, object]:
        token, rule = self._accounts.get(name).token, rule_of(self._shelf, name)
        state = SyncState.of(self._row(kept.SYNC, name))
        days = (token.expires_at - self._now()).days if token.expires_at else None
        return {
            "name": name,
            "consumer_key": token.consumer_key,
            "expires_at": json_time(token.expires_at),
            "days_left": days,
            "devices": devices,
            "autoassigner": rule.profile_uuid if rule else "",
            "phase": state.phase,
            "synced_at": json_time(state.synced_at),
            "tried_at": json_time(state.tried_at),
            "next_at": json_time(state.next_at),
            "error": state.error,
            "remedy": state.remedy,
        }

    def explain(self, serial: str) -> bytes:
        """What is known of one device, which profile it should have, and why. Raises: NotFound."""
        known = self._roster.get(check_id("serial", serial))
        if known is None:
            raise NotFound(f"not found: DEP device {serial}")
        wanted, reason = known.wanted(rule_of(self._shelf, known.token))
        shown = {
            "serial_number": serial,
            "token": known.token,
            "profile_uuid": known.profile_uuid,
            "profile_status": known.profile_status,
            "wanted_profile_uuid": wanted,
            "reason": reason,
            "last_result": known.result,
            "last_tried_at": json_time(known.tried_at),
            "device": dict(known.facts),
        }
        return json_reply(shown)

    def _row(self, kind: str, name: str) -> bytes | None:
        try:
            return self._shelf.document(kind, name)
        except NotFound:
            return None
