"""The event feed, and how delivery to webhook receivers stands."""

import falcon

from micromdm_py.http.auth import check_again
from micromdm_py.http.command_records import may_read_secrets
from micromdm_py.http.describe import ANY, BASE64, TIME, describe, note
from micromdm_py.http.reply import query_number, reply
from micromdm_py.http.request import stops
from micromdm_py.protocol.jsonreply import base64_text, json_reply, rfc3339
from micromdm_py.service.feed import Feed
from micromdm_py.service.waiting import MAX_WAIT_S
from micromdm_py.service.webhooks import Webhooks
from micromdm_py.storage.base import Quarantine

__all__ = [
    "DeadLettersResource",
    "EventsResource",
    "QuarantineResource",
    "ReplayResource",
    "WebhookTestResource",
    "WebhooksResource",
]

MAX_LIMIT = 1000
NEWEST_CURSOR = 2**63 - 1

LIMIT = note(int, "100; at most 1000")


class EventsResource:
    """GET /v1/events: the feed."""

    needs_api_key = True

    def __init__(self, feed: Feed) -> None:
        """Read from `feed`."""
        self._feed = feed

    @describe(
        gives={"events": [ANY], "next": note(str, "what to ask for after")},
        query={
            "after": note(int, "next of the last answer; without it from the oldest event that is kept"),
            "limit": LIMIT,
            "wait": note(int, "seconds to wait for the next event, at most 60"),
        },
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Read events in the order they happened, or wait for the next one."""
        after = query_number(req, "after", 0, NEWEST_CURSOR, default=0)
        limit = query_number(req, "limit", 1, MAX_LIMIT, default=100)
        wait_s = query_number(req, "wait", 0, MAX_WAIT_S, default=0)
        secrets = may_read_secrets(req)
        document = self._feed.read(after, limit, wait_s, secrets=secrets, stop=stops(req))
        if wait_s:
            check_again(req)
        reply(resp, document)


class WebhooksResource:
    """GET /v1/webhooks."""

    needs_api_key = True

    def __init__(self, webhooks: Webhooks) -> None:
        """Ask `webhooks`."""
        self._webhooks = webhooks

    @describe(
        gives={
            "webhooks": [
                {
                    "id": str,
                    "url": str,
                    "cursor": str,
                    "lag": int,
                    "held": int,
                    "dead_letters": int,
                    "last_success_at": TIME,
                    "last_error_at": TIME,
                    "last_error": str,
                }
            ]
        }
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show how delivery to each receiver stands."""
        reply(resp, self._webhooks.list())


class WebhookTestResource:
    """POST /v1/webhooks/test."""

    needs_api_key = True

    def __init__(self, webhooks: Webhooks) -> None:
        """Work with `webhooks`."""
        self._webhooks = webhooks

    @describe(gives={"event_id": str, "cursor": str}, status=202, answers={503: "There is no receiver."})
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Send a test event to every receiver."""
        reply(resp, self._webhooks.test(), 202)


class ReplayResource:
    """POST /v1/webhooks/{id}/replay."""

    needs_api_key = True

    def __init__(self, webhooks: Webhooks) -> None:
        """Work with `webhooks`."""
        self._webhooks = webhooks

    @describe(
        gives={"from": str, "events": int},
        status=202,
        query={"after": note(int, "the cursor")},
        answers={404: "The receiver is unknown."},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, id: str) -> None:
        """Send everything after a cursor again."""
        after = query_number(req, "after", 0, NEWEST_CURSOR, default=0)
        reply(resp, self._webhooks.replay(id, after), 202)


class DeadLettersResource:
    """GET /v1/webhooks/{id}/dead-letters."""

    needs_api_key = True

    def __init__(self, webhooks: Webhooks) -> None:
        """Ask `webhooks`."""
        self._webhooks = webhooks

    @describe(
        gives={"dead_letters": [ANY]}, query={"limit": LIMIT}, answers={404: "The receiver is unknown."}
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, id: str) -> None:
        """Show events that were given up, oldest first."""
        limit = query_number(req, "limit", 1, MAX_LIMIT, default=100)
        reply(resp, self._webhooks.dead_letters(id, limit, secrets=may_read_secrets(req)))


class QuarantineResource:
    """GET /v1/quarantine: signed reports that nobody can read."""

    needs_api_key = True

    def __init__(self, quarantine: Quarantine) -> None:
        """Read from `quarantine`."""
        self._quarantine = quarantine

    @describe(gives={"reports": [{"at": TIME, "fingerprint": str, "body": BASE64}]}, query={"limit": LIMIT})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List reports that could not be read, newest first."""
        found = self._quarantine.quarantined(query_number(req, "limit", 1, MAX_LIMIT, default=100))
        secrets = may_read_secrets(req)  # what nobody can read may hold one
        listed = [
            {
                "at": rfc3339(at),
                "fingerprint": fingerprint.hex(),
                "body": base64_text(body if secrets else b""),
            }
            for at, fingerprint, body in found
        ]
        reply(resp, json_reply({"reports": listed}))
