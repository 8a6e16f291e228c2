"""The enrollment hook: a service of the organization that decides which users may enroll their devices.

Questions and answers are JSON. A 403 refuses; its `message` is shown to the user.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from micromdm_py.errors import Forbidden, MalformedField, MalformedRequest, UpstreamFailed
from micromdm_py.protocol.account import AccountEnrollment, SignIn
from micromdm_py.protocol.jsonbody import read_object
from micromdm_py.protocol.plain import as_json
from micromdm_py.service.account_enrollment import Place, check_user
from micromdm_py.service.slots import Slots

__all__ = ["Hook", "HookReply"]

MESSAGE_CHARS = 500


@dataclass(frozen=True, slots=True)
class HookReply:
    """What the hook answered: HTTP status and body."""

    status: int
    body: bytes


class Hook:
    """Asks the service, with a limited number of questions at a time."""

    def __init__(self, ask: Callable[[bytes], HookReply], *, slots: int) -> None:
        """Ask at most `slots` questions at once.

        Args:
            ask: sends a question in JSON; raises UpstreamFailed when there is no answer in time.
            slots: how many.
        """
        self._send = ask
        self._slots = Slots(slots, "too many questions to the enrollment hook at once")

    def place(self, user: str, model_family: str) -> Place:
        """See `AccountRule`."""
        reply = self._ask("discovery", user_identifier=user, model_family=model_family)
        if reply.status != 200:
            raise UpstreamFailed(f"enrollment hook answered {reply.status}")
        found = _object(reply)
        try:
            kind = AccountEnrollment(str(found.get("version")))
        except ValueError:
            raise UpstreamFailed(
                f"enrollment hook: version must be {' or '.join(AccountEnrollment)}"
            ) from None
        url = found.get("base_url") or ""
        if not isinstance(url, str) or (url and not _is_https(url)):
            raise UpstreamFailed("enrollment hook: base_url is not an https URL")
        return Place(kind, url)

    def account(self, kind: AccountEnrollment, token: str, device: Mapping[str, object]) -> str | SignIn:
        """See `AccountRule`."""
        reply = self._ask(
            "enrollment", version=kind.value, access_token=token or None, device=as_json(device)
        )
        if reply.status not in (200, 401):
            raise UpstreamFailed(f"enrollment hook answered {reply.status}")
        found = _object(reply)
        try:
            if reply.status == 401:
                return SignIn.read(found)
            account = found.get("managed_apple_id")
            return check_user(account if isinstance(account, str) else "", "managed_apple_id")
        except MalformedField as fault:
            raise UpstreamFailed(f"enrollment hook: {fault}") from fault

    def _ask(self, request: Literal["discovery", "enrollment"], **words: object) -> HookReply:
        with self._slots:
            reply = self._send(json.dumps({"request": request, **words}).encode())
        if reply.status == 403:
            message = _object(reply).get("message") if reply.body else None
            raise Forbidden(
                message[:MESSAGE_CHARS] if isinstance(message, str) else "enrollment is not allowed"
            )
        return reply


def _object(reply: HookReply) -> dict[str, object]:
    try:
        return read_object(reply.body, trailing="refuse")
    except MalformedRequest as fault:
        raise UpstreamFailed(f"enrollment hook: {fault}") from fault


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and url.isascii() and url.isprintable()
