"""TLS of the listener: one context for all connections, loaded again when the files change."""

import logging
import ssl
import threading
import time
from pathlib import Path

from micromdm_py.errors import StartupError
from micromdm_py.logs import log_event

__all__ = ["ServerTls"]

_log = logging.getLogger(__name__)
_CHECK_EVERY_S = 1.0
_REASONS = {
    None: "no PEM certificate and key, or the key is encrypted",  # OpenSSL says nothing
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
}
_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which ssl has no name


class ServerTls:
    """Certificate and key from two files.

    Made before the workers are forked, so that they share the session ticket keys. HTTP/1.1 only.
    """

    def __init__(self, cert_file: Path, key_file: Path, *, client_ca_pem: bytes | None = None) -> None:
        """Load the files.

        Args:
            cert_file: PEM, the server's certificate first, then its chain.
            key_file: PEM, not encrypted.
            client_ca_pem: ask clients for a certificate and check it against these authorities. A client
                without a certificate is served; with one of another authority its handshake fails, which
                the ssl module gives no way around. Dates are not checked here but with each request.
        Raises: StartupError.
        """
        self._files = (cert_file, key_file)
        self._client_ca_pem = client_ca_pem
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        try:
            self._seen = self._state()
            self._context = self._load()
        except OSError as error:
            raise StartupError(_explain(error, cert_file, key_file)) from error

    def context(self) -> ssl.SSLContext:
        """The context for a new connection; checks the files for changes at most once a second."""
        now = time.monotonic()
        if now - self._looked_at >= _CHECK_EVERY_S and self._lock.acquire(blocking=False):
            try:
                self._looked_at = now
                self._renew()
            finally:
                self._lock.release()
        return self._context

    def _renew(self) -> None:
        try:
            state = self._state()
            if state == self._seen:
                return
            self._seen = state
            self._context = self._load()
        except OSError as error:
            log_event(
                _log, logging.ERROR, "keeping the old TLS certificate", error=_explain(error, *self._files)
            )
        else:
            log_event(_log, logging.INFO, "loaded a new TLS certificate", file=self._files[0])

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        stats = [file.stat() for file in self._files]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # An encrypted key must not ask for its password on the terminal.
        context.load_cert_chain(*self._files, password=lambda: b"")
        if self._client_ca_pem is not None:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=self._client_ca_pem.decode("ascii"))
            context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        return context


def _explain(error: OSError, cert_file: Path, key_file: Path) -> str:
    if error.filename is not None:
        return f"loading TLS certificate from file: open {error.filename}: {(error.strerror or '').lower()}"
    for file in (cert_file, key_file):
        try:
            file.read_bytes()
        except OSError as unreadable:
            reason = (unreadable.strerror or "").lower()
            return f"loading TLS certificate from file: open {file}: {reason}"
    reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
    told = _REASONS.get(reason, reason)
    return f"loading TLS certificate from file: {cert_file}, {key_file}: {told}"
