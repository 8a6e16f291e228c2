"""DEP tokens for administrators: storing, listing, removing, and the key pairs that decrypt them.

A token belongs to a server in Apple's portal, identified by its consumer key. A renewed token of the same
server keeps its name here. Key pairs are never dropped: the portal may use the one it was given for years.
"""

import base64
import binascii
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from micromdm_py.errors import Conflict, MalformedField, NotFound
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.dep import documents as kept
from micromdm_py.protocol.dep.documents import DEFAULT_NAME, StoredToken
from micromdm_py.protocol.dep.token import DepToken, open_token_file
from micromdm_py.protocol.issuing import self_signed
from micromdm_py.protocol.jsonbody import field, read_object
from micromdm_py.protocol.jsonreply import base64_text, json_reply
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.request import Tell, tell_nobody
from micromdm_py.storage.base import Documents, Shelf

__all__ = ["DepTokens", "check_name"]

COMMON_NAME = "micromdm-dep-token"
VALIDITY = timedelta(days=365)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

logger = logging.getLogger(__name__)


def check_name(name: str | None) -> str:
    """The name of a token as a request gives it, the default one for None. Raises: MalformedField."""
    if name is None:
        return DEFAULT_NAME
    if not _NAME.fullmatch(name):
        raise MalformedField("name", "must be 1 to 64 letters, digits, dots, dashes and underscores")
    return name


class DepTokens:
    """What an administrator does with DEP tokens; replies are JSON documents in bytes."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        wake: Callable[[], None],
        now: Callable[[], datetime],
        make_key: Callable[[], rsa.RSAPrivateKey],
    ) -> None:
        """Keep them on `shelf`; `wake` tells the courier of a new token, `make_key` makes an RSA key."""
        self._shelf, self._wake, self._now, self._make_key = shelf, wake, now, make_key

    def show(self, name: str | None = None) -> bytes:
        """The tokens, secrets included, the newest first, and the certificate to upload to the portal.

        Args:
            name: show only this one.
        Raises: MalformedField; NotFound.
        """
        if name is None:
            kinds = (kept.TOKEN, kept.OLD_TOKEN)
            rows = [[StoredToken.of(body) for _, body in self._shelf.documents(kind)] for kind in kinds]
            found = [token for row in rows for token in sorted(row, key=_added, reverse=True)]
        else:
            found = [StoredToken.of(self._shelf.document(kept.TOKEN, check_name(name)))]
        certificate = self._current().der
        listed = [token.fields() for token in found]
        return json_reply({"dep_tokens": listed or None, "public_key": base64_text(certificate)})

    def store(
        self, body: bytes, name: str | None = None, *, force: bool = False, tell: Tell = tell_nobody
    ) -> bytes:
        """Decrypt a token file and keep its token, replacing the one of the same server.

        Args:
            body: JSON with `p7m_content`, base64 of the file.
            name: what to call it; None for the name that the server's token has, else the default name.
            force: replace the named token although it belongs to another server.
            tell: learns the name.
        Raises: MalformedField; Conflict.
        """
        token = open_token_file(_token_file(body), self._pairs())
        called = self._name_for(token, name)
        tell(called)
        stored = StoredToken(token, self._now())
        replace_other = force or name is None  # MicroMDM uses the token that was stored last

        def change(shelf: Documents) -> None:
            row = shelf.get(kept.TOKEN, called)
            if row is not None and (old := StoredToken.of(row)).token.consumer_key != token.consumer_key:
                if not replace_other:
                    raise Conflict(
                        f"name: {called} is the token of another server; use another name or ?force=true"
                    )
                shelf.put(kept.OLD_TOKEN, old.token.consumer_key, row)
                shelf.discard(kept.SYNC, called)
            shelf.discard(kept.OLD_TOKEN, token.consumer_key)
            shelf.put(kept.TOKEN, called, stored.body())
            shelf.put(kept.WANTED, called, b"")

        self._shelf.change_documents(change)
        until = f"good until {token.expires_at:%Y-%m-%d}" if token.expires_at else "of unknown expiry"
        logger.info("stored the DEP token %s, %s", called, until)
        self._wake()
        return json_reply({})

    def remove(self, name: str | None, *, tell: Tell = tell_nobody) -> bytes:
        """Forget a token and what was synced with it; `tell` learns its name.

        Raises: MalformedField; NotFound.
        """
        called = check_name(name)
        tell(called)

        def change(shelf: Documents) -> None:
            if shelf.get(kept.TOKEN, called) is None:
                raise NotFound(f"not found: DEP token {called}")
            for kind in (kept.TOKEN, kept.SYNC, kept.WANTED, kept.AUTOASSIGNER):
                shelf.discard(kind, called)

        self._shelf.change_documents(change)
        Roster(self._shelf).forget(called)
        logger.info("removed the DEP token %s", called)
        self._wake()
        return json_reply({})

    def _name_for(self, token: DepToken, name: str | None) -> str:
        """The name that a token gets; all tokens of one server have one name."""
        rows = self._shelf.documents(kept.TOKEN)
        owners = [its for its, row in rows if StoredToken.of(row).token.consumer_key == token.consumer_key]
        if name is None:
            return owners[0] if owners else DEFAULT_NAME
        called = check_name(name)
        if owners and called not in owners:
            raise Conflict(f"name: this server's token is called {owners[0]}")
        return called

    # --- key pairs ---

    def _pairs(self) -> list[tuple[rsa.RSAPrivateKey, Certificate]]:
        """All key pairs, the newest first."""
        found = []
        for _, row in self._shelf.documents(kept.KEY):
            certificate, key = kept.read_key(row)
            private = load_der_private_key(key, None)
            if isinstance(private, rsa.RSAPrivateKey):
                found.append((private, load_certificate(certificate)))
        return sorted(found, key=lambda pair: pair[1].not_before, reverse=True)

    def _current(self) -> Certificate:
        """The certificate to upload; a new pair is made when all have expired."""
        at = self._now()
        for _, certificate in self._pairs():
            if certificate.not_after > at:
                return certificate
        key = self._make_key()
        der = self_signed(key, COMMON_NAME, x509.random_serial_number(), at, at + VALIDITY)
        certificate = load_certificate(der)
        row = kept.write_key(der, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        self._shelf.change_documents(lambda shelf: shelf.put(kept.KEY, certificate.fingerprint, row))
        return certificate


def _token_file(body: bytes) -> bytes:
    text = field(read_object(body, trailing="ignore"), "p7m_content", str) or ""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedField("p7m_content", "is not base64") from None


def _added(token: StoredToken) -> float:
    return token.added_at.timestamp() if token.added_at else 0.0
