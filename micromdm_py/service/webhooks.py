"""Webhook receivers for administrators: the state of each, test events, replays, dead letters."""

import hashlib
from collections.abc import Callable
from datetime import datetime

from micromdm_py.errors import MalformedField, NotConfigured, NotFound
from micromdm_py.protocol.jsonreply import json_reply, rfc3339
from micromdm_py.protocol.webhook import TEST_TOPIC, server_event, without_secrets
from micromdm_py.storage.base import Outbox
from micromdm_py.storage.records import HeldEvent, ReceiverState

__all__ = ["Webhooks"]


class Webhooks:
    """What an administrator does with webhook receivers; replies are JSON documents in bytes."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_uuid: Callable[[], str],
        show_url: Callable[[str], str],
    ) -> None:
        """Work on `outbox`; `wake` wakes the courier, `show_url` takes the secrets out of a URL."""
        self._outbox, self._wake, self._now = outbox, wake, now
        self._make_uuid, self._show_url = make_uuid, show_url

    def list(self) -> bytes:
        """Every receiver, as a reply."""
        _, newest = self._outbox.event_range()
        return json_reply({"webhooks": [self._shown(one, newest) for one in self._outbox.receivers()]})

    def test(self) -> bytes:
        """Send an event to every receiver, whatever topics it wants. Raises: NotConfigured."""
        if not self._outbox.receivers():
            raise NotConfigured("no webhook receiver: set -command-webhook-url")
        at, name = self._now(), self._make_uuid()
        sequence = self._outbox.append_event(server_event(TEST_TOPIC, {}, event_id=name, at=at), at=at)
        self._wake()
        return json_reply({"event_id": name, "cursor": str(sequence)})

    def replay(self, name: str, after: int) -> bytes:
        """Send everything after a cursor again, as far as it is kept.

        Raises: NotFound; MalformedField for a cursor ahead of all events.
        """
        state = self._find(name)
        oldest, newest = self._outbox.event_range()
        if after > newest:
            raise MalformedField("after", f"is ahead of the newest event, {newest}")
        self._outbox.ask_replay(state.receiver, after)
        self._wake()
        first = max(oldest, after + 1)
        return json_reply({"from": str(first), "events": max(0, newest - first + 1)})

    def dead_letters(self, name: str, limit: int, *, secrets: bool) -> bytes:
        """The events that were given up for a receiver, oldest first; `secrets` as in `Feed.read`.

        Raises: NotFound.
        """
        found = self._outbox.dead_letters(self._find(name).receiver, limit)
        return json_reply({"dead_letters": [_letter(one, secrets=secrets) for one in found]})

    def _find(self, name: str) -> ReceiverState:
        for state in self._outbox.receivers():
            if _id(state) == name:
                return state
        raise NotFound(f"not found: webhook receiver {name}")

    def _shown(self, state: ReceiverState, newest: int) -> dict[str, object]:
        times = {"last_success_at": state.last_success_at, "last_error_at": state.last_error_at}
        shown: dict[str, object] = {
            "id": _id(state),
            "url": self._show_url(state.receiver),
            "cursor": str(state.cursor),
            "lag": newest - state.cursor + state.held,
            "held": state.held,
            "dead_letters": state.dead_letters,
            **{name: rfc3339(at) for name, at in times.items() if at is not None},
        }
        if state.last_error:
            shown["last_error"] = state.last_error
        if state.replay_after is not None:
            shown["replay_after"] = str(state.replay_after)
        return shown


def _id(state: ReceiverState) -> str:
    """Id of a receiver: part of a hash, as its URL may hold a secret."""
    return hashlib.sha256(state.receiver.encode()).hexdigest()[:16]


def _letter(held: HeldEvent, *, secrets: bool) -> dict[str, object]:
    event = held.event
    body = event.body if secrets else without_secrets(event.body)
    return {
        "cursor": str(event.sequence),
        "enrollment_id": event.enrollment_id,
        "topic": event.event_topic,
        "created_at": rfc3339(event.created_at),
        "tries": held.tries,
        "error": held.error,
        "event": body.decode("utf-8", "replace"),
    }
