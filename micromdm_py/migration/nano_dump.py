"""A dump of NanoMDM's PostgreSQL or MySQL database.

Its rows go into a database of their own first, which has no name and is a file once they are many: a dump has
its tables in any order, and a queue is spread over three of them. Source: NanoMDM's storage/pgsql and
storage/mysql, with every step of their schemas.
"""

import binascii
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.errors import BadDatabase
from micromdm_py.migration.keys import ERRORS
from micromdm_py.migration.nano_records import NanoCommand, NanoEnrollment, NanoPushCertificate
from micromdm_py.migration.report import Report
from micromdm_py.migration.sql_dump import SqlDump

__all__ = ["NanoDump"]

BYTES = {"authenticate", "unlock_token", "token_update", "command", "result", "cert_pem", "key_pem"}
"""The columns that are kept as they are; all others are text."""

_SCHEMA = """  -- the columns that are read; older schemas lack some of them
CREATE TABLE devices (id PRIMARY KEY NOT NULL, authenticate, token_update_at, identity_cert, unlock_token,
    bootstrap_token_b64);
CREATE TABLE users (id PRIMARY KEY NOT NULL, token_update, token_update_at);
CREATE TABLE enrollments (id PRIMARY KEY NOT NULL, token_hex, push_magic, topic, enabled, last_seen_at);
CREATE TABLE commands (command_uuid PRIMARY KEY NOT NULL, request_type, command);
CREATE TABLE command_results (id NOT NULL, command_uuid NOT NULL, status, result, updated_at,
    PRIMARY KEY (id, command_uuid));
CREATE TABLE enrollment_queue (id NOT NULL, command_uuid NOT NULL, active, priority INTEGER, created_at,
    PRIMARY KEY (id, command_uuid));
CREATE TABLE push_certs (topic PRIMARY KEY NOT NULL, cert_pem, key_pem);
CREATE TABLE cert_auth_associations (id NOT NULL, sha256 NOT NULL, updated_at, PRIMARY KEY (id, sha256));
CREATE VIEW bound AS  -- the certificate that an enrollment has shown last
    SELECT id, sha256, MAX(updated_at) FROM cert_auth_associations GROUP BY id;
CREATE VIEW queue AS
    SELECT q.id, q.rowid AS position, q.command_uuid, request_type, command, status, result, created_at,
        updated_at, priority, status IS NULL OR status = 'NotNow' AS open,
        active IN ('1', 't', 'true') AS active
    FROM enrollment_queue q LEFT JOIN commands USING (command_uuid)
        LEFT JOIN command_results r ON r.id = q.id AND r.command_uuid = q.command_uuid;
"""
_DEVICES = """
SELECT d.id, authenticate, token_hex, push_magic, topic, enabled, last_seen_at, token_update_at,
    identity_cert, sha256, unlock_token, bootstrap_token_b64
FROM devices d LEFT JOIN enrollments USING (id) LEFT JOIN bound USING (id) ORDER BY d.rowid
"""
_USERS = """
SELECT u.id, token_update, token_hex, push_magic, topic, enabled, last_seen_at, token_update_at,
    NULL, NULL, NULL, NULL
FROM users u LEFT JOIN enrollments USING (id) WHERE token_update IS NOT NULL ORDER BY u.rowid
"""
_COMMANDS = """
SELECT command_uuid, request_type, command, status, result, created_at, updated_at FROM queue
WHERE id = ? AND (active OR NOT open)
ORDER BY open, CASE WHEN open THEN status IS NOT NULL ELSE updated_at END, priority DESC, created_at, position
"""
_WITHDRAWN = "SELECT COUNT(*) FROM queue WHERE id = ? AND open AND NOT active"
_OCTAL = re.compile(rb"\\(\\|[0-7]{3})")


class NanoDump:
    """Such a dump as a `NanoStorage`. A context manager; it closes itself."""

    def __init__(self, path: Path, report: Report) -> None:
        """Read the whole dump; what is wrong with values is told to `report`. Raises: BadDatabase."""
        self._report = report
        self._rows = sqlite3.connect("")
        try:
            self._postgresql = self._fill(path)
        except BaseException:
            self._rows.close()
            raise

    def __enter__(self) -> "NanoDump":
        """Give the storage itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget the rows."""
        self._rows.close()

    def push_certificates(self) -> Iterator[NanoPushCertificate]:
        """See `NanoStorage`."""
        for topic, certificate, key in self._rows.execute("SELECT * FROM push_certs ORDER BY rowid"):
            yield NanoPushCertificate(topic, certificate or b"", key or b"")

    def devices(self) -> Iterator[NanoEnrollment]:
        """See `NanoStorage`."""
        return map(self._enrollment, self._rows.execute(_DEVICES))

    def users(self) -> Iterator[NanoEnrollment]:
        """See `NanoStorage`."""
        return map(self._enrollment, self._rows.execute(_USERS))

    def queues(self) -> Iterator[str]:
        """See `NanoStorage`."""
        found = self._rows.execute("SELECT id FROM enrollment_queue GROUP BY id ORDER BY MIN(rowid)")
        return (name for (name,) in found)

    def commands(self, name: str) -> Iterator[NanoCommand]:
        """See `NanoStorage`; refused commands come last, those that NanoMDM has withdrawn are left out."""
        for uuid, request_type, payload, status, result, created, answered in self._rows.execute(
            _COMMANDS, (name,)
        ):
            yield NanoCommand(
                uuid,
                request_type or "",
                payload or b"",
                status or "",
                result or b"",
                _time(created),
                _time(answered),
            )
        withdrawn: int = self._rows.execute(_WITHDRAWN, (name,)).fetchone()[0]
        about = self._report.bucket("queue")
        about.read, about.left = about.read + withdrawn, about.left + withdrawn
        about.why = "withdrawn when the device enrolled again"

    # --- reading ---

    def _fill(self, path: Path) -> bool:
        """Take the rows of the dump; returns whether it is one of PostgreSQL."""
        rows = self._rows
        rows.executescript("PRAGMA journal_mode = OFF;" + _SCHEMA)
        columns = {
            table: [name for (name,) in rows.execute("SELECT name FROM pragma_table_info(?)", (table,))]
            for (table,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        }
        inserts = {
            table: f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - own names only
            for table, names in columns.items()
        }
        dump = SqlDump(path, columns)
        for table, row in dump.rows():
            try:
                rows.execute(inserts[table], [_kept(name, row.get(name)) for name in columns[table]])
            except sqlite3.IntegrityError as fault:
                raise BadDatabase(f"{path} has two rows of {table} with one key, or without a key") from fault
            except sqlite3.Error as fault:
                raise BadDatabase(f"{path} cannot be put aside: {fault}") from fault
        return dump.postgresql

    def _enrollment(self, row: tuple[Any, ...]) -> NanoEnrollment:
        name, message, token, magic, topic, enabled, seen, updated, pem, pin, unlock, bootstrap = row
        return NanoEnrollment(
            name,
            message or b"",
            _der(pem or ""),
            pin or "",
            self._decoded(name, "unlock token", unlock or b"", self._bytea),
            self._decoded(name, "bootstrap token", (bootstrap or "").encode(), _base64),
            self._decoded(name, "push token", (token or "").encode(), binascii.unhexlify),
            magic or "",
            topic or "",
            enabled in ("1", "t", "true"),
            _time(seen),
            _time(updated),
        )

    def _bytea(self, value: bytes) -> bytes:
        """Binary data, which PostgreSQL writes as text of one form or the other."""
        if not self._postgresql:
            return value
        if value.startswith(b"\\x"):
            return binascii.unhexlify(value[2:])
        return _OCTAL.sub(lambda found: _unescape(found.group(1)), value)

    def _decoded(self, name: str, what: str, value: bytes, decode: Callable[[bytes], bytes]) -> bytes:
        try:
            return decode(value)
        except binascii.Error:
            self._report.bucket("enrollments").lose(name, f"the {what} cannot be read")
            return b""


def _base64(text: bytes) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def _unescape(escaped: bytes) -> bytes:
    return escaped if escaped == b"\\" else bytes([int(escaped, 8) & 0xFF])


def _kept(column: str, value: bytes | None) -> bytes | str | None:
    return value if value is None or column in BYTES else value.decode("utf-8", "replace")


def _time(value: str | None) -> datetime | None:
    """A time without a zone. MySQL's dumps are in UTC; PostgreSQL's are taken for it."""
    try:
        return datetime.fromisoformat(value or "").replace(tzinfo=UTC)
    except ValueError:
        return None


def _der(pem: str) -> bytes:
    """A certificate; what is none stays what it is, for the report."""
    try:
        return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER) if pem else b""
    except ERRORS:
        return pem.encode()
