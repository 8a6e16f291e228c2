"""How Apple's service refuses calls, and what an operator can do about it: one table.

Apple sends the code as plain text (sometimes in quotes, sometimes as a JSON object with `code`), and problems
with OAuth in the header `WWW-Authenticate`.

Source: Apple, "Device Assignment", the error codes of each request.
"""

import json
import re
from collections.abc import Mapping
from enum import Enum

from micromdm_py.errors import UpstreamFailed

__all__ = ["MAX_SHOWN", "REMEDIES", "DepFault", "Meaning", "code_of", "meaning_of"]

MAX_SHOWN = 200
"""How many characters are shown of an answer that has no known code."""


class Meaning(Enum):
    """What a refusal means for the server."""

    SESSION_OVER = "the session has ended; a new one may help"
    START_AGAIN = "the cursor is no longer valid: fetch everything again"
    ALL_FETCHED = "this cursor has returned everything: continue with changes"
    TOO_MANY = "called too often"
    UNAVAILABLE = "the service is down for a while"
    REFUSED = "refused until somebody does something about it"


_DOWNLOAD = (
    "download a new token file for this server in Apple Business Manager and store it with"
    " PUT /v1/dep-tokens or mdmctl apply dep-tokens"
)
_PORTAL = "see Preferences, Device Management, in Apple Business Manager or Apple School Manager"
_PROFILE = "correct the enrollment program profile"

REMEDIES: Mapping[str, str] = {
    # Session
    "T_C_NOT_SIGNED": "an administrator has to accept Apple's new terms and conditions in the portal",
    "token_expired": f"the token has expired: {_DOWNLOAD}",
    "token_rejected": f"Apple does not accept this token, perhaps a newer one was downloaded: {_DOWNLOAD}",
    "consumer_key_unknown": f"the server was deleted in Apple's portal: {_DOWNLOAD}",
    "signature_invalid": f"the token's secrets are wrong: {_DOWNLOAD}",
    "timestamp_refused": "set this machine's clock",
    "nonce_used": "try again",
    "ACCESS_DENIED": f"the server was deleted in Apple's portal or may not do this; {_PORTAL}",
    "UNAUTHORIZED": f"the session has ended; if it happens again: {_DOWNLOAD}",
    "FORBIDDEN": f"the session is not valid; if it happens again: {_DOWNLOAD}",
    # Cursors
    "EXPIRED_CURSOR": "nothing to do: the server begins again with a full fetch",
    "INVALID_CURSOR": "nothing to do: the server begins again with a full fetch",
    "CURSOR_REQUIRED": "nothing to do: the server begins again with a full fetch",
    "EXHAUSTED_CURSOR": "nothing to do: everything was fetched, the server goes on with changes",
    # Devices and profiles
    "DEVICE_ID_REQUIRED": "name at least one serial number",
    "DEVICE_ID_INVALID": "check the serial number",
    "NOT_FOUND": "check the profile's UUID: it may belong to another token",
    "PROFILE_NOT_FOUND": "check the profile's UUID: it may belong to another token",
    "PROFILE_UUID_REQUIRED": "give the UUID of a profile that was defined with this token",
    "CONFIG_URL_REQUIRED": f"{_PROFILE}: url is missing",
    "CONFIG_URL_INVALID": f"{_PROFILE}: url must be an https URL of at most 2000 characters",
    "CONFIG_NAME_REQUIRED": f"{_PROFILE}: profile_name is missing",
    "CONFIG_NAME_INVALID": f"{_PROFILE}: profile_name must have 1 to 125 characters",
    "FLAGS_INVALID": f"{_PROFILE}: is_mdm_removable may be false only with is_supervised",
    "DEPARTMENT_INVALID": f"{_PROFILE}: department must have at most 125 characters",
    "SUPPORT_PHONE_INVALID": f"{_PROFILE}: support_phone_number must have at most 50 characters",
    "SUPPORT_EMAIL_INVALID": f"{_PROFILE}: support_email_address must have at most 250 characters",
    "MAGIC_INVALID": f"{_PROFILE}: org_magic must have at most 256 characters",
    "MALFORMED_REQUEST_BODY": "correct the types of the fields",
    # The service itself
    "TOO_MANY_REQUESTS": "wait; Apple limits how often it may be asked",
    "SERVICE_UNAVAILABLE": "wait; see https://www.apple.com/support/systemstatus/",
    "INTERNAL_SERVER_ERROR": "wait; see https://www.apple.com/support/systemstatus/",
}
"""What an operator can do, by Apple's code in Apple's spelling."""

_BY_STATUS = {
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
    502: "SERVICE_UNAVAILABLE",
    503: "SERVICE_UNAVAILABLE",
    504: "SERVICE_UNAVAILABLE",
}
_CURSORS = {
    "EXPIRED_CURSOR": Meaning.START_AGAIN,
    "INVALID_CURSOR": Meaning.START_AGAIN,
    "CURSOR_REQUIRED": Meaning.START_AGAIN,
    "EXHAUSTED_CURSOR": Meaning.ALL_FETCHED,
}
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{3,}")
_KNOWN = {code.lower(): code for code in REMEDIES}


class DepFault(UpstreamFailed):
    """The service has refused a call or not answered.

    Attributes:
        status: HTTP status, 0 when there was no answer.
        code: Apple's code, as returned by `code_of`.
        meaning: what it means for the server.
        remedy: what an operator can do, "" if unknown.
        retry_after_s: how long the service asks to wait, in seconds.
    """

    def __init__(self, status: int, code: str, meaning: Meaning, retry_after_s: int = 0) -> None:
        """Look the remedy up."""
        self.status, self.code, self.meaning, self.retry_after_s = status, code, meaning, retry_after_s
        self.remedy = REMEDIES.get(code, "")
        remedy = f" ({self.remedy})" if self.remedy else ""
        what = f"unexpected dep response. status={status} DEP API Error: " if status else ""
        super().__init__(f"{what}{code}{remedy}")


def code_of(status: int, body: bytes, challenge: str = "") -> str:
    """Apple's code for a refusal: a known one in the answer, otherwise the one that fits the status.

    Args:
        status: HTTP status, not 200.
        body: the answer, any bytes.
        challenge: the header `WWW-Authenticate`, which names OAuth's problem.
    Returns: a key of `REMEDIES`; if none is found, the text of the answer (printable, at most `MAX_SHOWN`
        characters), or `HTTP <status>` if there is no text.
    """
    text = _text(body)
    for word in _WORD.findall(f"{text} {challenge}"):
        if word.lower() in _KNOWN:
            return _KNOWN[word.lower()]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return text or f"HTTP {status}"


def meaning_of(status: int, code: str) -> Meaning:
    """What a refusal with this status and this code from `code_of` means."""
    if code in _CURSORS:
        return _CURSORS[code]
    if status == 429 or code == "TOO_MANY_REQUESTS":
        return Meaning.TOO_MANY
    if status >= 500:
        return Meaning.UNAVAILABLE
    if status in (401, 403) and code in ("UNAUTHORIZED", "FORBIDDEN"):
        return Meaning.SESSION_OVER
    return Meaning.REFUSED


def _text(body: bytes) -> str:
    text = body[:4096].decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    if isinstance(found, dict):
        found = found.get("code") or found.get("message") or text
    shown = found if isinstance(found, str) else text
    return "".join(one if one.isprintable() else " " for one in shown).strip()[:MAX_SHOWN]
