"""How the data of automated enrollment is stored: the kinds of documents and their JSON.

=================  =========================  ====================================================
kind               name                       body
=================  =========================  ====================================================
dep-key            fingerprint (hex) of the   ``certificate``, ``key``: base64 of DER (PKCS#8)
                   certificate
dep-token          name of the token          the fields of Apple's token file, ``added_at``
dep-old-token      consumer key               the same; replaced by another server's token, unused
dep-sync           name of the token          `SyncState`
dep-wanted         name of the token          empty; a sync has been requested
dep-autoassigner   name of the token          `Rule`
dep-device         serial number              `KnownDevice`
=================  =========================  ====================================================
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from micromdm_py.protocol.dep.token import DepToken, parse_token, read_time
from micromdm_py.protocol.jsonbody import Json
from micromdm_py.protocol.jsonreply import base64_text, json_time

__all__ = [
    "AUTOASSIGNER",
    "DEFAULT_NAME",
    "DEVICE",
    "KEY",
    "OLD_TOKEN",
    "SYNC",
    "TOKEN",
    "WANTED",
    "KnownDevice",
    "Rule",
    "StoredToken",
    "SyncState",
    "read_key",
    "write_key",
]

KEY, TOKEN, OLD_TOKEN, SYNC, WANTED = "dep-key", "dep-token", "dep-old-token", "dep-sync", "dep-wanted"
AUTOASSIGNER, DEVICE = "dep-autoassigner", "dep-device"

DEFAULT_NAME = "default"
"""Name of the token that is meant when a request names none; in MicroMDM there is only this one."""


def write_key(certificate: bytes, key: bytes) -> bytes:
    """The document of a key pair; both are DER, the key PKCS#8."""
    return json.dumps({"certificate": base64_text(certificate), "key": base64_text(key)}).encode()


def read_key(body: bytes) -> tuple[bytes, bytes]:
    """Certificate and key from the document of a key pair, both DER."""
    found = json.loads(body)
    return base64.b64decode(found["certificate"]), base64.b64decode(found["key"])


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token and the time at which it was stored."""

    token: DepToken
    added_at: datetime | None = None

    def fields(self) -> dict[str, str]:
        """The fields of Apple's token file, secrets included."""
        token = self.token
        return {
            "consumer_key": token.consumer_key,
            "consumer_secret": token.consumer_secret,
            "access_token": token.access_token,
            "access_secret": token.access_secret,
            "access_token_expiry": json_time(token.expires_at),
        }

    def body(self) -> bytes:
        """The document."""
        return json.dumps(self.fields() | {"added_at": json_time(self.added_at)}).encode()

    @classmethod
    def of(cls, body: bytes) -> "StoredToken":
        """Read a document."""
        return cls(parse_token(body), read_time(json.loads(body).get("added_at", "")))


@dataclass(frozen=True, slots=True)
class Rule:
    """The auto-assigner of a token: which profile its devices are to have.

    Attributes:
        profile_uuid: the profile.
        set_at: when an administrator set it, None if that is not known.
    """

    profile_uuid: str
    set_at: datetime | None = None

    def fields(self) -> dict[str, str]:
        """The rule in MicroMDM's form; there is no other filter than `*`."""
        return {"filter": "*", "profile_uuid": self.profile_uuid}

    def body(self) -> bytes:
        """The document."""
        return json.dumps(self.fields() | {"set_at": _plain(self.set_at)}).encode()

    @classmethod
    def of(cls, body: bytes) -> "Rule":
        """Read a document."""
        found = json.loads(body)
        return cls(found["profile_uuid"], _time(found.get("set_at")))


@dataclass(frozen=True, slots=True)
class SyncState:
    """How far the synchronization of a token has come.

    Attributes:
        phase: `fetch` while all devices are being read, then `sweep` while those that were not among them are
            removed, and `sync` from then on.
        fetch_id: id of the last full fetch; each device's document has the one in which it was last seen.
        cursor: Apple's cursor for the next page, "" before the first.
        synced_at: when a round was last completed.
        tried_at: when a round was last tried.
        next_at: when the next round is due.
        failures: how many rounds have failed since one was completed.
        closed_until: until when Apple must not be called, not even on request.
        error, remedy: of the last round, "" if it succeeded.
    """

    phase: str = "fetch"
    fetch_id: str = ""
    cursor: str = ""
    synced_at: datetime | None = None
    tried_at: datetime | None = None
    next_at: datetime | None = None
    failures: int = 0
    closed_until: datetime | None = None
    error: str = ""
    remedy: str = ""

    def body(self) -> bytes:
        """The document."""
        return json.dumps({name: _plain(value) for name, value in asdict(self).items()}).encode()

    @classmethod
    def of(cls, body: bytes | None) -> "SyncState":
        """Read a document; None is the state before the first round."""
        found = json.loads(body) if body else {}
        values: dict[str, Any] = {}  # Any: each value has its field's type, as written by `body`
        for name, value in found.items():
            values[name] = _time(value) if name.endswith(("_at", "_until")) else value
        return cls(**values)


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device that Apple has assigned to one of our servers.

    Attributes:
        token: name of the token that it came with.
        fetch_id: the full fetch in which, or after which, it was last seen.
        facts: Apple's description of it.
        listed: whether lists of devices show it; after an administrator removes it from them, it stays out
            until Apple mentions it again.
        by_hand: profile that an administrator has assigned, "" if one was removed.
        by_hand_at: when that was, None for never.
        result: outcome of its last automatic assignment, "" if there was none.
        tried_at: when that was.
    """

    token: str
    fetch_id: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    listed: bool = True
    by_hand: str = ""
    by_hand_at: datetime | None = None
    result: str = ""
    tried_at: datetime | None = None

    @property
    def profile_uuid(self) -> str:
        """The profile that is assigned at Apple, "" for none."""
        if self.profile_status in ("empty", "removed"):
            return ""
        return str(self.facts.get("profile_uuid") or "")

    @property
    def profile_status(self) -> str:
        """`empty`, `assigned`, `pushed` or `removed`."""
        return str(self.facts.get("profile_status") or "")

    def wanted(self, rule: Rule | None) -> tuple[str, str]:
        """Which profile it is to have, and why; the administrator's latest decision counts."""
        if self.by_hand_at and not (rule and rule.set_at and rule.set_at > self.by_hand_at):
            return self.by_hand, "assigned by hand" if self.by_hand else "removed by hand"
        if rule is None:
            return self.profile_uuid, "no auto-assigner"
        return rule.profile_uuid, "auto-assigner *"

    def assigned(self, profile_uuid: str, at: datetime) -> "KnownDevice":
        """The same device after a successful assignment, or with "" after the removal of its profile."""
        status = "assigned" if profile_uuid else "empty"
        told = {"profile_uuid": profile_uuid, "profile_status": status, "profile_assign_time": json_time(at)}
        return replace(self, facts={**self.facts, **told})

    def body(self) -> bytes:
        """The document."""
        return json.dumps({name: _plain(getattr(self, name)) for name in self.__slots__}).encode()

    @classmethod
    def of(cls, body: bytes) -> "KnownDevice":
        """Read a document."""
        found = json.loads(body)
        times = {name: _time(found.get(name)) for name in ("tried_at", "by_hand_at")}
        return cls(**found | times)


def _plain(value: Any) -> Any:  # a value for JSON
    return value.isoformat() if isinstance(value, datetime) else value


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
