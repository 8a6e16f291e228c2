"""/v1/config/certificate: the push certificate; /v1/config/certificates: those of all topics."""

import falcon

from micromdm_py.http.body import read_body
from micromdm_py.http.describe import BASE64, TIME, describe, needed, note
from micromdm_py.http.reply import flag, reply
from micromdm_py.service.push_certificate import PushCertificates

__all__ = ["PushCertificateResource", "PushCertificatesResource"]

MAX_BODY_BYTES = 1 << 20


class PushCertificateResource:
    """GET shows, PUT stores."""

    needs_api_key = True

    def __init__(self, certificates: PushCertificates) -> None:
        """Work with `certificates`."""
        self._certificates = certificates

    @describe(gives={"cert": note(BASE64, "DER")}, answers={404: "There is none."})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the current certificate."""
        reply(resp, self._certificates.show())

    @describe(
        takes={
            "cert": needed(BASE64, "of PEM or DER"),
            "key": needed(BASE64, "of PEM or DER, not encrypted"),
        },
        gives={},
        query={"force": note(bool, "store it even with another topic than enrolled devices have")},
        answers={409: "Devices are enrolled with another topic."},
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a certificate with its key."""
        reply(resp, self._certificates.store(read_body(req, MAX_BODY_BYTES), force=flag(req, "force")))


class PushCertificatesResource:
    """GET /v1/config/certificates."""

    needs_api_key = True

    def __init__(self, certificates: PushCertificates) -> None:
        """Work with `certificates`."""
        self._certificates = certificates

    @describe(
        gives={
            "certificates": [
                {
                    "topic": str,
                    "current": note(bool, "new devices enroll with it"),
                    "not_before": TIME,
                    "not_after": TIME,
                    "stored_at": TIME,
                    "enrolled": note(int, "devices that are enrolled with it"),
                }
            ]
        }
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show which certificates there are, until when, and for how many devices."""
        reply(resp, self._certificates.all())
